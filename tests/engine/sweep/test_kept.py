"""What stays open: tails by their bytes and users, clean runs by their number."""

import numpy as np

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.engine.sweep.kept import Kept
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep


class Tail:
    """An entry as `Kept` sees it."""

    def __init__(self, size: int) -> None:
        self.tail_bytes = size
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_the_least_recently_used_tails_are_closed():
    kept, tails = Kept(25), [Tail(10) for _ in range(3)]
    for one in (tails[0], tails[1], tails[0], tails[2]):
        with kept.using(one):
            pass
    assert [one.released for one in tails] == [0, 1, 0]


def test_a_tail_in_use_is_closed_only_when_it_is_done():
    kept, tails = Kept(5), [Tail(10) for _ in range(2)]
    with kept.using(tails[0]):
        with kept.using(tails[1]):
            assert [one.released for one in tails] == [0, 0]
        assert [one.released for one in tails] == [0, 0]
    assert [one.released for one in tails] == [1, 0]  # the last one stays: it is likely to be used again


def test_a_dropped_tail_is_closed_and_counts_no_more():
    kept, tails = Kept(15), [Tail(10) for _ in range(2)]
    with kept.using(tails[0]):
        pass
    kept.drop(tails[0])
    with kept.using(tails[1]):
        pass
    assert [one.released for one in tails] == [1, 0]


def test_few_clean_runs_stay_open_whatever_trials_come_together():
    setting = make_setting("digits", "sram", None, Options(limit=64), torch_device="cpu")
    setting.scorer.set_golden()
    sweep = Sweep(setting.scorer)
    rng = np.random.default_rng(0)
    sites = [name for name, array in setting.model.numbers.items() if array.dtype == np.float32]
    for _ in range(6):
        chosen = rng.choice(sites, size=2, replace=False)
        sweep.score([{str(name): Sparse(np.array([0]), np.array([3.0], np.float32))} for name in chosen])
    assert sweep.spent.trials["whole"] == 0
    assert sweep._router is not None
    assert len(sweep._router._runs) <= 2
