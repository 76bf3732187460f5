"""From a bit map and its audit to the result contract. Nothing is computed here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.screen.advice import Step, WorstBit
from faultsim.engine.screen.bitmap import MapOptions, SiteMap
from faultsim.engine.screen.map_audit import LEAST, MapAudit
from faultsim.results import DataInfo, ModelInfo, Provenance
from faultsim.results.bitmap import (
    BitGroupResult,
    BitMapAudit,
    BitMapResult,
    BitMapSite,
    ProtectedBits,
    ProtectionStep,
    WorstBitResult,
)


def arrays(sites: Sequence[SiteMap]) -> dict[str, NDArray[Any]]:
    """Return the whole map for an npz file: names by number, and for each number what `SiteMap` holds."""
    found: dict[str, NDArray[Any]] = {"names": np.array([one.stored.site.name for one in sites], dtype=np.str_)}
    for number, one in enumerate(sites):
        found |= {f"indices_{number}": one.indices, f"shares_{number}": one.shares, f"large_{number}": one.large}
    return found


def as_result(
    sites: Sequence[SiteMap],
    audit: MapAudit,
    *,
    worst: Sequence[WorstBit],
    steps: Sequence[Step],
    options: MapOptions,
    images: int,
    level: float,
    model: ModelInfo,
    data: DataInfo,
    provenance: Provenance,
) -> BitMapResult:
    """Return the result.

    Args:
        sites: The map.
        audit: Its audit.
        worst: Its highest bits, evaluated.
        steps: What to protect first.
        options: How it was made.
        images: Images that it was made with.
        level: Confidence of the audit's intervals.
        model: The deployed graph.
        data: The samples that the images are from.
        provenance: How to get the same numbers again.
    """
    rows = tuple(
        BitMapSite(
            name=one.stored.site.name,
            kind=one.stored.site.kind,
            role=one.stored.site.role,
            format=one.stored.format.name,
            elements=one.stored.site.elements,
            mapped=int(one.indices.size),
            bits=tuple(_share(share) for share in one.bits),
            piloted=tuple(_share(share) for share in one.large.mean(axis=1)),
        )
        for one in sites
    )
    notes = []
    drawn = [one for one in rows if one.mapped < one.elements]
    if drawn:
        notes.append(
            f"{len(drawn)} tensors are mapped by a random part of their numbers, which counts for all of them, and the "
            "intervals are over that part; --elements maps more"
        )
    blind = [row.name for row, one in zip(rows, sites, strict=True) if not one.reached]
    if blind:
        notes.append(
            f"{len(blind)} tensors get no gradient, {blind[0]!r} the first: their map is 0 except for large "
            "changes; the audit covers them, the table does not"
        )
    if audit.flips > audit.asked:
        notes.append(
            f"the audit evaluated {audit.flips} flips, not {audit.asked}: it takes at least {LEAST} for each group of "
            "bit positions"
        )
    groups = tuple(
        BitGroupResult(
            width=one.width,
            bits=one.bits,
            flips=one.units,
            predicted=_share(one.predicted),
            audited=one.audited,
            low=one.estimate.low,
            best=one.estimate.best,
            high=one.estimate.high,
        )
        for one in audit.groups
    )
    return BitMapResult(
        model=model,
        data=data,
        images=images,
        seed=options.seed,
        level=level,
        rivals=options.rivals,
        sites=rows,
        audit=BitMapAudit(
            flips=audit.flips,
            predicted=_share(audit.predicted),
            low=audit.total.low,
            best=audit.total.best,
            high=audit.total.high,
            rank_correlation=audit.rank_correlation,
            groups=groups,
        ),
        worst=tuple(
            WorstBitResult(
                site=rows[one.flip.site].name,
                element=int(sites[one.flip.site].indices[one.flip.position]),
                bit=one.flip.bit,
                predicted=_share(one.predicted),
                evaluated=_share(one.evaluated),
            )
            for one in worst
        ),
        protect=tuple(_step(one, rows) for one in steps),
        notes=tuple(notes),
        provenance=provenance,
    )


def _step(step: Step, rows: Sequence[BitMapSite]) -> ProtectionStep:
    bits: dict[int, list[int]] = {}
    for site, bit in sorted(step.bits):
        bits.setdefault(site, []).append(bit)
    return ProtectionStep(
        target=step.target,
        protected=tuple(ProtectedBits(site=rows[site].name, bits=tuple(own)) for site, own in bits.items()),
        stored=_share(step.stored),
        removed=_share(step.removed),
        low=step.left.low,
        best=step.left.best,
        high=step.left.high,
    )


def _share(share: float) -> float:
    """Return a mean of shares without what rounding put beyond [0, 1]."""
    return float(min(max(share, 0.0), 1.0))
