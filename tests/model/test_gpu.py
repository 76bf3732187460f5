"""The same network on a CUDA device: outputs, gradients and the counts of an assessment are those of the CPU."""

import numpy as np
import pytest
import tiny_nets
import torch
from exports import NETS, build, export
from graphs import ALL, feeds

from faultsim.assessment import Options, assess
from faultsim.model import load_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
CODES = {"float32": 1e-4, "quantized": 0.11}
"""Tolerance relative to the largest output: kernels add in another order, which may move a code on a rounding edge."""


@pytest.fixture(autouse=True)
def _whole_float32():
    """Without the ten-bit mantissa of TF32, which is another number format and not this test's subject."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def both(proto, fed):
    """Outputs and gradients on the CPU and on the device."""
    found = []
    for device in ("cpu", "cuda"):
        model = load_model(proto, torch_device=device)
        weights = [site.name for site in model.sites if site.role in ("weight", "norm")]
        found.append(
            (model.run(fed), model.gradient(fed, lambda out: out["y"].double().square().mean(), sites=weights))
        )
    return found


def close(ours, theirs, tolerance):
    np.testing.assert_allclose(ours, theirs, atol=tolerance * max(1.0, float(np.abs(theirs).max())))


@pytest.mark.parametrize("name", NETS)
def test_exported_networks(name):
    module, example = build(name)
    (cpu, (loss, slopes)), (gpu, (loss_there, slopes_there)) = both(export(module, example), {"x": example.numpy()})
    close(gpu["y"], cpu["y"], CODES["float32"])
    assert loss_there == pytest.approx(loss, rel=1e-4)
    for weight, slope in slopes.items():
        close(slopes_there[weight], slope, 1e-4)


@pytest.mark.parametrize("name", sorted(ALL))
def test_graphs_of_every_number_format(name):
    proto = ALL[name]()
    (cpu, (loss, slopes)), (gpu, (loss_there, slopes_there)) = both(proto, feeds(proto))
    close(gpu["y"].astype(np.float64), cpu["y"].astype(np.float64), CODES["quantized"])
    assert loss_there == pytest.approx(loss, rel=0.05)
    assert slopes.keys() == slopes_there.keys()
    assert [bool(np.any(s)) for s in slopes.values()] == [bool(np.any(s)) for s in slopes_there.values()]


def test_an_assessment_counts_what_it_counts_on_the_cpu(tmp_path):
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    options = Options(trials=5, search_gradients=3, site_trials=1, threads=1)
    cpu, gpu = (assess(path, "reram", options=options, torch_device=device) for device in ("cpu", "cuda"))
    assert "torch on cuda" in gpu.provenance.hardware
    assert [(row.correct, row.mismatch, row.nonfinite, row.n) for row in gpu.random.per_trial] == [
        (row.correct, row.mismatch, row.nonfinite, row.n) for row in cpu.random.per_trial
    ]
    assert gpu.clean.accuracy == cpu.clean.accuracy
    assert gpu.worst_case.accuracy == cpu.worst_case.accuracy
    assert gpu.worst_case.loss == pytest.approx(cpu.worst_case.loss, rel=1e-3)
