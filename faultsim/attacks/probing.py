"""Which layers and kinds of layer are fragile, and to what: `probe_parts`. No search, no files here.

References:
    .. [Sun2021] Sun, Zhang et al. AAAI 2021, arXiv 2006.05620: figure 4, gradient corruption by component and layer.
    .. [Cheney2017] N. Cheney, M. Schrimpf, G. Kreiman. On the robustness of convolutional neural networks to internal
       architecture and weight perturbations. arXiv 1703.08245: weights and units removed layer by layer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.attacks.ball import asked
from faultsim.attacks.prepare import Prepared
from faultsim.attacks.probe_options import ProbeOptions
from faultsim.attacks.real import real_values, zero_code
from faultsim.attacks.recurrent_units import Recurrent, recurrent_layer, take_out
from faultsim.constraints import NoMaximiserError, TensorSet
from faultsim.corruption import Stored
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.summary import share_interval
from faultsim.metrics import Tally
from faultsim.model import Model
from faultsim.rng import generator

_THIRDS = ("first third", "middle third", "last third")


class Part(NamedTuple):
    """Some tensors that are probed together."""

    group: str
    name: str
    sites: tuple[str, ...]
    depth: float


class Measured(NamedTuple):
    """One part under one kind of corruption of one strength.

    Attributes:
        part: Which tensors.
        mode: What is done to them.
        strength: Radius, as `ProbeOptions.relative` says, or share that is removed.
        accuracies: One for each draw; one alone for the gradient.
        losses: The same; not finite where an output is not.
    """

    part: Part
    mode: str
    strength: float
    accuracies: tuple[float, ...]
    losses: tuple[float, ...]

    def accuracy(self, level: float) -> tuple[float, float | None, float | None]:
        """Return mean and interval over draws; a gradient has no draws and no interval."""
        return share_interval(self.accuracies, level)

    @property
    def loss(self) -> float:
        """The mean loss."""
        return math.fsum(self.losses) / len(self.losses) if all(map(math.isfinite, self.losses)) else math.inf


def parts_of(setting: Setting) -> list[Part]:
    """Return layer kinds, thirds of the depth, and layers, in this order; a group of one part alone is left out."""
    by_kind: dict[str, list[str]] = {}
    by_layer: dict[str, list[str]] = {}
    depths = sorted({one.site.depth for one in setting.stored.values()})
    by_third: dict[str, list[str]] = {}
    for name, one in setting.stored.items():
        by_kind.setdefault(one.site.kind, []).append(name)
        by_layer.setdefault(one.site.layer, []).append(name)
        third = min(3 * depths.index(one.site.depth) // max(len(depths), 1), 2)
        by_third.setdefault(_THIRDS[third], []).append(name)
    found = []
    for group, parts in (("kind", by_kind), ("position", by_third), ("layer", by_layer)):
        if group == "position" and len(depths) < 3:
            continue
        for name, sites in parts.items():
            depth = float(np.mean([setting.stored[site].site.depth for site in sites]))
            found.append(Part(group, name, tuple(sites), depth))
    return found


def probe_parts(prepared: Prepared, options: ProbeOptions, *, seed: int) -> Iterator[Measured]:
    """Corrupt each part alone, in every mode and strength, and yield what it does.

    The radius of every tensor is the same part of its own L2 norm, where the options say no other; biases count as
    tensors of their own. Removed
    weights are set to 0 (codes to their zero point), drawn without replacement; a removed unit loses its row of the
    weight and its elements of every other tensor of the layer that has one for each unit; one of a recurrent layer the
    rows and elements of all its gates (`recurrent_units`).

    Args:
        prepared: What the probe stands on; scores are of the search's samples.
        options: How.
        seed: Of every draw; the same draw of a tensor in whatever part it is.
    """
    setting = prepared.setting
    objective = NetworkObjective(setting.model, setting.stored, prepared.search)
    parts = parts_of(setting)
    modes = [(mode, strength) for mode in options.modes for strength in _strengths(mode, options)]
    plan = [(part, *one) for part in parts for one in modes]
    if {"gradient", "random"} & set(options.modes):
        for part in parts:  # what a radius cannot be of is told before anything is measured
            _ball(prepared, {name: setting.stored[name] for name in part.sites}, options, options.radii[0])
    for place, (part, mode, strength) in enumerate(plan):
        if prepared.stopped():
            return
        prepared.tell("probe", place, len(plan))
        stored = {name: setting.stored[name] for name in part.sites}
        if all(one.site.packed for one in stored.values()):
            continue
        if mode == "gradient":
            tallies = [t for t in [_gradient(prepared, objective, stored, options, strength)] if t is not None]
        elif mode == "random":
            draws = range(options.draws)
            tallies = [_random(prepared, objective, stored, options, strength, (seed, part.name, d)) for d in draws]
        else:
            units = mode == "units"
            whole = [one for one in stored.values() if not one.site.packed]
            if not any(_has_units(one) if units else _has_weights(one) for one in whole):
                continue
            draws = range(options.draws)
            tallies = [_removed(prepared, stored, strength, seed, d, units=units) for d in draws]
        if tallies:
            yield Measured(
                part,
                mode,
                strength,
                tuple(t.counts.accuracy for t in tallies),
                tuple(t.mean_loss if t.counts.nonfinite == 0 else math.inf for t in tallies),
            )
    prepared.tell("probe", len(plan), len(plan))


def removed(
    stored: Mapping[str, Stored], share: float, seed: int, draw: int, *, units: bool, model: Model | None = None
) -> dict[str, NDArray[Any]]:
    """Return the numbers of tensors with a share of their weights or units removed, at least one of each.

    Bytes that hold several codes stay: none of them is a weight.

    Args:
        stored: The tensors.
        share: Part that is removed, 0 to 1.
        seed: Of the draw.
        draw: Its number.
        units: Whether whole output units go, and not single weights.
        model: The model, which tells the units of recurrent layers; None where there are none.
    """
    stored = {name: one for name, one in stored.items() if not one.site.packed}
    gone: dict[tuple[str, int], NDArray[np.int64]] = {}  # a layer's tensors need not have as many units each
    recurrent: dict[str, Recurrent | None] = {}
    for one in stored.values():
        site = one.site
        if units and _has_units(one):
            if site.layer not in recurrent:
                recurrent[site.layer] = recurrent_layer(site.layer, stored.values(), model)
            layer = recurrent[site.layer]
            count = site.shape[site.channel_axis] if layer is None else layer.units
            rng = generator(seed, draw, "units", site.layer)
            drawn = [rng.permutation(count) for _ in range(1 if layer is None else layer.directions)]
            gone[site.layer, count] = np.stack(drawn)[:, : max(1, round(share * count))]
    numbers = {}
    for name, one in stored.items():
        site, values = one.site, one.values.copy()
        zero = np.broadcast_to(zero_code(one), site.shape).astype(values.dtype)
        if not units:
            if _has_weights(one):
                rng = generator(seed, draw, "weights", name)
                taken = rng.permutation(site.elements)[: max(1, round(share * site.elements))]
                values.reshape(-1)[taken] = zero.reshape(-1)[taken]
        elif (layer := recurrent.get(site.layer)) is not None:
            values = take_out(values, zero, one, layer, gone[site.layer, layer.units])
        else:
            axis = _unit_axis(one)
            hit = None if axis is None else gone.get((site.layer, site.shape[axis]))
            if axis is not None and hit is not None:
                np.moveaxis(values, axis, 0)[hit[0]] = np.moveaxis(zero, axis, 0)[hit[0]]
        numbers[name] = values
    return numbers


def _unit_axis(one: Stored) -> int | None:
    """Return the axis that may count units: the weight's own, or that of a vector."""
    if _has_units(one):
        return one.site.channel_axis % len(one.site.shape)
    return 0 if len(one.site.shape) == 1 else None


