"""How a device holds a model's tensors: which, in which format, with which scale. No faults live here.

References:
    .. [Krishnamoorthi2018] R. Krishnamoorthi. arXiv 1806.08342, §2.3: symmetric quantization by the largest
    magnitude.
    .. [Rastegari2016] M. Rastegari et al. XNOR-Net. arXiv 1603.05279, §3.1: the scale of binary weights is the mean
    magnitude.
    .. [Li2016] F. Li et al. Ternary weight networks. arXiv 1605.04711: weights above 0.7 mean |w| are kept, and their
    mean magnitude is the scale.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.errors import DeviceError
from faultsim.formats import (
    BinaryFormat,
    BitSliced,
    ConductanceMapping,
    ConductancePair,
    DualPair,
    FloatFormat,
    IntFormat,
    NumberFormat,
    OffsetColumn,
    SingleDeviceOffset,
    absmax,
    fixed_point,
    quantize_symmetric,
    reference_block,
    ternary,
)
from faultsim.formats.floats import FLOAT_NAMES
from faultsim.formats.integers import Encoding
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import AnalogStorage, DigitalStorage

_ENCODINGS: dict[str, Encoding] = {"sign_magnitude": "sign_magnitude", "offset_binary": "offset_binary"}

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


def over_capacity(spec: DeviceSpec, stored: Mapping[str, Stored]) -> str:
    """Return in words that an advisory capacity is exceeded, empty where it is not, or there is none."""
    storage = spec.storage
    if not isinstance(storage, DigitalStorage) or storage.capacity is None:
        return ""
    needed = stored_bits(stored) / 1e6
    if needed <= storage.capacity.value:
        return ""
    return (
        f"The model needs {needed:.4g} Mbit, the profile's memory has {storage.capacity.value:g} (advisory: "
        "capacity_limit: hard in the profile refuses such a model)."
    )


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
    elif storage.encoding in FLOAT_NAMES:
        kept = FloatFormat(storage.encoding)
    elif not is_weight:
        kept = _fixed(values, storage.other_bits)
    else:
        kept = _as_codes(spec, storage, site, values, model_scale)
    held = kept.decode(kept.encode(values))
    wide = np.float64 if values.dtype == np.float64 else np.float32  # float16 would round the codes away
    return Stored(site, kept, held.astype(wide, copy=False))


def _as_codes(
    spec: DeviceSpec, storage: DigitalStorage, site: Site, values: NDArray[Any], model_scale: float | None
) -> NumberFormat:
    """Return the integer format of float weights on this device."""
    bits = storage.bits
    if storage.encoding == "binary":
        return BinaryFormat(_binary_scale(values))
    if storage.encoding == "ternary":
        return ternary(_ternary_scale(values))
    if bits is not None and storage.encoding == "fixed_point" and storage.fraction_bits is not None:
        return fixed_point(bits, storage.fraction_bits)
    if bits is None or bits < 2:
        raise DeviceError(f"device {spec.name} stores {bits} bit a weight; give encoding binary, or more bits")
    encoding = _ENCODINGS.get(storage.encoding, "twos_complement")
    if storage.scale == "per_tensor" and encoding == "twos_complement":
        return quantize_symmetric(values, bits)
    if storage.scale == "per_channel" and values.ndim > 1 and encoding == "twos_complement":
        return quantize_symmetric(values, bits, axis=site.channel_axis)
    top = _group_scale(storage, site, values, model_scale)
    return IntFormat(bits, scale=_normal(top / (2 ** (bits - 1) - 1)), encoding=encoding, narrow=True)


def _binary_scale(values: NDArray[Any]) -> float:
    """Return the scale of a binary tensor, ``mean |w|`` [Rastegari2016]_."""
    return float(np.abs(values).mean()) if values.size and np.any(values) else 1.0


def _ternary_scale(values: NDArray[Any]) -> float:
    """Return the scale of a ternary tensor: ``mean |w|`` over ``|w| > 0.7 mean |w|`` [Li2016]_."""
    size = np.abs(values.astype(np.float64))
    chosen = size[size > 0.7 * size.mean()] if values.size else size
    return float(chosen.mean()) if chosen.size and chosen.any() else 1.0


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
    if not np.all(np.isfinite(values)):
        raise _not_finite(site)
    if site.packed:
        raise DeviceError(
            f"device {spec.name} cannot hold {site.name}: each of its bytes holds several codes that {site.layer} reads"
            " moved or shared, and an analog cell holds one number; export the weights as blocked DequantizeLinear, or"
            f" leave it out with --exclude {site.name}"
        )
    if storage.mapping == "mzi_mesh":
        return Stored(site, FloatFormat("float32"), values.astype(np.float32))
    if storage.g_max is None:
        raise DeviceError(f"device {spec.name} gives no g_max; faultsim needs it to map weights to conductances")
    low = storage.g_min.value if storage.g_min is not None else 0.0
    mapping = _mapping(spec, storage, site, low, storage.g_max.value, _group_scale(storage, site, values, model_scale))
    return Stored(site, mapping, mapping.from_cells(mapping.to_cells(values)))


def _mapping(
    spec: DeviceSpec, storage: AnalogStorage, site: Site, low: float, high: float, w_max: NDArray[np.float64]
) -> ConductanceMapping:
    """Return the mapping of a tensor to cells; conductances in the unit of ``storage.g_max``."""
    devices, array = storage.devices_per_weight, storage.array
    wanted = {"differential_pair": 2, "single_device_offset": 1, "offset_column": 1}.get(storage.mapping, devices)
    if devices != wanted or (storage.mapping == "dual_pair" and devices % 2):
        even = "an even number" if storage.mapping == "dual_pair" else str(wanted)
        raise DeviceError(
            f"device {spec.name}: storage.devices_per_weight is {devices}, {storage.mapping} takes {even}; correct it"
        )
    if storage.mapping == "single_device_offset":
        return SingleDeviceOffset(low, high, w_max)
    if storage.mapping == "offset_column":
        cols = None if array is None else array.cols
        return OffsetColumn(low, high, w_max, block=reference_block(site.shape, site.channel_axis, cols=cols))
    if storage.mapping == "dual_pair":
        return DualPair(low, high, w_max, pairs=devices // 2)
    if storage.mapping == "bit_sliced" and storage.bits is not None:
        return BitSliced(low, high, w_max, magnitude_bits=storage.bits - 1, bits_per_cell=storage.bits_per_cell)
    return ConductancePair(low, high, w_max=w_max)


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
