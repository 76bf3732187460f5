"""A sweep of codes that the file packs several to a byte counts what whole passes count."""

import numpy as np
import packed_twins
import pytest
import tiny_nets
from sweep_equality import assert_equal

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.engine.sweep.slices import Sparse


@pytest.mark.parametrize("kind", ["packed", "plain"])
@pytest.mark.parametrize("make", [packed_twins.products, packed_twins.tables])
def test_new_codes_are_packed_into_the_pieces_of_the_graph(make, kind, tmp_path):
    twins = make()
    path = tiny_nets.save(getattr(twins, kind), tmp_path / "net.onnx", twins.data)
    scorer = make_setting(path, "sram", None, Options(threads=1), torch_device="cpu").scorer
    scorer.set_golden()
    rng, size = np.random.default_rng(0), scorer.runner.model.site("codes").elements
    patches = [
        {"codes": Sparse(np.sort(rng.permutation(size)[:few]), rng.integers(0, 16, few).astype(np.uint8))}
        for few in (1, 1, 2, 5, 40)
    ]
    assert assert_equal(scorer, patches).spent.trials["layer"] == len(patches)
