"""Numbers and foreign names as the terminal report writes them. No result is read and no layout made here."""

import textwrap
import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

MINUS = "\N{MINUS SIGN}"
OPEN = "\N{EM DASH}"  # stands where an interval has no bound
_ASCII = str.maketrans({MINUS: "-", OPEN: "-", "█": "#", "▌": "+", "Δ": "d", "…": ".", "·": "-", "×": "x", "µ": "u"})


def plain(text: str) -> str:
    """Return a foreign name with control and format characters as ``?``: they can steer a terminal."""
    return "".join("?" if unicodedata.category(letter).startswith("C") else letter for letter in text)


def speakable(text: str, encoding: str) -> str:
    """Return *text* in the characters that *encoding* has: a terminal may lack UTF-8."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode("ascii", "replace").decode()
    return text


def percent(fraction: float) -> str:
    """Return a fraction in per cent with two decimals: ``91.73%``."""
    return f"{100 * fraction:.2f}%"


def points(difference: float) -> str:
    """Return a difference of two fractions in percentage points, signed: ``−3.01 pt``."""
    return f"{signed(f'{100 * difference:+.2f}')} pt"


def signed(number: str) -> str:
    """Return a formatted number with a true minus sign; a rounded zero has no sign."""
    bare = number.lstrip("+-")
    if not any(digit in "123456789" for digit in bare):
        return bare
    return number.replace("-", MINUS, 1)


def interval(low: float | None, high: float | None, *, of_fractions: bool) -> str:
    """Return ``[88.51, 88.93]``; an open end is a dash; empty with two open ends."""
    if low is None and high is None:
        return ""
    ends = (OPEN if end is None else f"{100 * end:.2f}" if of_fractions else f"{end:.4g}" for end in (low, high))
    return f"[{', '.join(ends)}]"


def bar(share: float, cells: int) -> str:
    """Return a bar over *cells* character cells in steps of half a cell; anything above zero is seen."""
    halves = max(round(2 * cells * min(max(share, 0.0), 1.0)), 1 if share > 0 else 0)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 chip`` or ``1,000 chips``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def pad(text: str, cells: int) -> str:
    """Return *text* at exactly *cells* character cells, cut with an ellipsis where it is longer."""
    if cell_len(text) > cells:
        return set_cell_size(text, cells - 1) + "…"
    return set_cell_size(text, cells)


def cut(text: str, cells: int) -> str:
    """Return *text* at no more than *cells* character cells; a longer one loses its middle, and keeps both ends.

    Examples:
        >>> cut("model/device/corner", 12)
        'model…corner'
    """
    if cell_len(text) <= cells:
        return text
    head = set_cell_size(text, (cells - 1) // 2)
    room, at = cells - 1 - cell_len(head), len(text)
    while cell_len(text[at - 1 :]) <= room:
        at -= 1
    return f"{head}…{text[at:]}"


def end_of(name: str, cells: int) -> str:
    """Return a name, of a long one its end: layers of one block are told apart by that.

    Examples:
        >>> end_of("model.layers.11.q_proj.weight", 16)
        '…1.q_proj.weight'
    """
    at = 0
    while cell_len(name[at:]) > (cells if at == 0 else cells - 1):
        at += 1
    return name if at == 0 else f"…{name[at:]}"


def block(label: str, items: Sequence[str], width: int, *, indent: int = 15) -> list[str]:
    """Return a labelled paragraph for each item: the label once, all text hanging at *indent*."""
    lines: list[str] = []
    for item in items:
        head = pad(label if not lines else "", indent)
        lines += textwrap.wrap(item, width, initial_indent=head, subsequent_indent=" " * indent) or [head]
    return lines


def wrapped(text: str, rest: str, first: str = "") -> list[str]:
    """Return a text in lines of 80 letters; a word, such as a path, is not cut, and may be longer.

    Args:
        text: What to say.
        rest: What the lines after the first begin with.
        first: What the first begins with.
    """
    return textwrap.wrap(
        text, 80, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )
