"""Which tensors of a model a device stores, as the roles and the patterns of a command choose them."""

from fnmatch import fnmatchcase

from faultsim.assessment.options import Options
from faultsim.corruption import Stored
from faultsim.device import Device
from faultsim.errors import DeviceError, OptionError
from faultsim.library import closest
from faultsim.model import Model
from faultsim.specs.storage import ROLES


def stored_on(model: Model, device: Device, options: Options) -> dict[str, Stored]:
    """Return the chosen tensors as the device stores them, by site.

    Raises:
        DeviceError: If the device stores no tensor of the model.
        OptionError: If roles or patterns fit no tensor.
    """
    numbers, stores = model.numbers, device.spec.storage.stores
    for role in options.roles:
        if role not in stores:
            raise OptionError(f"--roles {role!r}: {device.name} stores {', '.join(stores)} alone; choose among these")
    roles = options.roles or stores
    chosen = {site.name: (site, numbers[site.name]) for site in model.select(roles)}
    if not chosen and options.roles:
        raise OptionError(f"--roles: {model.name} has no tensor of the roles {', '.join(roles)}; choose others")
    if not chosen:
        raise DeviceError(
            f"{model.name} has no tensor of the roles that {device.name} stores ({', '.join(stores)}); "
            f"{_remedy(model, device)}"
        )
    for option, patterns in (("--sites", options.sites), ("--exclude", options.exclude)):
        for pattern in patterns:
            if not any(_fits(name, pattern) for name in chosen):
                near = closest(pattern, chosen)
                some = ", ".join(list(chosen)[:6]) + (" …" if len(chosen) > 6 else "")
                hint = f"did you mean {near!r}?" if near else f"the stored sites are {some}"
                raise OptionError(f"{option} {pattern!r} fits no site of {model.name}; {hint}")
    kept = {
        name: tensor
        for name, tensor in chosen.items()
        if (not options.sites or any(_fits(name, p) for p in options.sites))
        and not any(_fits(name, p) for p in options.exclude)
    }
    if not kept:
        raise OptionError(f"--sites and --exclude leave no site of {model.name}; widen them")
    return device.store(kept)


def _remedy(model: Model, device: Device) -> str:
    """Say what to do where a device stores no tensor of the model; the deployed format has no profile to edit."""
    if not getattr(device, "as_deployed", False):
        return "add roles to storage.stores of its profile"
    roles = sorted({site.role for site in model.sites} & set(ROLES))
    return f"choose --roles among those that it has: {', '.join(roles)}" if roles else "it stores no parameters at all"


def _fits(name: str, pattern: str) -> bool:
    """Whether a site is meant: by its own name, whatever letters that has, or by a glob."""
    return name == pattern or fnmatchcase(name, pattern)
