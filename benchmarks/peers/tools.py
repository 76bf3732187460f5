"""Which tools there are, and which of them are installed. What they do lives in their own files."""

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

from peers import ort_naive, torch_eager
from peers.campaign import Campaign, Tool
from peers.mrfi_tool import Mrfi
from peers.ours import OURS
from peers.pytorchfi_tool import PyTorchFI
from peers.seu_tool import Seu

BARE_TORCH, BARE_ORT = "bare-torch", "bare-onnxruntime"
REFERENCE = "naive-torch"
"""The tool whose mismatches the others are held against."""

PEERS: Mapping[str, tuple[str, Callable[[Campaign], Tool]]] = {
    "pytorchfi": ("pytorchfi", PyTorchFI),
    "mrfi": ("mrfi", Mrfi),
    "seu": ("seu-injection-framework", Seu),
}
"""Peers by the name on the command line: the package that must be installed, and what runs it."""

TOOLS: Mapping[str, Callable[[Campaign], Tool]] = {
    BARE_TORCH: torch_eager.Bare,
    BARE_ORT: ort_naive.Bare,
    REFERENCE: torch_eager.Naive,
    "naive-onnxruntime": ort_naive.Naive,
    **{name: make for name, (_, make) in PEERS.items()},
    **OURS,
}


def missing() -> dict[str, str]:
    """Return the peers that are not installed, with the package that each needs."""
    absent = {}
    for name, (package, _) in PEERS.items():
        try:
            version(package)
        except PackageNotFoundError:
            absent[name] = package
    return absent
