"""`Bundle`: the results that one report shows, read from a folder or a file. How a file is read lives in `results`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultsim.errors import SpecError
from faultsim.report.words import plain
from faultsim.results import Result, SweepResult
from faultsim.results.attack import AttackResult
from faultsim.results.bitmap import BitMapResult
from faultsim.results.files import LIMIT_BYTES
from faultsim.results.hardening import HardenResult
from faultsim.results.injection import InjectionResult
from faultsim.results.kinds import load_any
from faultsim.results.probing import ProbeResult

NAMES = ("result.json", "harden.json", "sweep.json", "attack.json", "bitmap.json")
"""Files of a folder that are read."""

Main = Result | SweepResult | InjectionResult | AttackResult | ProbeResult | BitMapResult
"""What a report can mainly be about; a hardening is about the assessment after it."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What one report shows; at least one is there.

    Attributes:
        result: An assessment; of a hardening alone, the one after.
        harden: A hardening.
        sweep: A sweep over a condition.
        campaign: A campaign of bit flips.
        attack: An attack.
        probe: How fragile each part is.
        bitmap: A map of every stored bit.
        path: Where the assessment lies, for the command that replays a chip; None where it lies nowhere.
    """

    result: Result | None = None
    harden: HardenResult | None = None
    sweep: SweepResult | None = None
    campaign: InjectionResult | None = None
    attack: AttackResult | None = None
    probe: ProbeResult | None = None
    bitmap: BitMapResult | None = None
    path: str | None = None

    @property
    def main(self) -> Main:
        """What the page is mainly about."""
        found = self.result or self.sweep or self.campaign or self.attack or self.probe or self.bitmap
        assert found is not None
        return found

    @property
    def hardening_alone(self) -> bool:
        """Whether the assessment is the one after the hardening, and none of its own."""
        return self.harden is not None and self.result is self.harden.after

    def documents(self) -> dict[str, Any]:
        """Return the results as plain JSON values, by the kind of result."""
        parts = {
            "result": None if self.hardening_alone else self.result,
            "harden": self.harden,
            "sweep": self.sweep,
            "campaign": self.campaign,
            "attack": self.attack,
            "probe": self.probe,
            "bitmap": self.bitmap,
        }
        return {name: one.model_dump(mode="json", by_alias=True) for name, one in parts.items() if one is not None}


def read_bundle(place: Path, *, limit_bytes: int = LIMIT_BYTES) -> Bundle:
    """Return the results that lie in a folder, those of `NAMES`, or the one in a file.

    Args:
        place: The folder that ``--out`` named, or a file.
        limit_bytes: Largest file that is read, in bytes.

    Raises:
        SpecError: If there is none, or one is not what faultsim writes.
    """
    paths = [place]
    if place.is_dir():
        paths = [place / name for name in NAMES if (place / name).exists()]
        if not paths:
            name = plain(str(place))[:200]
            raise SpecError(f"{name}: holds none of {', '.join(NAMES)}; give the folder that --out of faultsim named")
    found: dict[str, Any] = {}
    for path in paths:
        kind, section = load_any(path, limit_bytes=limit_bytes)
        if kind == "scenario":
            raise SpecError(f"{plain(str(path))[:200]}: is a run of a scenario, many cases; give the file of one case")
        found[kind] = section
        if kind == "result":
            found["path"] = str(path)
    if "result" not in found and "harden" in found:
        found["result"] = found["harden"].after
    return Bundle(**found)
