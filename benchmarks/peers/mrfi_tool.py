"""MRFI runs the campaign: a fixed position and a fixed bit on one layer's weights, set by its configuration tree.

It writes the fault in a hook before the layer of every batch, from a clean copy that it keeps. A layer that is disabled
again keeps its last fault: we put MRFI's clean copy back.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch

from peers.campaign import Campaign, Fault, Flags
from peers.network import injectable, load_network
from peers.torch_eager import Passes


class Mrfi:
    """MRFI with one disabled fault configuration a layer; a trial enables one of them."""

    whole = False

    def __init__(self, campaign: Campaign) -> None:
        from mrfi import MRFI, EasyConfig  # type: ignore[import-not-found, unused-ignore]

        self.name = f"MRFI {version('mrfi')}"
        self._passes = Passes(campaign)
        network = load_network(campaign)
        self._golden = self._passes.predict(network)
        self._weights = {f"{name}.weight": weight for name, weight in injectable(network).items()}
        names = list(injectable(network))
        one = {
            "type": "weight",
            "name": ["weight"],
            "enabled": False,
            "selector": {"method": "FixPosition", "position": 0},
            "error_mode": {"method": "FloatFixedBitFlip", "bit": 0, "floattype": "float32"},
            "module_fullname": names,
        }
        self._network = MRFI(network, EasyConfig({"faultinject": [one]}))
        found = [self._network.get_configs("weights.0", module_fullname=name)[0] for name in names]
        self._configs = dict(zip(self._weights, found, strict=True))

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        found = []
        for fault in faults:
            config = self._configs[fault.site]
            config.selector.args.position = fault.element
            config.error_mode.args.bit = fault.bit
            config.enabled = True
            found.append(self._passes.predict(self._network) != self._golden)
            config.enabled = False
            with torch.no_grad():
                self._weights[fault.site].copy_(config.weight_copy)
        return np.stack(found)
