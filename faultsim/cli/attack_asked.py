"""What the options of ``faultsim attack`` ask for together: a set, a curve of sets, or cells. No search is started."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faultsim.attacks import Ball, Cells, Curve

_CELLS = ("until_accuracy", "target", "victim", "stealthy", "tolerance", "one_per_word", "row", "flippable",
          "bits_per_cell", "cell_code", "stuck_at")  # fmt: skip
_PLAIN: dict[str, Any] = {"stealthy": False, "one_per_word": False}
_UNITS = {"rms": "rel:", "norm": "norm:", "none": "no prefix"}


def check_of_device(given: dict[str, Any], asked: dict[str, str], *, of_device: bool) -> None:
    """Refuse what only a device's own set depends on, where another one is searched."""
    from faultsim.errors import OptionError

    name = next(iter(asked), "confidence" if given["confidence"] is not None else None)
    if name is None or of_device:
        return
    what = "how many of a device's chips its set holds" if name == "confidence" else "a condition of a device"
    if given["device"] is None:
        raise OptionError(f"--{name} is {what}; give --device, or leave it out")
    raise OptionError(f"--{name} is {what}, on which only the device's own set depends; leave it or --eps (--bits) out")


def cells_of(given: dict[str, Any]) -> "Cells | None":
    """Return the cells that are searched; None for a set.

    Raises:
        OptionError: If options do not go together.
    """
    from faultsim.attacks import Cells
    from faultsim.errors import OptionError

    kinds = [name for name in ("bits", "levels", "stuck") if given[name] is not None]
    asked = {name: given[name] for name in _CELLS if given[name] != _PLAIN.get(name)}
    if len(kinds) > 1:
        raise OptionError(f"--{kinds[0]} and --{kinds[1]} are both given; search one kind of cell at a time")
    if not kinds:
        if asked or given["allow_nonfinite"]:
            name = next(iter(asked), "allow_nonfinite").replace("_", "-")
            raise OptionError(f"--{name} goes with --bits, --levels or --stuck: the most cells that change")
        return None
    what = kinds[0]
    for name, wrong, why in (
        ("tolerance", asked.get("tolerance") is not None and not given["stealthy"], "goes with --stealthy"),
        ("stuck_at", asked.get("stuck_at") is not None and what != "stuck", "goes with --stuck"),
        ("method", bool(given["methods"]), "chooses a search of sets; cells have one of their own"),
        ("certify", given["certify"] is True, "bounds sets; no bound over cells is known"),
        ("trials", given["trials"] is not None, "draws random corruptions of sets; cells are compared with none"),
        ("restarts", (given["restarts"] or 0) > 1, "of cells is 0 or 1: half of them are found anew once"),
    ):
        if wrong:
            raise OptionError(f"--{name.replace('_', '-')} {why}; leave it out")
    finite_only = not given["allow_nonfinite"]
    return Cells(what=what, count=given[what], finite_only=finite_only, **asked)  # type: ignore[arg-type]


def curve_and_ball(given: dict[str, Any], cells: "Cells | None") -> "tuple[Curve | None, Ball | None]":
    """Return the curve and the set that are asked for; None for what is not.

    Raises:
        OptionError: If options do not go together.
    """
    from faultsim.attacks import Ball, Curve
    from faultsim.attacks.options import radius
    from faultsim.errors import OptionError

    over, ends = given["curve"], {"start": given["start"], "stop": given["stop"]}
    eps, relative = (None, None) if given["eps"] is None else radius("--eps", given["eps"])
    curve = None
    if over is None:
        layers = True if given["per_layer"] else None
        for name, value in (("--from", ends["start"]), ("--to", ends["stop"]), ("--keep", given["keep"]),
                            ("--points", given["points"]), ("--per-layer", layers)):  # fmt: skip
            if value is not None:
                raise OptionError(f"{name} goes with --curve eps or --curve n: several values in place of one")
    else:
        read = {name: radius(f"--{'from' if name == 'start' else 'to'}", text) for name, text in ends.items() if text}
        said = {unit for _, unit in read.values()} | ({relative} if eps is not None else set())
        if over == "n" and any(unit != "none" for _, unit in read.values()):
            raise OptionError("--from and --to of --curve n are numbers of elements; give plain numbers, such as 10")
        for name, wrong, why in (
            ("n", given["n"] is not None, "is what --curve n varies, by --from and --to"),
            ("keep", given["keep"] is not None, "is of critical radii, which --curve eps has"),
            ("per-layer", given["per_layer"], "is of critical radii, which --curve eps has"),
            ("certify", given["certify"] is True, "is for one set, or for the critical radii of --curve eps"),
        ):
            if over == "n" and wrong:
                raise OptionError(f"--{name} {why}; leave it out")
        if over == "eps" and given["device"] is not None and eps is None and said - {"none"}:
            raise OptionError("--from and --to of a device's curve are multiples of its own radius; give plain "
                              "numbers, such as 0.1 and 10")  # fmt: skip
        if over == "eps" and len(said) > 1:
            units = " and ".join(sorted(_UNITS[str(unit)] for unit in said))
            raise OptionError(f"--eps, --from and --to are in different units ({units}); give all with the same prefix")
        if over == "eps":
            relative = next(iter(said), "none")
        on_device = given["device"] is not None and eps is None
        first, last = (1.0, 100.0) if over == "n" else (0.1, 10.0) if on_device else (0.001, 1.0)
        values = {"start": first, "stop": last} | {name: value for name, (value, _) in read.items()}
        points = 7 if given["points"] is None else given["points"]
        keep, layers = given["keep"], given["per_layer"]
        curve = Curve(over=over, points=points, keep=keep, per_layer=layers, **values)
    named = [name for name in ("p", "n", "scope") if given[name] is not None]
    if cells is not None:
        if named or eps is not None or curve is not None:
            raise OptionError("--bits, --levels and --stuck go without --p, --eps, --n, --scope and --curve: cells "
                              "are no ball; give one kind")  # fmt: skip
        return None, None
    if eps is None and given["device"] is not None:
        if named:
            raise OptionError(f"--{named[0]} belongs to a set of --eps; the set of --device is the device's own")
        return curve, None
    if eps is None and curve is None:
        if named:
            raise OptionError("the set has no radius; give --eps, such as 0.1 or rel:0.1 (of each tensor's RMS)")
        return None, None
    order = 2.0 if given["p"] is None else read_order(given["p"])
    return curve, Ball(p=order, eps=eps, relative=relative or "none", n=given["n"], scope=given["scope"] or "tensor")


def read_order(text: str) -> float:
    """Return the order of a norm.

    Raises:
        OptionError: If the text is no number.
    """
    from faultsim.errors import OptionError

    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--p {text[:40]!r} is no number; give 1, 2, inf or another number of at least 1") from None
