"""Signals: windows, DFT, STFT, MelWeightMatrix. Complex numbers lie in a last axis of size 2."""

import math

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._widen import in_float32, ints
from faultsim.model.ops.registry import op
from faultsim.model.values import TORCH_DTYPES


def _window(size: Tensor, periodic: int, elem_type: int, cosines: tuple[float, ...]) -> Tensor:
    """The sum of (-1)^i cosines[i] cos(2 pi i n / N), [Harris1978]_ eq. 31.

    References:
        .. [Harris1978] F. J. Harris. On the use of windows for harmonic analysis with the discrete
           Fourier transform. Proc. IEEE 66(1):51-83, 1978.
    """
    count = ints(size)[0]
    period = count if periodic else count - 1
    angle = torch.arange(count, device=size.device, dtype=torch.float64) * (2 * math.pi) / period
    total = torch.zeros_like(angle)
    for i, weight in enumerate(cosines):
        total = total + (-1) ** i * weight * torch.cos(i * angle)
    return total.to(TORCH_DTYPES[elem_type])


@op("HannWindow")
def HannWindow(size: Tensor, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Tensor:
    """The Hann window (ONNX HannWindow-17)."""
    return _window(size, periodic, output_datatype, (0.5, 0.5))


@op("HammingWindow")
def HammingWindow(size: Tensor, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Tensor:
    """The Hamming window with 25/46 (ONNX HammingWindow-17)."""
    return _window(size, periodic, output_datatype, (25 / 46, 21 / 46))


@op("BlackmanWindow")
def BlackmanWindow(size: Tensor, *, output_datatype: int = TensorProto.FLOAT, periodic: int = 1) -> Tensor:
    """The Blackman window (ONNX BlackmanWindow-17)."""
    return _window(size, periodic, output_datatype, (0.42, 0.5, 0.08))


def _transform(x: Tensor, length: Tensor | None, axis: int, inverse: int, onesided: int) -> Tensor:
    axis %= x.ndim
    count = None if length is None else ints(length)[0]
    signal = x[..., 0] if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(signal, n=count, dim=axis).unsqueeze(-1)
        return real
    if inverse:
        return torch.view_as_real(torch.fft.ifft(signal, n=count, dim=axis).resolve_conj())
    if onesided and not signal.is_complex():
        return torch.view_as_real(torch.fft.rfft(signal, n=count, dim=axis))
    spectrum = torch.fft.fft(signal, n=count, dim=axis)
    if onesided:
        spectrum = spectrum.narrow(axis, 0, spectrum.shape[axis] // 2 + 1)
    result: Tensor = torch.view_as_real(spectrum)
    return result


@op("DFT", since=17)
@in_float32
def DFT_17(
    x: Tensor, dft_length: Tensor | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Tensor:
    """The discrete Fourier transform along *axis* (ONNX DFT-17)."""
    return _transform(x, dft_length, axis, inverse, onesided)


@op("DFT", since=20)
@in_float32
def DFT(
    x: Tensor,
    dft_length: Tensor | None = None,
    axis: Tensor | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """The discrete Fourier transform along *axis*, the last but one by default (ONNX DFT-20)."""
    return _transform(x, dft_length, -2 if axis is None else ints(axis)[0], inverse, onesided)


@op("STFT")
@in_float32
def STFT(
    signal: Tensor,
    frame_step: Tensor,
    window: Tensor | None = None,
    frame_length: Tensor | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """The spectrum of each windowed frame: batch, frame, frequency, 2 (ONNX STFT-17)."""
    signal = signal.unsqueeze(-1) if signal.ndim == 2 else signal
    if frame_length is not None:
        length = ints(frame_length)[0]
    else:
        length = signal.shape[1] if window is None else window.shape[0]
    frames = signal.unfold(1, length, ints(frame_step)[0]).transpose(-1, -2)  # batch, frame, time, part
    if window is not None:
        frames = frames * functional.pad(window, (0, length - window.shape[0])).unsqueeze(-1)
    return _transform(frames, None, 2, 0, onesided)


@op("MelWeightMatrix")
def MelWeightMatrix(
    num_mel_bins: Tensor,
    dft_length: Tensor,
    sample_rate: Tensor,
    lower_edge_hertz: Tensor,
    upper_edge_hertz: Tensor,
    *,
    output_datatype: int = TensorProto.FLOAT,
) -> Tensor:
    """Triangles on the mel scale, spectrogram bins by mel bins (ONNX MelWeightMatrix-17)."""
    bins, length, rate = (ints(t)[0] for t in (num_mel_bins, dft_length, sample_rate))
    low, high = (2595 * math.log10(1 + float(t) / 700) for t in (lower_edge_hertz, upper_edge_hertz))
    mels = np.arange(bins + 2) * ((high - low) / (bins + 2)) + low
    edges = ((length + 1) * 700 * (10 ** (mels / 2595) - 1) // rate).astype(np.int64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    place = np.arange(length // 2 + 1)[:, None]
    rising = np.where(centre > left, (place - left) / np.maximum(centre - left, 1), 1.0)
    falling = (right - place) / np.maximum(right - centre, 1)
    weights = np.where((place >= left) & (place <= centre), rising, 0.0)
    weights = np.where((place >= centre) & (place < right), falling, weights)
    return torch.from_numpy(weights).to(device=num_mel_bins.device, dtype=TORCH_DTYPES[output_datatype])
