"""Durations as people write them. Nothing else is converted here."""

import math
import re

from faultsim.errors import OptionError

_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
    "mo": 2592000.0,
    "month": 2592000.0,
    "y": 31536000.0,
    "year": 31536000.0,
}
_TEXT = re.compile(r"\s*([0-9.eE+-]+)\s*([A-Za-z]*)\s*")


def duration_s(text: str) -> float:
    """Return the seconds of a duration such as ``1d``, ``90 min``, ``2.5h`` or ``30``, seconds; a month has 30 days.

    Raises:
        OptionError: If the text is no duration.

    Examples:
        >>> duration_s("1d"), duration_s("90 min"), duration_s("30")
        (86400.0, 5400.0, 30.0)
    """
    match = _TEXT.fullmatch(text)
    unit = "" if match is None else match[2].lower()
    size = _SECONDS.get(unit or "s") or _SECONDS.get(unit.removesuffix("s"))
    try:
        value = float(match[1]) if match is not None else math.nan
    except ValueError:
        value = math.nan
    if size is None or not 0 <= value * size < math.inf:
        raise OptionError(
            f"{text!r} is no duration; write such as 90min, 12h, 1d, 1mo or 10y; without a unit it is seconds"
        )
    return value * size


def show_duration(seconds: float) -> str:
    """Return a duration in its largest whole unit, or to three digits where it is long and none is whole.

    Examples:
        >>> show_duration(86400.0), show_duration(90.0), show_duration(17636.3)
        ('1 day', '90 s', '4.9 hours')
    """
    for unit, size in (("year", 31536000), ("day", 86400), ("hour", 3600)):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    for unit, size in (("year", 31536000), ("day", 86400), ("hour", 3600)):
        if seconds > size:
            return f"{seconds / size:.3g} {unit}s"
    return f"{seconds:g} s"
