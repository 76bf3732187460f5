"""Two runs of a scenario, case by case: `RunComparison` and how it is made. One pair is compared in `compare.py`."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import model_validator

from faultsim.errors import OptionError
from faultsim.results.base import Section
from faultsim.results.compare import compare
from faultsim.results.comparison import Comparison
from faultsim.results.contract import Result
from faultsim.results.gates import Limit
from faultsim.results.shown import Shown


class ComparedCase(Section):
    """One case that both runs have a result of."""

    name: str
    comparison: Comparison
    unjudged: tuple[str, ...] = ()
    """Limits on figures that neither result holds, such as a worst case where none was searched."""


class RunComparison(Shown):
    """Two runs of a scenario side by side; every difference is second minus first."""

    schema_version: Literal[1] = 1
    kind: Literal["run_comparison"] = "run_comparison"
    first: str
    """Where the first run lies."""
    second: str
    cases: tuple[ComparedCase, ...]
    """In the order of the first."""
    missing: tuple[str, ...] = ()
    """Cases that the first has a result of and the second has not."""
    added: tuple[str, ...] = ()
    """Cases that the second has a result of and the first has not."""
    gated: bool = False
    """Whether a limit was given."""
    failed: bool = False
    """Whether a gate of a case failed, or a limit was given and a case is missing."""

    @model_validator(mode="after")
    def _follows(self) -> "RunComparison":
        failed = any(one.comparison.failed for one in self.cases) or (self.gated and bool(self.missing))
        if self.failed is not failed:
            raise ValueError("failed does not follow from the cases")
        return self


def compare_runs(
    first: Mapping[str, Result],
    second: Mapping[str, Result],
    *,
    names: tuple[str, str] = ("first", "second"),
    limits: Callable[[Result], tuple[Limit, ...]] = lambda _: (),
) -> RunComparison:
    """Compare the results of two runs, case by case.

    A limit on a figure that neither result of a case holds is not judged there; on one that only one of them holds it
    is refused, as for a single pair, and so is a limit that no case can be judged by.

    Args:
        first: Results by name of the case.
        second: The same of the other run.
        names: Where they lie.
        limits: How much worse a case of the second may be, from the first's result of it.

    Raises:
        OptionError: If no case is in both, a pair cannot be compared (the message names the case), or a limit is on a
            figure that no result holds.
    """
    both = [name for name in first if name in second]
    if not both:
        raise OptionError(
            f"{names[0]} and {names[1]} share no case; compare two runs of one scenario, or two results by their files"
        )
    cases = []
    gated = False
    for name in both:
        one, other = first[name], second[name]
        asked = limits(one)
        gated = gated or bool(asked)
        try:
            known = {figure.name for each in (one, other) for figure in compare(each, each).figures} if asked else set()
            judged = tuple(limit for limit in asked if limit.name in known)
            made = compare(one, other, names=(f"{names[0]}/{name}", f"{names[1]}/{name}"), limits=judged)
        except OptionError as error:
            raise OptionError(f"case {name}: {error}") from None
        unjudged = tuple(limit.text for limit in asked if limit.name not in known)
        cases.append(ComparedCase(name=name, comparison=made, unjudged=unjudged))
    idle = set.intersection(*(set(one.unjudged) for one in cases))
    if idle:
        raise OptionError(f"{', '.join(sorted(idle))}: no case holds that figure, so that no regression would be seen")
    missing = tuple(name for name in first if name not in second)
    return RunComparison(
        first=names[0],
        second=names[1],
        cases=tuple(cases),
        missing=missing,
        added=tuple(name for name in second if name not in first),
        gated=gated,
        failed=any(one.comparison.failed for one in cases) or (gated and bool(missing)),
    )
