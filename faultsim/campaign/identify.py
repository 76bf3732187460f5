"""The identity of a campaign: exactly what is sampled, as the journal's header has it. No file is touched here."""

import hashlib
from typing import Any

import numpy as np

from faultsim.assessment.setting import Setting
from faultsim.campaign.draw import DRAW_VERSION
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screened import screen_facts
from faultsim.campaign.storage import Storage
from faultsim.journal import Identity, identity
from faultsim.journal.identity import Json


def campaign_identity(prepared: Prepared, *, screen: bool = False) -> Identity:
    """Return what is sampled: model, storage, data, task, seed, sites with their formats, flips, strata.

    How many trials, in which strata how many, and who computes them is no part: the rows serve any of these.

    Args:
        prepared: The campaign.
        screen: Whether trials are screened: the screen then is a part.
    """
    setting, draws = prepared.setting, prepared.draws
    device = setting.device
    as_deployed = isinstance(device, Storage) and device.as_deployed
    how: dict[str, Json] = {"screen": screen_facts()} if screen else {}
    return identity(
        {
            **how,
            "kind": "bit_flip_campaign",
            "draw_version": DRAW_VERSION,
            "model": {"sha256": setting.model.sha256, "output": setting.output.name},
            "storage": {"name": device.name, "sha256": device.sha256 if not as_deployed else None},
            "data": {"sha256": data_digest(setting), "samples": len(setting.data)},
            "task": setting.task.name,
            "seed": draws.seed,
            "flips": draws.flips,
            "stratify": draws.population.stratify,
            "sites": [
                [one.site, one.kind, one.role, one.format, one.elements, one.bits] for one in draws.population.regions
            ],
        }
    )


def data_digest(setting: Setting) -> str:
    """Return a SHA-256 of all inputs and labels, the same for every batch size."""
    axes = {spec.name: spec.batch_axis for spec in setting.model.inputs}
    found: dict[str, Any] = {}
    for batch in setting.scorer.batches():
        for name, array in sorted(batch.inputs.items()):
            axis = axes.get(name, 0)
            if axis is None and name in found:
                continue
            samples_first = np.moveaxis(np.asarray(array), axis or 0, 0)
            _feed(found, f"input {name}", samples_first)
            if axis is None:
                found[name] = None
        _feed(found, "labels", np.asarray(setting.scorer.batch_labels(batch)))
    whole = hashlib.sha256()
    for name in sorted(name for name, one in found.items() if one is not None):
        whole.update(f"{name}\x1f{found[name].hexdigest()}\x1e".encode())
    return whole.hexdigest()


def _feed(found: dict[str, Any], name: str, array: np.ndarray[Any, Any]) -> None:
    if name not in found:
        found[name] = hashlib.sha256(f"{array.dtype.str}{array.shape[1:]}".encode())
    plain = array if array.dtype.kind != "O" else np.array([repr(one) for one in array.ravel().tolist()])
    if plain.dtype.kind == "U":  # the width of a text array is that of the longest in the batch
        found[name].update("\x1f".join(plain.ravel().tolist()).encode() + b"\x1e")
    else:
        found[name].update(np.ascontiguousarray(plain).tobytes())
