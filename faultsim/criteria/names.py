"""The names that people have for a task's score: ``mse<=0.1`` is ``score<=0.1`` of a regression. No grammar here."""

from typing import Literal, NamedTuple


class OwnScore(NamedTuple):
    """A score that a requirement may name.

    Attributes:
        metric: What the task and ``data.metric`` of a result call it.
        better: Which direction is good.
        words: How a sentence calls it.
        logarithm: Whether a limit is on e to the power of the score: a perplexity, where the score is its logarithm.
    """

    metric: str
    better: Literal["higher", "lower"]
    words: str
    logarithm: bool = False


OWN_SCORES: dict[str, OwnScore] = {
    "mse": OwnScore("mean squared error", "lower", "mean squared error"),
    "bleu": OwnScore("BLEU (0 to 100)", "higher", "BLEU"),
    "log_perplexity": OwnScore("log perplexity (nats)", "lower", "log perplexity"),
    "perplexity": OwnScore("log perplexity (nats)", "lower", "log perplexity", logarithm=True),
}


class Named(NamedTuple):
    """What the name of a metric means.

    Attributes:
        metric: The name with ``score`` in place of the score's own name.
        own: That own name, a key of `OWN_SCORES`; None where there is none.
    """

    metric: str
    own: str | None


def named(name: str) -> Named:
    """Return what *name* means; a score that is better low rises where it gets worse, so an increase is a drop.

    Examples:
        >>> named("worst_case_mse"), named("mse_increase"), named("accuracy")
        (Named(metric='worst_case_score', own='mse'), Named(metric='score_drop', own='mse'), Named(metric='accuracy', own=None))
    """  # noqa: E501  (what the example prints)
    for own in OWN_SCORES:
        for before in ("", "clean_", "worst_case_"):
            for after in ("", "_drop", "_increase"):
                if name == before + own + after:
                    return Named(f"{before}score{'_drop' if after else ''}", own)
    return Named(name, None)


def is_score(own: str, metric: str | None) -> bool:
    """Whether a task that calls its score *metric* has the one called *own*, against labels or the clean model."""
    return metric is not None and metric.startswith(OWN_SCORES[own].metric)


def own_name(metric: str | None) -> str | None:
    """Return the name by which a requirement can call the score *metric*."""
    return next((own for own in OWN_SCORES if is_score(own, metric)), None)
