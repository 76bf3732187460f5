"""The SEU injection framework runs the campaign, through its own loop over the elements of one layer and one bit.

Its two injectors take every element of a layer or a random share of them; neither takes a list. The one method in which
they differ from each other, which elements to visit, is the one that we give: flip, evaluation and restoration are its
own. Its bit 0 is the sign.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from peers.campaign import Array, Campaign, Fault, Flags
from peers.network import load_network
from peers.torch_eager import Passes


class Seu:
    """The framework with a criterion that keeps which images mismatch."""

    whole = False

    def __init__(self, campaign: Campaign) -> None:
        with _silent():
            from seu_injection.core.base_injector import BaseInjector  # type: ignore[import-not-found, unused-ignore]

        class Listed(BaseInjector):  # type: ignore[misc, unused-ignore]
            """Visits the one element that it is told."""

            def _get_injection_indices(self, tensor_shape: tuple[int, ...], **kwargs: Any) -> Array:
                return np.array([np.unravel_index(kwargs["element"], tensor_shape)])

        self.name = f"SEU framework {version('seu-injection-framework')}"
        self._passes = Passes(campaign)
        network = load_network(campaign)
        self._golden = self._passes.predict(network)
        self._found: list[Array] = []
        images, labels = torch.from_numpy(campaign.images), torch.from_numpy(campaign.labels)
        with _silent():
            self._injector = Listed(network, self._criterion, device="cpu", x=images, y=labels)

    def _criterion(self, network: nn.Module, *_: Any, **__: Any) -> float:
        self._found.append(self._passes.predict(network) != self._golden)
        return float(self._found[-1].mean())

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return the mismatches of each fault; see `Tool.run`."""
        self._found.clear()
        with _silent():
            for fault in faults:
                self._injector.run_injector(bit_i=31 - fault.bit, layer_name=fault.site, element=fault.element)
        return np.stack(self._found)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Swallow what it prints for every layer."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
