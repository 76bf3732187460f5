"""faultsim: will this network still work on the chip it ships on?

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import Any

_NAMES = {
    "CampaignOptions": "faultsim.campaign",
    "Device": "faultsim.device",
    "Model": "faultsim.model",
    "Options": "faultsim.assessment",
    "Result": "faultsim.results",
    "Scenario": "faultsim.scenario",
    "assess": "faultsim.assessment",
    "attack": "faultsim.attacks",
    "harden": "faultsim.harden",
    "load_data": "faultsim.data",
    "load_device": "faultsim.device",
    "load_model": "faultsim.model",
    "load_result": "faultsim.results",
    "probe": "faultsim.attacks",
    "run_campaign": "faultsim.campaign",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    """Return a public name, loading the module that defines it."""
    if name not in _NAMES:
        raise AttributeError(f"module 'faultsim' has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(_NAMES)
