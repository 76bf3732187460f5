"""The campaign's network as a plain ``torch.nn.Module``, as users of the peers have it. Nothing is injected here.

The parameters carry the names of the ONNX file, and come from it.
"""

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

from peers.campaign import Campaign

TOLERANCE = 1e-4
"""Largest difference of a logit to onnxruntime's that counts as the same network."""


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without weights (option A of He et al. 2016, section 4.2)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.padding = (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, or a block's activations, of a batch."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.padding:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return functional.relu(out + x)


class ResNet(nn.Module):
    """ResNet of 6n + 2 layers for 32×32 images: 20 layers for n = 3."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(Block(32 if i else 16, 32, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(Block(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, or a block's activations, of a batch."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(functional.avg_pool2d(out, out.shape[3]).flatten(1))  # type: ignore[no-any-return]


class Normalised(nn.Module):
    """A network behind the normalisation of its images, which lies in the ONNX file."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, or a block's activations, of a batch."""
        return self.net((x - self.mean) / self.std)  # type: ignore[no-any-return]


class Digits(nn.Module):
    """The bundled digits network, for a run without reference data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, or a block's activations, of a batch."""
        out = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        return self.fc(functional.max_pool2d(out, 2).flatten(1))  # type: ignore[no-any-return]


def load_network(campaign: Campaign) -> nn.Module:
    """Return a new module in eval mode with the file's numbers, checked against onnxruntime on the first batch.

    Raises:
        ValueError: If the file's tensors are not this network's, or the outputs part by more than `TOLERANCE`.
    """
    proto = onnx.load(campaign.path)
    names = {one.name for one in proto.graph.initializer}
    network: nn.Module = Digits()
    if "net.bn1.weight" in names:
        network = Normalised(ResNet(sum(name.endswith(".conv1.weight") and ".layer1." in name for name in names)))
    wanted = set(network.state_dict()) - {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    if not wanted <= names:
        raise ValueError(f"{campaign.path.name} lacks {sorted(wanted - names)[:3]}; give resnet20_cifar10_bn.onnx")
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer if one.name in wanted}
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, strict=False)
    network.eval()
    batch = next(campaign.batches())
    runtime = onnxruntime.InferenceSession(campaign.path, providers=["CPUExecutionProvider"])
    expected = runtime.run(None, {runtime.get_inputs()[0].name: batch})[0]
    with torch.no_grad():
        apart = float(np.abs(network(torch.from_numpy(batch)).numpy() - expected).max())
    if not apart <= TOLERANCE:
        raise ValueError(f"the torch network parts from onnxruntime by {apart:.2g}, more than {TOLERANCE:g}")
    return network


def injectable(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of the convolutions and dense layers by the layer's name, in the order of ``modules()``."""
    return {name: part.weight for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
