"""The identity of a campaign: exactly what is sampled and who judges it, as the journal's header has it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faultsim.assessment.setting import Setting
from faultsim.campaign.draw import DRAW_VERSION
from faultsim.campaign.judging import AS_DEPLOYED, task_facts
from faultsim.campaign.mixing import mixes_batch
from faultsim.campaign.recipe import Prepared
from faultsim.campaign.screened import screen_facts
from faultsim.campaign.storage import Storage
from faultsim.errors import OptionError
from faultsim.journal import Identity, JournalError, identity, read_header
from faultsim.journal.errors import shown
from faultsim.journal.identity import Json
from faultsim.metrics import GoldenAgreement

KIND = "bit_flip_campaign"
_TEXT = "UO"
"""Kinds of arrays of texts, whose type is as wide as the longest of the batch."""


def campaign_identity(prepared: Prepared, *, screen: bool = False) -> Identity:
    """Return what is sampled: model, storage, data, task in full, seed, sites with their formats, flips, strata.

    Of a device's storage it also names the tensors beside the sites: stored ones are quantized on the fault-free chip.

    How many trials, in which strata how many, and who computes them is no part: the rows serve any of these. The batch
    size is one for graphs that mix the samples of a batch alone.

    Args:
        prepared: The campaign.
        screen: Whether trials are screened: the screen then is a part.
    """
    setting, draws = prepared.setting, prepared.draws
    device = setting.device
    as_deployed = isinstance(device, Storage) and device.as_deployed
    how: dict[str, Json] = {"screen": screen_facts()} if screen else {}
    if mixes_batch(setting):
        samples = len(setting.data)
        size = min(setting.scorer.batch_size, samples)
        how["batch_size"] = f"{size}, cut evenly" if samples % size else size
    return identity(
        {
            **how,
            "kind": KIND,
            "draw_version": DRAW_VERSION,
            "model": {"sha256": setting.model.sha256, "output": setting.output.name},
            "storage": {
                "name": device.name,
                "sha256": device.sha256 if not as_deployed else None,
                **({} if as_deployed else {"beside": _beside(prepared)}),
            },
            "data": {"sha256": data_digest(setting), "samples": len(setting.data)},
            "task": task_facts(setting.task),
            "seed": draws.seed,
            "flips": draws.flips,
            "stratify": draws.population.stratify,
            "sites": [
                [one.site, one.kind, one.role, one.format, one.elements, one.bits] for one in draws.population.regions
            ],
        }
    )


def data_digest(setting: Setting) -> str:
    """Return a SHA-256 of all inputs and labels, the same for every batch size.

    Where there are no labels the word ``golden`` stands for them: the clean model's own answers are no data, and
    another model on the same inputs has the same digest.
    """
    golden = isinstance(setting.task, GoldenAgreement)
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
        if not golden:
            _feed(found, "labels", np.asarray(setting.scorer.batch_labels(batch)))
    whole = hashlib.sha256(b"golden" if golden else b"")
    for name in sorted(name for name, one in found.items() if one is not None):
        whole.update(f"{name}\x1f{found[name].hexdigest()}\x1e".encode())
    return whole.hexdigest()


def check_replaced(path: Path | None, what: Identity) -> None:
    """Refuse to write over the result of another campaign; more or fewer trials of the same one are no other.

    Args:
        path: The file; what is no result of a campaign is not looked at.
        what: The campaign that is run.

    Raises:
        OptionError: If the file holds the result of another one.
    """
    if path is None or not path.is_file():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    earlier = found.get("campaign") if isinstance(found, dict) else None
    if isinstance(earlier, str) and earlier != what.id:
        raise OptionError(
            f"--out {path.parent}: its result.json is of another campaign ({shown(earlier[:12])}, this is "
            f"{what.id[:12]}), which would be lost; give another folder"
        )


def is_of_another(journal: Path, what: Identity) -> bool:
    """Whether a journal says that it is of another campaign; one that is empty, damaged or not there says nothing."""
    try:
        return read_header(journal).campaign != what.id
    except JournalError:
        return False


def is_earlier(parts: Mapping[str, Json]) -> bool:
    """Whether the parts are those of a campaign of a version that named the task, but did not keep its parameters."""
    return parts.get("kind") == KIND and isinstance(parts.get("task"), str)


def _beside(prepared: Prepared) -> dict[str, Json]:
    """Return, by name, how a device holds the tensors that no fault is drawn in: as it stores them, or as deployed."""
    setting, sites = prepared.setting, {one.site for one in prepared.draws.population.regions}
    kept = [site.name for site in setting.model.select(setting.device.spec.storage.stores) if site.name not in sites]
    return {name: setting.stored[name].format.name if name in setting.stored else AS_DEPLOYED for name in kept}


def _feed(found: dict[str, Any], name: str, array: np.ndarray[Any, Any]) -> None:
    if name not in found:
        kind = array.dtype.kind if array.dtype.kind in _TEXT else array.dtype.str
        found[name] = hashlib.sha256(f"{kind}{array.shape[1:]}".encode())
    if array.dtype.kind not in _TEXT:
        found[name].update(np.ascontiguousarray(array).tobytes())
        return
    for sample in array:
        texts = [one if isinstance(one, str) else repr(one) for one in np.asarray(sample, array.dtype).ravel().tolist()]
        found[name].update("\x1f".join(texts).encode() + b"\x1e")
