"""The worst bits of a bit map and what to protect first, in words. Nothing is computed here."""

from collections.abc import Sequence

from faultsim.report.words import counted, end_of, interval, pad, percent, plain
from faultsim.results.bitmap import BitMapResult, BitMapSite, ProtectionStep

CHECK_BITS = 8 / 64
"""Check bits of a SECDED code over each 64 protected bits, the (72, 64) code of [Hamming1950]_ with overall parity."""
_CELLS = 34
_NAMED = 2
_LINES = 5
_WIDE = 80


def advice(result: BitMapResult) -> list[str]:
    """Return the two tables; nothing where the map has no damage."""
    said: list[str] = []
    if result.worst:
        said += ["", f"  {pad('worst single bits', _CELLS)}{'map':>9}{'evaluated':>11}"]
        for one in result.worst:
            place = f" [{one.element}] bit {one.bit}"
            name = end_of(plain(one.site), max(_CELLS - 1 - len(place), 8)) + place
            said.append(f"  {pad(name, _CELLS)}{percent(one.predicted):>9}{percent(one.evaluated):>11}")
    if result.protect:
        said += ["", f"  {'protect first':<15}{'of all bits':>11}{'check bits':>12}{'damage gone':>13}"
                     f"{'left':>9}   {100 * result.level:g}% interval"]  # fmt: skip
        for number, step in enumerate(result.protect, 1):
            head = f"  step {number:<10}{percent(step.stored):>11}{'+' + percent(CHECK_BITS * step.stored):>12}"
            between = interval(step.low, step.high, of_fractions=True)
            said.append(f"{head}{percent(step.removed):>13}{percent(step.best):>9}   {between}")
            said += [f"    {line}" for line in places(step, result.sites)]
    return said


def places(step: ProtectionStep, sites: Sequence[BitMapSite]) -> list[str]:
    """Return what a step protects: first the positions that it protects in every word of a width."""
    own = {one.site: frozenset(one.bits) for one in step.protected}
    said: list[str] = []
    for width in sorted({len(one.bits) for one in sites}):
        members = [one.name for one in sites if len(one.bits) == width]
        everywhere = frozenset.intersection(*(own.get(name, frozenset()) for name in members))
        if everywhere:
            said.append(f"{positions(everywhere)} of every {width}-bit word")
        rest: dict[frozenset[int], list[str]] = {}
        for name in members:
            more = own.get(name, frozenset()) - everywhere
            if more:
                rest.setdefault(more, []).append(plain(name))
        for bits, names in sorted(rest.items(), key=lambda pair: (-len(pair[1]), sorted(pair[0]))):
            if len(members) - len(names) <= min(_NAMED, len(names) - 1):
                spared = ", ".join(plain(name) for name in members if plain(name) not in names)
                said.append(f"{positions(bits)} of every {width}-bit word but those of {spared}")
                continue
            more_names = len(names) - _NAMED
            listed = ", ".join(names[:_NAMED]) + (
                f" and {counted(more_names, 'more tensor')}" if more_names > 0 else ""
            )
            said.append(f"{positions(bits)} of {listed}")
    if len(said) > _LINES:
        said[_LINES - 1 :] = [f"and {len(said) - _LINES + 1} more groups of bits, see bitmap.json"]
    return [pad(line, _WIDE - 4).rstrip() for line in said]


def positions(bits: Sequence[int] | frozenset[int]) -> str:
    """Return bit positions with runs joined: ``bits 3,5-7``."""
    spans: list[list[int]] = []
    for bit in sorted(bits):
        if spans and bit == spans[-1][1] + 1:
            spans[-1][1] = bit
        else:
            spans.append([bit, bit])
    said = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
    return f"bit{'s' if len(bits) > 1 else ''} {said}"
