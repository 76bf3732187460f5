"""What holds the bits of a campaign: a device's memory without its faults, or the deployed format itself.

Only how tensors are stored counts here: the faults of a campaign are its own flips, whatever the profile says.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faultsim.corruption import Site, Stored
from faultsim.device import Conditions, Device, load_device
from faultsim.device.storage import Tensors
from faultsim.errors import DeviceError
from faultsim.inference import Effect
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load

DEPLOYED = "deployed format"
_PROFILE = """
faultsim_device: 1
name: deployed
technology: sram
title: the deployed number format
summary: Bits as the model file holds them, in a memory of no particular kind.
is_not: It is no device; which bits flip, and how often, is the campaign's to say.
sources: {none: {cite: "no source: nothing physical is assumed", read: memory}}
storage:
  domain: digital
  encoding: float32
  stores: [weight, bias, norm, scale, zero_point, constant]
mechanisms:
  - id: flips
    model: bit_flip_count
    target: weights
    persistence: transient
    params: {n_flips: {value: 1, unit: bits, status: illustrative, note: "the campaign's own"}}
assess: {confidence: 0.99, scope: global}
"""


@dataclass(frozen=True, kw_only=True)
class Storage(Device):
    """A device of which only the storage is taken.

    Attributes:
        as_deployed: Whether tensors are stored as the model file holds them, and not as the profile says.
        keeps: Roles that the deployed storage holds.
    """

    as_deployed: bool = False
    keeps: tuple[str, ...] = field(default=(), compare=False)

    def store(self, tensors: Tensors) -> dict[str, Stored]:
        """Return the tensors as they are stored; see `Device.store`."""
        if not self.as_deployed:
            return super().store(tensors)
        return {name: _deployed(site, values) for name, (site, values) in tensors.items() if site.role in self.keeps}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker as text: pydantic's generic types cannot be pickled."""
        said = (
            self.name,
            self.sha256,
            self.path,
            self.summary,
            self.spec.model_dump_json(by_alias=True, exclude_unset=True),
        )
        return _received, (*said, self.as_deployed, self.keeps)

    def acts_at_inference(self, *, reads: bool = False) -> bool:
        """No fault of the profile is taken."""
        return False

    def effects(
        self, stored: Any, seed: int, trial: int, *, reads: bool = False, conditions: Conditions | None = None
    ) -> tuple[Effect, ...]:
        """No fault of the profile is taken."""
        return ()


def deployed_storage(roles: tuple[str, ...]) -> Storage:
    """Return the storage that keeps tensors of some roles as the model file holds them."""
    spec = load(_PROFILE, DeviceSpec, name="deployed")
    held = spec.storage.model_copy(update={"stores": roles})
    return Storage(
        name=DEPLOYED,
        sha256=hashlib.sha256(_PROFILE.encode()).hexdigest(),
        path=Path("deployed"),
        summary=spec.summary,
        spec=spec.model_copy(update={"storage": held}),
        as_deployed=True,
        keeps=roles,
    )


def device_storage(device: str | Path | Device) -> Storage:
    """Return the storage of a device.

    Raises:
        DeviceError: If the device stores no bits.
        FaultsimError: If the profile cannot be read.
    """
    chip = device if isinstance(device, Device) else load_device(device)
    if chip.spec.storage.domain != "digital":
        raise DeviceError(
            f"device {chip.name} stores conductances, in which no bit can flip; give a digital device, or no --device "
            "for the deployed number format"
        )
    return Storage(name=chip.name, sha256=chip.sha256, path=chip.path, summary=chip.summary, spec=chip.spec)


def _received(
    name: str, sha256: str, path: Path, summary: str, spec: str, as_deployed: bool, keeps: tuple[str, ...]
) -> Storage:
    return Storage(
        name=name,
        sha256=sha256,
        path=path,
        summary=summary,
        spec=DeviceSpec.model_validate_json(spec),
        as_deployed=as_deployed,
        keeps=keeps,
    )


def _deployed(site: Site, values: Any) -> Stored:
    """Return a tensor in its own format; codes of fewer bits than their container have only those bits.

    Float weights that the graph itself quantizes (QONNX) are deployed as the codes that it makes of them.
    """
    if site.quantizer is not None and site.role == "weight" and values.dtype.kind == "f":
        held = site.quantizer.decode(site.quantizer.encode(values))
        return Stored(site, site.quantizer, held.astype(values.dtype, copy=False))
    return Stored(site, site.format, values)
