"""A plain onnxruntime session of a file, its products of codes exact on every processor. No engine here."""

from pathlib import Path

import onnxruntime as ort

from faultsim.model import exact_codes


def exact_session(path: Path) -> ort.InferenceSession:
    """Return an optimised session on all threads, as a deployment would open it."""
    options = ort.SessionOptions()
    exact_codes.ask(options)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
