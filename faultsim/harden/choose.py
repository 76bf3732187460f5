"""`choose`: learning rate, losses and strength, by short trainings that the validation samples judge.

How the strengths climb is told in `strength.py`; what a training is, in `train.py`.
"""

import hashlib
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from faultsim.engine.evaluate import Progress
from faultsim.errors import DataError, OptionError
from faultsim.harden import state
from faultsim.harden.curve import Told, Trained
from faultsim.harden.hardening import Hardening
from faultsim.harden.losses import Loss
from faultsim.harden.prepare import Prepared
from faultsim.harden.samples import digest
from faultsim.harden.strength import Tried, has_knob, parts, search_strength, splits, weakest
from faultsim.harden.train import train
from faultsim.harden.validate import LOST
from faultsim.textfile import write_text

TRIED = "strengths.json"
LOWER = 0.2
"""The second learning rate that is tried, as a part of the first."""


class Short(NamedTuple):
    """What a short training came to: the validation score that it promises, and the seconds it took.

    One that took no step has no score, and is neither compared nor kept for a later ``--resume``.
    """

    score: float
    seconds: float
    idle: bool = False


class Choice(NamedTuple):
    """What the final training is made with.

    Attributes:
        options: As they were given, with the learning rate that was chosen.
        loss: At its strength.
        tried: The strengths and their scores.
        said: One sentence for each choice between two, and for each short training that took no step.
        spent_s: Seconds that the short trainings took, those of an interrupted search among them, and the first look
            at the original.
    """

    options: Hardening
    loss: Loss
    tried: list[Tried]
    said: tuple[str, ...] = ()
    spent_s: float = 0.0


def choose(ready: Prepared, options: Hardening, out: Path | None, tell: Progress) -> Choice:
    """Return the loss at its strength, and the learning rate; a search that was interrupted goes on.

    Where no rate was given, the usual one and a lower one are tried; where the recipe has other losses beside its own,
    both are: each at the strength that the search begins with. Where one of two took no step, the usual one is kept.

    Raises:
        DataError: If what an interrupted search has left cannot be read.
    """
    loss = ready.recipe.loss
    if options.strength is not None:
        return Choice(options, loss.with_strength(options.strength), [])
    if options.search == 1:
        return Choice(options, loss, [])
    of = _fingerprint(ready, options)
    known = _known(out, of) if options.resume else {}
    asked: set[str] = set()
    said: list[str] = []

    def name(options: Hardening, loss: Loss, strength: float) -> str:
        key = f"{strength:.12g}" if loss is ready.recipe.loss else f"{strength:.12g}-{loss.kind}"
        return key + ("" if options.training.lr is None else f"-lr-{options.training.lr:.4g}")

    def short(options: Hardening, loss: Loss, strength: float) -> Short:
        key = name(options, loss, strength)
        asked.add(key)
        if key not in known:
            one = loss.with_strength(strength)
            if options.training.time_budget_s is not None:
                ready.validator(ready.trainable.numbers(ready.trainable.leaves()))
            began = time.monotonic()
            trained = train_part(ready, options, one, out, f"strength-{key}", None, tell)
            seconds = max(trained.seconds, time.monotonic() - began)  # what only the first training loads is in it
            idle = trained.steps == trained.skipped
            score = LOST if idle else ready.validator.promise(trained.curve)
            known[key] = Short(score, seconds, idle)
            if idle:
                at = f"{one.kind} at strength {strength:.3g} and a rate of {one_rate(options):.3g}"
                why = trained.stopped or "no loss was finite"
                said.append(f"The short training of {at} took no step ({why}): compared with nothing.")
            elif out is not None:
                _write_known(out, of, known)
        return known[key]

    def one_rate(options: Hardening) -> float:
        return options.training.largest_rate(ready.trainable.rms(ready.trainable.leaves()))

    def spent() -> float:
        return sum(known[key].seconds for key in asked) + ready.validator.seconds

    if options.training.lr is None:
        usual = one_rate(options)
        slower = replace(options, training=replace(options.training, lr=LOWER * usual))
        own, other = short(options, loss, loss.strength), short(slower, loss, loss.strength)
        chosen = slower if _beats(other, own, ready.validator.slack) else options
        rate = chosen.training.lr or usual
        said.append(_said(own, f"a learning rate of {usual:.3g}", other, f"{LOWER * usual:.3g}", f"{rate:.3g}"))
        options = chosen
    if not _searched(ready):
        return Choice(options, loss, [], tuple(said), spent())
    also, slack = ready.recipe.also, ready.validator.slack
    if also is not None:
        own, other = short(options, loss, loss.strength), short(options, also, also.strength)
        chosen_loss = also if _beats(other, own, slack) else loss
        said.append(_said(own, loss.kind, other, also.kind, chosen_loss.kind))
        loss = chosen_loss
    trained = [parts(loss)]

    def allowed(strength: float) -> bool:
        """Whether it is a loss of its own: knobs have ends, and one batch split in two needs both passes."""
        one = loss.with_strength(strength)
        known, usable = parts(one) in trained, splits(one) or not options.training.split_batch
        trained.append(parts(one))
        return usable and not known

    tried = search_strength(
        loss.strength, lambda strength: short(options, loss, strength).score, most=options.search, allowed=allowed
    )
    tried = [one for one in tried if not known[name(options, loss, one.strength)].idle]
    chosen_strength = weakest(tried, slack).strength if tried else loss.strength
    return Choice(options, loss.with_strength(chosen_strength), tried, tuple(said), spent())


