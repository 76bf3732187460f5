"""PyTorchFI runs the campaign: `declare_weight_fi` hands back a corrupted copy of the module for every fault.

It has no bit flip of float32 weights; its hook for a user's own error model (``function=``) takes ours.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor, nn

from peers.campaign import Campaign, Fault, Flags
from peers.network import injectable, load_network
from peers.torch_eager import Passes


class PyTorchFI:
    """PyTorchFI with its layers numbered in the order of ``modules()``, as it does."""

    whole = False

    def __init__(self, campaign: Campaign) -> None:
        from pytorchfi.core import fault_injection  # type: ignore[import-not-found, unused-ignore]

        self.name = f"PyTorchFI {version('pytorchfi')}"
        self._passes = Passes(campaign)
        network = load_network(campaign)
        self._layers = {f"{name}.weight": n for n, name in enumerate(injectable(network))}
        self._shapes = {f"{name}.weight": tuple(weight.shape) for name, weight in injectable(network).items()}
        with torch.random.fork_rng():  # it runs a random image through the network
            self._injector = fault_injection(
                network,
                campaign.batch_size,
                input_shape=list(campaign.images.shape[1:]),
                layer_types=[nn.Conv2d, nn.Linear],
            )
        self._golden = self._passes.predict(network)

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        found = []
        for fault in faults:
            place = [int(i) for i in np.unravel_index(fault.element, self._shapes[fault.site])]
            k, c, row, column = [*place, None, None][:4]

            def flipped(weight: Tensor, where: tuple[int | None, ...], bit: int = fault.bit) -> Tensor:
                mask = int(np.uint32(1 << bit).view(np.int32))
                return (weight.detach()[where].view(torch.int32) ^ mask).view(torch.float32)

            corrupted = self._injector.declare_weight_fi(
                layer_num=[self._layers[fault.site]], k=[k], dim1=[c], dim2=[row], dim3=[column], function=flipped
            )
            found.append(self._passes.predict(corrupted) != self._golden)
        return np.stack(found)
