"""How a device holds a model's tensors: which, in which format, with which scale. No faults live here.

References:
    .. [Krishnamoorthi2018] R. Krishnamoorthi. arXiv 1806.08342, §2.3: symmetric quantization by the largest
    magnitude.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.errors import DeviceError
from faultsim.formats import ConductancePair, FloatFormat, IntFormat, NumberFormat, absmax, quantize_symmetric
from faultsim.specs.device import AnalogStorage, DeviceSpec, DigitalStorage

Tensors = Mapping[str, tuple[Site, NDArray[Any]]]


def store_all(spec: DeviceSpec, tensors: Tensors) -> dict[str, Stored]:
    """Return the tensors that the device holds in the memory under test, as it holds them.

    Tensors whose role is not in ``storage.stores`` are left out: they are taken as safe.

    Raises:
        DeviceError: If the device cannot hold the model, or faultsim cannot store numbers its way yet.
    """
    storage = spec.storage
    chosen = {name: pair for name, pair in tensors.items() if pair[0].role in storage.stores}
    if not chosen:
        raise DeviceError(
            f"device {spec.name} stores {', '.join(storage.stores)}, the model has no such tensor;"
            " check the model, or storage.stores in the profile"
        )
    for name, (site, values) in chosen.items():
        if values.shape != site.shape:
            raise DeviceError(f"tensor {name} has shape {values.shape}, its site {site.shape}; give matching ones")
    model_scale = _model_scale(chosen) if storage.scale == "per_model" else None
    if isinstance(storage, AnalogStorage):
        return {name: _as_conductances(spec, storage, *pair, model_scale) for name, pair in chosen.items()}
    stored = {name: _as_words(spec, storage, *pair, model_scale) for name, pair in chosen.items()}
    _check_capacity(spec, storage, stored)
    return stored


def stored_bits(stored: Mapping[str, Stored]) -> int:
    """Return the number of bits that digitally stored tensors take."""
    return sum(item.format.bits * item.site.elements for item in stored.values())


def _as_words(
    spec: DeviceSpec, storage: DigitalStorage, site: Site, values: NDArray[Any], model_scale: float | None
) -> Stored:
    is_weight = site.role == "weight"
    if values.dtype.kind in "iub":
        return Stored(site, _own_codes(spec, storage, site, values), values)
    if not np.all(np.isfinite(values)):
        raise _not_finite(site)
    kept: NumberFormat
    if site.quantizer is not None and is_weight:
        kept = _own_quantizer(spec, storage, site)
    elif storage.encoding != "twos_complement":
        kept = FloatFormat(storage.encoding)
    elif not is_weight:
        kept = _fixed(values, storage.other_bits)
    elif storage.bits is None or storage.bits < 2:
        raise DeviceError(f"device {spec.name} stores {storage.bits} bit a weight; quantize the model to it yourself")
    elif storage.scale == "per_tensor":
        kept = quantize_symmetric(values, storage.bits)
    elif storage.scale == "per_channel" and values.ndim > 1:
        kept = quantize_symmetric(values, storage.bits, axis=site.channel_axis)
    else:
        top = _group_scale(storage, site, values, model_scale)
        kept = IntFormat(storage.bits, scale=_normal(top / (2 ** (storage.bits - 1) - 1)), narrow=True)
    held = kept.decode(kept.encode(values))
    wide = np.float64 if values.dtype == np.float64 else np.float32  # float16 would round the codes away
    return Stored(site, kept, held.astype(wide, copy=False))


def _own_codes(spec: DeviceSpec, storage: DigitalStorage, site: Site, values: NDArray[Any]) -> NumberFormat:
    """Return the format of codes that the model holds: their own, where they fit the device."""
    own = site.format
    bits = site.code_bits if site.code_bits is not None else own.bits
    room = storage.bits if site.role == "weight" and storage.bits is not None else storage.word_bits
    if bits > room:
        what = "weights" if site.role == "weight" else "words"
        raise DeviceError(
            f"device {spec.name} cannot hold {site.name}: its codes have {bits} bits, the device's"
            f" {what} {room}; quantize the model to {room} bits, or give a device with wider {what}"
        )
    if bits == own.bits or values.dtype.kind == "b":
        return own
    signed = values.dtype.kind == "i"
    return IntFormat(bits, signed=signed, dtype=values.dtype.name)


def _own_quantizer(spec: DeviceSpec, storage: DigitalStorage, site: Site) -> NumberFormat:
    """Return the format of the codes that the graph itself makes of float weights, where they fit the device."""
    own = site.quantizer
    room = storage.bits if storage.bits is not None else storage.word_bits
    if own is None or own.bits > room:
        bits = own.bits if own is not None else 0
        raise DeviceError(
            f"device {spec.name} cannot hold {site.name}: the graph quantizes it to {bits} bits, the device's weights"
            f" have {room}; quantize the model to {room} bits, or give a device with wider weights"
        )
    return own


def _fixed(values: NDArray[Any], bits: int) -> NumberFormat:
    """Return fixed point for a bias or norm parameter; unsigned where nothing is negative, as a variance."""
    if values.size and values.min() >= 0:
        top = float(values.max())
        return IntFormat(bits, signed=False, scale=_normal(np.array((top or 1.0) / (2**bits - 1))))
    return quantize_symmetric(values, bits)


def _as_conductances(
    spec: DeviceSpec, storage: AnalogStorage, site: Site, values: NDArray[Any], model_scale: float | None
) -> Stored:
    if storage.mapping != "differential_pair" or storage.devices_per_weight != 2:
        raise DeviceError(
            f"device {spec.name} maps a weight as {storage.mapping} on {storage.devices_per_weight} devices;"
            " faultsim simulates differential_pair on 2"
        )
    if storage.g_max is None or storage.g_max.unit != "uS":
        raise DeviceError(f"device {spec.name} gives no g_max in uS; faultsim needs it to map weights")
    if not np.all(np.isfinite(values)):
        raise _not_finite(site)
    g_min = storage.g_min.value if storage.g_min is not None else 0.0
    pair = ConductancePair(g_min, storage.g_max.value, w_max=_group_scale(storage, site, values, model_scale))
    return Stored(site, pair, pair.from_conductances(*pair.to_conductances(values)))


def _group_scale(
    storage: DigitalStorage | AnalogStorage, site: Site, values: NDArray[Any], model_scale: float | None
) -> NDArray[np.float64]:
    """Return the largest magnitude of each scale group, broadcastable; 1 for a group of zeros."""
    axis = site.channel_axis
    if model_scale is not None:
        return np.array(model_scale)
    if storage.scale == "per_channel" and values.ndim > 1:
        return _normal(absmax(values, axis=axis))
    if storage.scale == "per_tile" and storage.array is not None and values.ndim > 1:
        turned = absmax(np.moveaxis(values, axis, 0), tile=(storage.array.rows, storage.array.cols))
        return _normal(np.moveaxis(turned, 0, axis))
    return _normal(absmax(values))


def _normal(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(scale, float(np.finfo(np.float32).tiny))


def _model_scale(chosen: Tensors) -> float:
    """Return the one scale of all weights, in value units."""
    weights = [values for site, values in chosen.values() if site.role == "weight" and values.size]
    tops = [float(np.abs(values).max()) for values in weights]
    return max(tops, default=1.0) or 1.0


def _check_capacity(spec: DeviceSpec, storage: DigitalStorage, stored: Mapping[str, Stored]) -> None:
    if storage.capacity is None or storage.capacity_limit != "hard":
        return
    needed = stored_bits(stored) / 1e6
    if needed > storage.capacity.value:
        raise DeviceError(
            f"device {spec.name} cannot hold the model: it needs {needed:g} Mbit, the device has"
            f" {storage.capacity.value:g}; use fewer bits a weight, a smaller model or a larger device"
        )


def _not_finite(site: Site) -> DeviceError:
    return DeviceError(f"tensor {site.name} holds an infinity or a NaN; no device stores that, repair the model")