def train_part(
    ready: Prepared,
    options: Hardening,
    loss: Loss,
    out: Path | None,
    name: str,
    told: Told | None,
    tell: Progress,
    *,
    before: float = 0.0,
) -> Trained:
    """Train with *loss*: in full where *name* is ``final``, for a part of the steps and of the time elsewhere.

    The short trainings get a third of the time at most, each of them as much of it: the original is judged before, and
    the time for that is nobody's. The final one gets all but the seconds spent *before*, and half of the time at least.
    """
    training = replace(options.training, batch_size=ready.batch_size)
    budget = training.time_budget_s
    if name != "final":
        whole = training.planned(max(len(ready.train) // ready.batch_size, 1))
        if budget is not None:
            budget = max(budget - ready.validator.seconds, budget / 2) / (3 * _trainings(ready, options))
        training = replace(training, steps=max(round(whole * options.search_part), 1), time_budget_s=budget)
    elif budget is not None:
        training = replace(training, time_budget_s=max(budget - before, budget / 2))
    phase = "training" if name == "final" else f"strength {loss.strength:.3g}"
    return train(
        ready.trainable,
        ready.train,
        ready.target,
        loss,
        ready.validator,
        training,
        names=ready.names,
        slack=ready.validator.slack,
        checkpoint=None if out is None else out / name / state.NAME,
        resume=options.resume,
        told=told,
        tick=lambda done, total: tell(phase, done, total),
        spares=ready.validator.spares if name == "final" and options.blend else None,
        judging=ready.validator.seconds,
    )


def forget(out: Path) -> None:
    """Delete what an earlier hardening would go on from: a later ``--resume`` is to find this one alone.

    Raises:
        OptionError: If it cannot be deleted.
    """
    stale = [out / TRIED, *(folder / state.NAME for folder in (out / "final", *out.glob("strength-*")))]
    for path in stale:
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            continue
        except OSError as error:
            raise OptionError(
                f"--out {out}: {path.name} of an earlier hardening cannot be deleted ({error.strerror}); "
                "give another folder"
            ) from None


def _trainings(ready: Prepared, options: Hardening) -> int:
    """Most short trainings that there may be, one for the second rate among them."""
    return options.search + 1 + (ready.recipe.also is not None) if _searched(ready) else 2


def _searched(ready: Prepared) -> bool:
    """Whether a strength is searched: not where the losses have none, or every one was given by an option."""
    loss = ready.recipe.loss
    return has_knob(loss) and loss.kind not in ready.recipe.kept


def _beats(other: Short, own: Short, slack: float) -> bool:
    """Whether *other* is better by more than chance; a training without a step decides nothing."""
    return not (own.idle or other.idle) and other.score > own.score + slack


def _said(own: Short, what: str, other: Short, than: str, chosen: str) -> str:
    one, two = ("nothing" if one.score <= LOST else f"{one.score:.4g}" for one in (own, other))
    why = " as usual, since one of the two took no step" if own.idle or other.idle else ""
    return f"Validation scores {one} with {what}, {two} with {than}: {chosen}{why}."


def _fingerprint(ready: Prepared, options: Hardening) -> str:
    """What the scores of a search hang on, but for the strength and the rate that name them."""
    plan = replace(options.training, lr=None, time_budget_s=None, checkpoint_s=1.0)
    of = (plan, options.search_part, options.scales, repr(ready.recipe.loss), ready.names, ready.validator.key)
    text = repr((ready.trainable.model.sha256, *of, ready.target.towards, digest(ready.train)))
    return hashlib.sha256(text.encode()).hexdigest()


def _known(out: Path | None, of: str) -> dict[str, Short]:
    if out is None or not (out / TRIED).is_file():
        return {}
    try:
        found = json.loads((out / TRIED).read_text(encoding="utf-8"))
        scores = {str(key): Short(float(value), float(found["seconds"][key])) for key, value in found["scores"].items()}
        if not all(0 <= one.seconds < math.inf and math.isfinite(one.score) for one in scores.values()):
            raise ValueError("a score or seconds out of range")
        same = found["of"] == of
    except (OSError, ValueError, AttributeError, TypeError, KeyError, OverflowError, RecursionError):
        raise DataError(f"{out / TRIED}: cannot be read; delete it, and the strengths are tried again") from None
    if not same:
        raise DataError(
            f"{out / TRIED}: is of another hardening (model, data, seed, losses or device); give --out another folder, "
            "or delete it"
        )
    return scores


def _write_known(out: Path, of: str, known: dict[str, Short]) -> None:
    done = {key: one for key, one in known.items() if not one.idle}
    scores = {key: one.score for key, one in done.items()}
    seconds = {key: one.seconds for key, one in done.items()}
    write_text(out / TRIED, json.dumps({"of": of, "scores": scores, "seconds": seconds}))
