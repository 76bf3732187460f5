"""One validation as a line of progress. What a hardening came to is told in `faultsim.report.hardening`."""

from faultsim.harden.curve import Point


def validation(point: Point, planned: int) -> str:
    """Return one validation as a line of progress."""
    accuracy = "" if point.accuracy != point.accuracy else f", accuracy {point.accuracy:.1%}"
    trained = "" if point.train_loss != point.train_loss else f"training loss {point.train_loss:.4g}, "
    return f"step {point.step}/{planned}: {trained}validation loss {point.loss:.4g}{accuracy}, score {point.score:.4g}"
