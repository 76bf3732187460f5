"""Whether an assessment will be able to judge its requirements, asked before it starts. Nothing is judged here."""

from collections.abc import Iterable

from faultsim.criteria import METRICS, Criterion
from faultsim.errors import OptionError

_OF_ACCURACY = frozenset({"clean_accuracy", "worst_case_accuracy", "worst_case_drop"})


def needs_worst_case(criterion: Criterion) -> bool:
    """Whether the requirement is about the worst case."""
    return criterion.metric.startswith("worst_case")


def check_judgeable(criteria: Iterable[Criterion], *, scored: bool, no_set: str) -> None:
    """Refuse requirements that this assessment cannot judge, before it spends an hour on chips.

    Args:
        criteria: The requirements.
        scored: Whether the task has an accuracy.
        no_set: Why the device gives no set of corruptions, empty where it gives one.

    Raises:
        OptionError: With every such requirement, one a line.
    """
    problems = []
    for one in criteria:
        of_accuracy = one.metric in _OF_ACCURACY or METRICS[one.metric].of in ("accuracy", "drop")
        if of_accuracy and not scored:
            why = "the task counts no correct answers; require loss or loss_increase"
        elif needs_worst_case(one) and no_set:
            why = f"no worst case: {no_set}; require something of random chips"
        else:
            continue
        problems.append(f"{one.source}: requirement {one.text!r} cannot be judged: {why}")
    if problems:
        raise OptionError("\n".join(problems))