def _has_weights(one: Stored) -> bool:
    return one.site.role == "weight" and one.site.elements > 0


def _has_units(one: Stored) -> bool:
    site = one.site
    told = site.channels_told and -len(site.shape) <= site.channel_axis < len(site.shape)
    return site.role == "weight" and len(site.shape) > 1 and told


def _strengths(mode: str, options: ProbeOptions) -> Sequence[float]:
    return options.radii if mode in ("gradient", "random") else options.removed


def _ball(prepared: Prepared, stored: Mapping[str, Stored], options: ProbeOptions, radius: float) -> TensorSet | None:
    """Return the set of those tensors that a radius moves at all: not of several codes a byte, nor zero by its norm."""
    moving = {name: one for name, one in stored.items() if not one.site.packed}
    if options.relative != "none":
        moving = {name: one for name, one in moving.items() if np.any(real_values(one))}
    if not moving:
        return None
    sizes = [one.site.elements for one in moving.values()]
    most = sum(sizes) if options.scope == "global" else max(sizes)
    return asked(moving, options.ball(radius, max(most, 1))).constraint


def _gradient(
    prepared: Prepared,
    objective: NetworkObjective,
    stored: Mapping[str, Stored],
    options: ProbeOptions,
    radius: float,
) -> Tally | None:
    gradient = objective.gradient(None, "cross_entropy")
    if not gradient.usable:
        return None
    constraint = _ball(prepared, stored, options, radius)
    try:
        delta = {} if constraint is None else constraint.argmax(gradient.grads)
    except NoMaximiserError:
        delta = {}
    if constraint is None or not delta:
        return prepared.search.score(prepared.setting.fault_free())
    return prepared.search.score(objective.inside(constraint).numbers(delta))


def _random(
    prepared: Prepared,
    objective: NetworkObjective,
    stored: Mapping[str, Stored],
    options: ProbeOptions,
    radius: float,
    draw: tuple[int, str, int],
) -> Tally:
    """Score a random corruption; one of a tensor alone is the same in whatever part it is."""
    seed, part, number = draw
    numbers = objective.numbers(None)
    alone = {name: {name: one} for name, one in stored.items()}
    for name, group in ({part: dict(stored)} if options.scope == "global" else alone).items():
        constraint = _ball(prepared, group, options, radius)
        if constraint is None:
            continue
        shapes = {one: group[one].site.shape for one in constraint.names}
        try:
            delta = constraint.random(generator(seed, number, "probe", name), shapes)
        except NoMaximiserError:
            continue
        held = objective.inside(constraint).numbers(delta)
        numbers |= {one: held[one] for one in delta}
    return prepared.search.score(numbers)


def _removed(
    prepared: Prepared, stored: Mapping[str, Stored], share: float, seed: int, draw: int, *, units: bool
) -> Tally:
    numbers = prepared.setting.fault_free()
    numbers.update(removed(stored, share, seed, draw, units=units, model=prepared.setting.model))
    return prepared.search.score(numbers)
