"""`Rerun`: what it takes to draw and score a chip of a result again. Values only."""

from typing import Annotated, Literal

from pydantic import Field

from faultsim.results.base import Section


class Rerun(Section):
    """The options that decide what a trial is, as they were given; with the seed they give every chip again."""

    device: str
    """Name or path of the profile."""
    sites: tuple[str, ...]
    """Tensors under test: the draw of rare events depends on which they are."""
    conditions: dict[str, float] = Field(default={})
    """Conditions in place of the profile's own, by field: ``t_s``, ``v_norm``, ``v``, ``flux_factor``,
    ``exposure_h``, ``temperature_c``."""
    reads: Literal["chip", "inference"] = "chip"
    """Whether the noise of a read was drawn once a chip, or at every inference."""
    data: str | None = None
    """As it was given; null: found beside the model, or drawn."""
    preprocess: str | None = None
    """Path of the preprocessing file; null: none."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """The first so many samples only; null: all."""
    input_shape: tuple[str, ...] = ()
    """Sizes of drawn inputs."""
    batch_axis: tuple[str, ...] = ()
    """Axes that count samples, where they were given."""
    task: str | None = None
    """Name of the task; null: told from the data."""
    output: str | None = None
    """Name of the scored output; null: the first."""
    batch_size: Annotated[int, Field(ge=1)] = 250
    """Samples a batch."""
