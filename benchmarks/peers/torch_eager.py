"""Torch eager: the bare forward pass, the mismatches after one, and the naive injector that the peers compare with."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from peers.campaign import Campaign, Fault, Flags, predictions
from peers.network import load_network


class Passes:
    """Forward passes over the campaign's images, in ``no_grad``, contiguous (NCHW) memory, no compilation."""

    def __init__(self, campaign: Campaign) -> None:
        torch.set_num_threads(campaign.threads)
        self._batches = [torch.from_numpy(batch) for batch in campaign.batches()]

    def forward(self, network: nn.Module) -> torch.Tensor:
        """Return the logits of all images."""
        with torch.no_grad():
            return torch.cat([network(batch) for batch in self._batches])

    def predict(self, network: nn.Module) -> NDArray[np.int64]:
        """Return the class of each image, -1 where a logit is not finite."""
        return predictions(self.forward(network).numpy())


class Bare:
    """Forward passes without any fault: the unit of the ratios."""

    name = f"bare torch {torch.__version__} eager"
    whole = False

    def __init__(self, campaign: Campaign) -> None:
        self._passes = Passes(campaign)
        self._network = load_network(campaign)

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Run one pass a fault and inject none of them."""
        return np.stack([~torch.isfinite(self._passes.forward(self._network)).numpy().all(axis=1) for _ in faults])


class Naive:
    """Flips the bit in the module's memory, runs one forward pass, flips it back."""

    name = "naive, torch eager"
    whole = False

    def __init__(self, campaign: Campaign) -> None:
        self._passes = Passes(campaign)
        self._network = load_network(campaign)
        self._words = {
            name: one.detach().numpy().reshape(-1).view(np.uint32) for name, one in self._network.named_parameters()
        }
        self._golden = self._passes.predict(self._network)

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        found = []
        for fault in faults:
            words, mask = self._words[fault.site], np.uint32(1 << fault.bit)
            words[fault.element] ^= mask
            found.append(self._passes.predict(self._network) != self._golden)
            words[fault.element] ^= mask
        return np.stack(found)
