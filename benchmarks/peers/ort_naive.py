"""onnxruntime without faultsim: the bare forward pass, and a naive injector that opens a session for each fault."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from peers.campaign import Array, Campaign, Fault, Flags, flip, predictions


def open_session(proto: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Return a session with all of onnxruntime's optimisations, such as folding batch norm."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def forward(session: onnxruntime.InferenceSession, campaign: Campaign) -> Array:
    """Return the logits of all images."""
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: batch})[0] for batch in campaign.batches()])


class Bare:
    """Forward passes without any fault, in one session: the unit of the ratios."""

    name = f"bare onnxruntime {onnxruntime.__version__}"
    whole = False

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._session = open_session(onnx.load(campaign.path), campaign.threads)

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Run one pass a fault and inject none of them."""
        return np.stack([~np.isfinite(forward(self._session, self._campaign)).all(axis=1) for _ in faults])


class Naive:
    """Writes the flipped word into the file's tensor, opens a session, runs one forward pass."""

    name = "naive, onnxruntime"
    whole = False

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._proto = onnx.load(campaign.path)
        self._tensors = {one.name: one for one in self._proto.graph.initializer}
        self._golden = self._predict()

    def _predict(self) -> NDArray[np.int64]:
        return predictions(forward(open_session(self._proto, self._campaign.threads), self._campaign))

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        found = []
        for fault in faults:
            tensor = self._tensors[fault.site]
            clean = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(flip(clean, fault), fault.site))
            found.append(self._predict() != self._golden)
            tensor.CopyFrom(onnx.numpy_helper.from_array(clean, fault.site))
        return np.stack(found)
