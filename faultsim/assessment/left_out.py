"""Sentences of what an assessment or a campaign leaves out of the stored numbers, so that nothing goes silently."""

from collections.abc import Sequence

from faultsim.assessment.setting import Setting
from faultsim.model.sites import left_out
from faultsim.model.stored import sparse_names


def untold(setting: Setting) -> list[str]:
    """Say of which float weights the graph makes codes that no format here tells; at most one sentence."""
    names = [name for name, stored in setting.stored.items() if stored.site.untold]
    if not names:
        return []
    return [
        f"The graph quantizes {_some(names)} in a way that no number format here tells: stored and hit "
        "as floats, in more bits than are deployed."
    ]


def fault_free(setting: Setting) -> list[str]:
    """Say which stored tensors no fault reaches: sparse ones, and those that are no parameter of a layer."""
    said = []
    model = setting.model.as_deployed
    if sparse := sparse_names(setting.model.proto):
        said.append(
            f"Stored as sparse tensors and fault-free here: {', '.join(sparse)}; export them dense to test them."
        )
    if names := [name for name in left_out(model.program, model.sites) if name not in setting.stored]:
        said.append(
            "Stored, but no weight, bias, norm, scale or zero point of a layer that faultsim tells, and fault-free "
            f"here: {_some(names)}."
        )
    return said


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
