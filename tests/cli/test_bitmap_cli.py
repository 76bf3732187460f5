"""``faultsim bitmap``: what is printed, written and refused."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny_nets

from faultsim import load_model
from faultsim.report.bitmap import lines, shade
from faultsim.report.protect import places
from faultsim.results.bitmap import BitGroupResult, BitMapResult, BitMapSite, ProtectedBits, ProtectionStep

SMALL = ("--images", 24, "--audit", 40, "--quiet", "--threads", 1)


def test_a_bit_map_is_printed_and_written(faultsim, tmp_path: Path) -> None:
    outcome = faultsim("bitmap", "digits", "--elements", 600, "--out", tmp_path / "out", *SMALL)
    assert outcome.code == 0, outcome.err
    result = BitMapResult.model_validate_json((tmp_path / "out" / "bitmap.json").read_text())
    assert (result.images, result.audit.flips, result.seed) == (24, 40, 0)
    assert [one.name for one in result.sites][:2] == ["conv1.weight", "conv1.bias"]
    for one in result.sites:
        assert (len(one.bits), one.format) == (32, "float32")
        if one.role == "weight":  # the exponent's top bit matters, a low mantissa bit does not
            assert one.bits[30] > 20 * one.bits[10] >= 0
    assert sorted(bit for group in result.audit.groups for bit in group.bits) == list(range(32))
    printed = outcome.out.splitlines()
    assert all(len(line) <= 80 for line in printed if not line.startswith(("written", "  note"))), outcome.out
    assert "24 images" in outcome.out
    row = next(line for line in printed if line.strip().startswith("all bits"))
    assert f"{100 * result.audit.best:.2f}%" in row
    assert "are mapped by a random part of their numbers" in outcome.out
    with np.load(tmp_path / "out" / "bitmap.npz", allow_pickle=False) as whole:
        assert whole["names"].tolist() == [one.name for one in result.sites]
        for number, one in enumerate(result.sites):
            assert whole[f"shares_{number}"].shape == whole[f"large_{number}"].shape == (32, one.mapped)
            assert whole[f"shares_{number}"].mean(axis=1) == pytest.approx(np.array(one.bits), abs=1e-6)
            assert len(whole[f"indices_{number}"]) == one.mapped
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"bitmap.{kind}" for kind in ("json", "npz", "png", "svg")
    ]
    assert ElementTree.parse(tmp_path / "out" / "bitmap.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "out" / "bitmap.png").read_bytes().startswith(b"\x89PNG")


def test_the_worst_bits_and_what_to_protect_are_told(faultsim, tmp_path: Path) -> None:
    outcome = faultsim("bitmap", "digits", "--elements", 600, "--out", tmp_path, *SMALL)
    result = BitMapResult.model_validate_json((tmp_path / "bitmap.json").read_text())
    assert len(result.worst) == 10
    assert [one.evaluated for one in result.worst] == sorted((one.evaluated for one in result.worst), reverse=True)
    assert result.worst[0].bit == 30
    assert f"{result.worst[0].site} [{result.worst[0].element}] bit 30" in outcome.out
    targets = [one.target for one in result.protect]
    assert targets == sorted(targets)
    assert all(one.removed >= one.target - 1e-9 for one in result.protect)
    half = next(line for line in outcome.out.splitlines() if line.strip().startswith("step 1"))
    assert f"{100 * result.protect[0].stored:.2f}%" in half
    assert f"+{100 * result.protect[0].stored / 8:.2f}%" in half
    assert result.protect[0].stored < 0.05 < 0.5 <= result.protect[0].removed


def step_of(**bits: tuple[int, ...]) -> ProtectionStep:
    own = tuple(ProtectedBits(site=name, bits=some) for name, some in bits.items())
    return ProtectionStep(target=0.9, protected=own, stored=0.1, removed=0.9, low=0.0, best=0.1, high=0.2)


def test_protected_bits_are_said_in_few_words() -> None:
    rest = {"kind": "conv", "role": "weight", "format": "int8", "elements": 4, "mapped": 4}
    some = {"bits": (0.0,) * 8, "piloted": (0.0,) * 8}
    sites = [BitMapSite(name=name, **rest, **some) for name in "abcdefgh"]
    everywhere = dict.fromkeys("abcdefgh", (6, 7))
    assert places(step_of(**everywhere), sites) == ["bits 6-7 of every 8-bit word"]
    assert places(step_of(**(everywhere | {"b": (2, 3, 4, 6, 7)})), sites)[1:] == ["bits 2-4 of b"]
    spared = dict.fromkeys("abdefgh", (7,))
    assert places(step_of(**spared), sites) == ["bit 7 of every 8-bit word but those of c"]
    assert places(step_of(a=(1, 7), b=(1, 7), c=(1, 7)), sites) == ["bits 1,7 of a, b and 1 more tensor"]
    many = places(step_of(**{name: (i,) for i, name in enumerate("abcdefgh")}), sites)
    assert many == [
        "bit 0 of a",
        "bit 1 of b",
        "bit 2 of c",
        "bit 3 of d",
        "and 4 more groups of bits, see bitmap.json",
    ]


def test_the_same_command_gives_the_same_map(faultsim, tmp_path: Path) -> None:
    found = []
    for part in ("a", "b"):
        assert faultsim("bitmap", "digits_int8", "-o", tmp_path / part, *SMALL).code == 0
        found.append(BitMapResult.model_validate_json((tmp_path / part / "bitmap.json").read_text()))
    assert (found[0].sites, found[0].audit) == (found[1].sites, found[1].audit)
    assert {one.format for one in found[0].sites} == {"int8", "int32"}


def test_what_cannot_be_mapped_is_refused(faultsim, tmp_path: Path) -> None:
    for words, said in (
        (("--images", 0), "--images is 0, it must be at least 1"),
        (("--rivals", 0), "rivals = 0 is out of range"),
        (("--device", "reram_1t1r"), "stores conductances, in which no bit can flip"),
    ):
        outcome = faultsim("bitmap", "digits", "--images", 4, "--elements", 60, "--quiet", *words)
        assert outcome.code == 2
        assert said in outcome.err
    data = tiny_nets.samples()
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", {"x": data["x"], "labels": data["x"][:, :4]})
    outcome = faultsim("bitmap", path, "--task", "regression", "--quiet")
    assert outcome.code == 2
    assert "has no margin between classes; a bit map needs a classification" in outcome.err


def test_an_audit_that_no_map_could_take_is_refused_before_the_map(
    faultsim, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [t.size for t in load_model(root / "scenarios" / "digits" / "digits_float.onnx").numbers.values()]
    most = 32 * sum(max(1, size * 60 // sum(sizes)) for size in sizes)
    monkeypatch.setattr("faultsim.engine.screen.bitmap.bit_map", lambda *given: pytest.fail("mapped first"))
    for flips in (-5, 0, 1, most + 1, 10**9):
        outcome = faultsim("bitmap", "digits", "--images", 4, "--elements", 60, "--quiet", "--audit", flips)
        assert outcome.code == 2
        assert f"an audit of {flips} flips is out of range: this map takes 2 to {most}; give a number" in outcome.err
        assert outcome.out == ""


def test_an_audit_too_small_for_the_groups_takes_what_they_need_and_says_so(faultsim) -> None:
    outcome = faultsim("bitmap", "digits", "--images", 4, "--elements", 60, "--quiet", "--threads", 1, "--audit", 2)
    assert outcome.code == 0, outcome.err
    assert "note: the audit evaluated 4 flips, not 2: it takes at least 2 for each group" in outcome.out


def test_shades_rise_with_the_share() -> None:
    shades = [shade(share) for share in (0.0, 1e-4, 2e-4, 2e-3, 2e-2, 0.2, 1.0)]
    assert shades == [" ", " ", "░", "▒", "▓", "█", "█"]


def test_a_map_that_contradicts_itself_is_refused() -> None:
    site = {"name": "w", "kind": "conv", "role": "weight", "format": "int8", "elements": 4, "mapped": 4}
    with pytest.raises(ValueError, match="8 bits and 7 pilot shares"):
        BitMapSite(**site, bits=(0.0,) * 8, piloted=(0.0,) * 7)
    with pytest.raises(ValueError, match="mapped = 5 lies above elements = 4"):
        BitMapSite(**(site | {"mapped": 5}), bits=(0.0,), piloted=(0.0,))
    with pytest.raises(ValueError, match=r"low = 0.3 lies above best = 0.1"):
        ProtectionStep(target=0.5, protected=(), stored=0.1, removed=0.5, low=0.3, best=0.1, high=0.4)
    with pytest.raises(ValueError, match=r"low = 0.5 lies above best = 0.2"):
        BitGroupResult(width=8, bits=(1,), flips=3, predicted=0.1, audited=2, low=0.5, best=0.2, high=0.6)


def test_foreign_names_cannot_steer_the_terminal(faultsim, tmp_path: Path) -> None:
    faultsim("bitmap", "digits_int8", "-o", tmp_path, *SMALL)
    result = BitMapResult.model_validate_json((tmp_path / "bitmap.json").read_text())
    evil = result.sites[0].model_copy(update={"name": "a\x1b[2J$x$"})
    worst = result.worst[0].model_copy(update={"site": "b\x1b[2J"})
    own = ProtectedBits(site=evil.name, bits=(1,))
    step = result.protect[0].model_copy(update={"protected": (own,)})
    told = lines(result.model_copy(update={"sites": (evil,), "worst": (worst,), "protect": (step,)}))
    assert not any("\x1b" in line for line in told)
