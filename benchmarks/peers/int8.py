"""An int8 QDQ variant of a model, made with onnxruntime's static quantization. Nothing is measured here."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from peers.campaign import Array, Campaign

CALIBRATION_IMAGES = 64


class _Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
    def __init__(self, name: str, images: Array) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{name: images}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def quantized(campaign: Campaign, folder: Path) -> Path:
    """Write the campaign's model as int8 QDQ (int8 weights per channel, uint8 activations) and return its path."""
    out = folder / f"{campaign.path.stem}_int8.onnx"
    session = onnxruntime.InferenceSession(campaign.path, providers=["CPUExecutionProvider"])
    reader = _Reader(session.get_inputs()[0].name, np.ascontiguousarray(campaign.images[:CALIBRATION_IMAGES]))
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a step that adds nothing here
    try:
        quantize_static(
            campaign.path,
            out,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,  # with int8 activations onnxruntime's x86 kernels are three times slower
        )
    finally:
        logging.disable(disabled)
    return out
