"""Two campaigns on the same faults: the difference trial by trial. Which test is used is said in `stats.paired`.

Both are drawn from the whole population: the mean difference over trials estimates the one over faults only where each
fault was as likely to be drawn.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from faultsim.campaign.believable import check_rows
from faultsim.campaign.design import Design
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.identify import is_earlier
from faultsim.campaign.judging import comparable
from faultsim.campaign.options import CampaignOptions
from faultsim.campaign.recipe import Prepared
from faultsim.errors import OptionError
from faultsim.journal import Identity, Table, difference, read_header, read_journal
from faultsim.journal.union import unite
from faultsim.results.injection import PairedDifferenceEntry, PairedInfo
from faultsim.rng import generator
from faultsim.stats.paired import paired_difference, statement

JOURNAL_NAME = "journal.jsonl"


class Paired(NamedTuple):
    """The rows of another campaign, sorted by trial."""

    path: Path
    model: str
    rows: Table


def check_pairing(campaign: CampaignOptions) -> None:
    """Refuse to pair a campaign whose trials cannot be compared one by one.

    Raises:
        OptionError: If it is screened or drawn in strata.
    """
    if campaign.screen:
        raise OptionError("--paired-with compares exact counts: leave --screen out")
    if campaign.stratify != "none":
        raise OptionError(
            f"--paired-with compares trials that are all as likely, those of --stratify {campaign.stratify} are not: "
            "leave --stratify out of both campaigns"
        )


def read_other(path: Path, what: Identity) -> Paired:
    """Return the rows of a campaign that drew the same faults as *what*.

    Args:
        path: Its journal, its ``result.json`` with the journal beside it, or their folder.
        what: This campaign.

    Raises:
        OptionError: If the faults differ, or its task cannot be told.
        JournalError: If the journal cannot be read.
    """
    journal = path
    if path.is_dir() or path.name == "result.json":
        journal = (path if path.is_dir() else path.parent) / JOURNAL_NAME
        if not journal.exists():
            raise OptionError(
                f"--paired-with {path}: there is no {JOURNAL_NAME} beside it; give the journal of that campaign"
            )
    header = read_header(journal)
    parts = header.parts
    if is_earlier(parts):
        raise OptionError(
            f"--paired-with {path}: it is of an earlier version of faultsim, which did not keep the parameters of the "
            "task; run that campaign again"
        )
    mine, theirs = comparable(what.parts, parts), comparable(parts, what.parts)
    if said := difference(theirs, mine, was="is", now="here"):
        raise OptionError(
            f"--paired-with {path}: its faults are not the same: {said}; compare campaigns that differ in the model "
            "alone"
        )
    if header.columns != COLUMNS:
        raise OptionError(f"--paired-with {path}: its rows are of another version of faultsim; run that campaign again")
    model = parts.get("model")
    sha = str(model.get("sha256", "")) if isinstance(model, dict) else ""
    rows = unite(read_journal(journal, columns=COLUMNS).rows, lambda row: f"{journal}:{row + 2}").rows
    return Paired(path, sha, rows)


def check_shared(other: Paired, prepared: Prepared, design: Design) -> None:
    """Refuse a campaign of which no trial could be compared, before it is run.

    Raises:
        OptionError: If none of its trials was scored by the other one.
        JournalError: If a row of the other one is not that of its trial.
    """
    if not design.shares(other.rows["trial"]):
        raise OptionError(
            f"--paired-with {other.path}: it scored {len(other.rows):,} trials, none of them one that is asked for "
            "here; run that campaign with as many --trials and the same --shard"
        )
    check_rows(other.rows, prepared, other.path, of_other=True)


def compare(rows: Table, other: Paired, level: float, draws: Draws, *, counts_correct: bool) -> PairedInfo:
    """Return this campaign less the other, over the trials that both have.

    Args:
        rows: Of this campaign, sorted by trial.
        other: The other one.
        level: Two-sided confidence.
        draws: Its faults.
        counts_correct: Whether the task counts correct answers: else there is no accuracy to compare.

    Raises:
        OptionError: If they share no trial, or a trial's faults differ.
    """
    trials = np.intersect1d(rows["trial"], other.rows["trial"])
    if trials.size == 0:
        raise OptionError(
            f"--paired-with {other.path}: no trial was scored by both; run that one with as many --trials"
        )
    mine = rows[np.isin(rows["trial"], trials)]
    theirs = other.rows[np.isin(other.rows["trial"], trials)]
    for name in ("stratum", "site", "element", "bit", "n"):
        if not np.array_equal(mine[name], theirs[name]):
            raise OptionError(f"--paired-with {other.path}: the faults of its trials differ ({name}); run it again")
    quantities = {
        "critical": ("critical faults", mine["mismatch"] > 0, theirs["mismatch"] > 0),
        "changed": ("share of changed predictions", mine["mismatch"] / mine["n"], theirs["mismatch"] / theirs["n"]),
    }
    if counts_correct:
        quantities["accuracy"] = ("accuracy", mine["correct"] / mine["n"], theirs["correct"] / theirs["n"])
    population = None if draws.replacement else draws.population.faults
    entries = []
    for name, (words, here, there) in quantities.items():
        rng = generator(draws.seed, -1, "paired signs", name)
        found = paired_difference(
            there.astype(np.float64),
            here.astype(np.float64),
            rng=rng,
            level=level,
            population=population,
            tailed=True,
        )
        entries.append(
            PairedDifferenceEntry(
                quantity=name,
                value=found.difference.best,
                low=found.difference.low,
                high=found.difference.high,
                p_value=found.p_value,
                claimed=found.claimed,
                words=statement(found, quantity=words).replace(" chips", " faults").replace(" chip", " fault"),
            )
        )
    return PairedInfo(other_model=other.model, trials=int(trials.size), differences=tuple(entries))
