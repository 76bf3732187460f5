"""`attack` on bits, levels and stuck cells: against brute force in onnxruntime, and within what the memory allows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked, numbers, runtime_score, with_numbers

import faultsim
from faultsim.attacks import Cells, Search
from faultsim.attacks import cells as module
from faultsim.attacks.memory_cells import cell_shape
from faultsim.errors import FaultsimError, OptionError
from faultsim.results.attack import AttackResult

BIAS = replace(QUICK, sites=("first.bias",))
SHORT = Search(gradients=10, forwards=400)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_bit_is_the_worst_of_all_flips_in_onnxruntime(tmp_path: Path) -> None:
    proto, data = tiny_nets.dense(), tiny_nets.samples()
    bias = numbers(proto)["first.bias"]
    worst = (2.0, 0.0)
    for element in range(bias.size):
        for bit in range(32):
            words = bias.copy().view(np.uint32)
            words[element] ^= np.uint32(1 << bit)
            if not np.isfinite(words.view(np.float32)).all():
                continue
            accuracy, loss = runtime_score(with_numbers(proto, "first.bias", words.view(np.float32)), data)
            if np.isfinite(loss):
                worst = min(worst, (accuracy, -loss))
    result = attacked(
        tmp_path, proto, data, cells=Cells(count=1), roles=("bias",), options=BIAS, write=tmp_path / "worst.onnx"
    )
    (point,) = result.cells.points
    assert point.cells == result.cells.needed == 1
    assert point.accuracy == pytest.approx(worst[0])
    assert runtime_score(tmp_path / "worst.onnx", data)[0] == pytest.approx(worst[0])
    assert result.written.same
    (cell,) = result.cells.changed
    broken = faultsim.load_model(tmp_path / "worst.onnx").numbers["first.bias"]
    moved = np.flatnonzero(broken.view(np.uint32) != bias.view(np.uint32))
    assert moved.tolist() == [cell.element]
    assert int(broken.view(np.uint32)[cell.element] ^ bias.view(np.uint32)[cell.element]) == 1 << cell.low_bit
    assert (cell.before, cell.after) == pytest.approx((float(bias[cell.element]), float(broken[cell.element])))


def test_bits_of_an_int8_graph_are_flipped_truly(tmp_path: Path) -> None:
    options = replace(QUICK, limit=150)
    result = faultsim.attack("digits_int8", cells=Cells(count=3), options=options, search=SHORT,
                             write=tmp_path / "worst.onnx")  # fmt: skip
    clean = faultsim.load_model(faultsim.library.find_model("digits_int8")).numbers
    broken = faultsim.load_model(tmp_path / "worst.onnx").numbers
    flipped = sum(
        int(np.bitwise_count(clean[name].view(np.uint8) ^ broken[name].view(np.uint8)).sum())
        for name in clean
        if clean[name].dtype == np.int8
    )
    assert flipped == result.cells.needed <= 3
    assert result.written.same
    spent = [(one.cells, one.accuracy) for one in result.cells.points]
    assert spent == sorted(spent, key=lambda one: one[0])
    assert result.forwards <= 400
    assert result.cells.points[-1].accuracy < result.clean.accuracy


def test_many_samples_are_screened_and_every_figure_is_of_all_of_them(tmp_path: Path) -> None:
    options, search = replace(QUICK, limit=450), Search(gradients=4, forwards=60)
    found = [
        faultsim.attack("digits_int8", cells=Cells(count=2), options=options, search=search, write=tmp_path / "w.onnx")
        for _ in range(2)
    ]
    assert found[0].cells == found[1].cells
    assert found[0].cells.points[-1].cells == 2  # a flip would cost more than 60 passes without a first look
    assert found[0].forwards <= 60
    assert found[0].written.same
    assert found[0].written.accuracy == pytest.approx(
        next(one.accuracy for one in found[0].cells.points if one.cells == found[0].cells.needed)
    )


def test_until_accuracy_stops_where_it_is_reached() -> None:
    options, search = replace(QUICK, limit=150), Search(gradients=10, forwards=700)
    cells = Cells(count=6, until_accuracy=0.9)
    result = faultsim.attack("digits_int8", cells=cells, options=options, search=search)
    assert result.cells.reached is True
    last = next(one for one in result.cells.points if one.cells == result.cells.needed)
    assert last.aimed_accuracy <= 0.9
    assert result.cells.needed == len(result.cells.changed) < 6
    out_of_reach = replace(cells, count=1, until_accuracy=0.0)
    result = faultsim.attack("digits_int8", cells=out_of_reach, options=options, search=search)
    assert result.cells.reached is False


def test_a_stealthy_target_spares_the_other_samples() -> None:
    cells = Cells(count=4, victim=3, target=8, stealthy=True, tolerance=0.05)
    result = faultsim.attack("digits_int8", cells=cells, options=replace(QUICK, limit=100), search=SHORT)
    assert result.cells.aim.startswith("samples of class 3 taken for class 8")
    for point in result.cells.points:
        assert point.kept >= result.cells.clean_kept - 0.05 - 1e-12
    assert result.cells.points[-1].aimed_accuracy <= result.cells.clean_aimed


def test_taken_for_a_class_is_what_the_first_answer_says_whatever_k_is() -> None:
    options, cells = replace(QUICK, limit=100, task="top5"), Cells(count=1, target=8)
    found = faultsim.attack("digits_int8", cells=cells, options=options, search=SHORT).cells
    first = faultsim.attack("digits_int8", cells=cells, options=replace(options, task=None), search=SHORT).cells
    assert found.clean_aimed == first.clean_aimed > 0.95


def test_a_pass_that_is_too_few_for_two_ends_a_stealthy_search() -> None:
    cells = Cells(count=6, victim=3, stealthy=True, tolerance=0.05)
    few = Search(gradients=10, forwards=61)
    result = faultsim.attack("digits_int8", cells=cells, options=replace(QUICK, limit=100), search=few)
    assert result.forwards == 60
    assert result.cells.spent


@pytest.mark.parametrize(
    "cells",
    [
        Cells(count=2, target=8),
        Cells(count=2, victim=3),
        Cells(count=2, victim=3, target=8, stealthy=True, tolerance=0.5),
    ],
    ids=["target", "victim", "stealthy"],
)
def test_every_aim_finds_in_one_sweep_what_whole_passes_find(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    options, search = replace(QUICK, limit=100), Search(gradients=4, forwards=150)
    made: list[int] = []
    many = module._many
    monkeypatch.setattr(module, "_many", lambda *given: made.append(1) or many(*given))
    swept = faultsim.attack("digits_int8", cells=cells, options=options, search=search)
    assert len(made) == 1 + cells.stealthy
    monkeypatch.setattr(module, "_many", lambda *given: None)
    whole = faultsim.attack("digits_int8", cells=cells, options=options, search=search)
    assert swept.cells == whole.cells
    assert swept.forwards == whole.forwards > 100


def test_only_the_listed_bits_flip_and_only_as_they_can(tmp_path: Path) -> None:
    listed = tmp_path / "cells.csv"
    listed.write_text("tensor,element,bit\n" + "".join(f"conv1.weight_quantized,{i},7\n" for i in range(20)))
    cells = Cells(count=3, flippable=listed, one_per_word=True)
    result = faultsim.attack("digits_int8", cells=cells, options=replace(QUICK, limit=100), search=SHORT)
    assert "20 flippable cells of cells.csv" in result.cells.limits
    assert result.cells.changed
    assert all((c.site, c.low_bit) == ("conv1.weight_quantized", 7) and c.element < 20 for c in result.cells.changed)
    listed.write_text("".join(f"conv1.weight_quantized,{i},7,0\n" for i in range(20)))
    result = faultsim.attack("digits_int8", cells=cells, options=replace(QUICK, limit=100), search=SHORT)
    for cell in result.cells.changed:  # a sign bit that can only fall to 0 was 1: the number was negative
        assert cell.before < 0 <= cell.after


def test_fewer_cells_than_asked_for_are_told_where_the_limits_are_why(tmp_path: Path) -> None:
    listed = tmp_path / "cells.csv"
    listed.write_text("tensor,element,bit\n" + "".join(f"conv1.weight_quantized,3,{bit}\n" for bit in range(8)))
    options = replace(QUICK, limit=100)
    one = Cells(count=3, flippable=listed, one_per_word=True)
    told = faultsim.attack("digits_int8", cells=one, options=options, search=SHORT)
    assert told.cells.needed == 1
    assert "Of the 3 cells asked for the search found no more than 1 that the limits allow together." in told.notes
    free = faultsim.attack("digits_int8", cells=replace(one, count=1), options=options, search=SHORT)
    assert not any("limits allow" in note for note in free.notes)


def test_one_row_of_a_memory_and_one_cell_a_word() -> None:
    cells = Cells(count=4, row="any", one_per_word=True)
    result = faultsim.attack("digits_int8", cells=cells, device="sram", options=replace(QUICK, limit=100), search=SHORT)
    assert result.cells.limits == "at most one cell a memory word; all in one row of the memory"
    assert len({(c.site, c.element) for c in result.cells.changed}) == len(result.cells.changed) >= 1


@pytest.mark.parametrize("what", ["levels", "stuck"])
def test_levels_and_stuck_cells_are_searched_too(what: str) -> None:
    result: AttackResult = faultsim.attack(
        "digits_int8", cells=Cells(what=what, count=2), options=replace(QUICK, limit=100), search=SHORT
    )
    assert result.cells.what == what
    assert 1 <= result.cells.needed <= 2
    assert result.worst is None
    for cell in result.cells.changed:
        assert cell.before != cell.after
        assert cell.low_bit % 2 == 0  # cells of two bits


@pytest.mark.parametrize(
    ("cells", "text", "said"),
    [
        (Cells(row="0:7"), None, "--row needs --device"),
        (Cells(target=4), None, "--target is 4, the model has the classes 0 to 3"),
        (Cells(flippable=Path("no.csv")), None, "cannot be read (No such file or directory)"),
        (Cells(), "first.weight,0\n", "is not understood; give lines of tensor,element,bit"),
        (Cells(), "first.weight,0,-1\n", "is not understood; give lines of tensor,element,bit"),
        (Cells(), "first.weight,0,40\n", "cells.csv:1:"),
        (Cells(), "other,0,1\n", "cells.csv:1: no tensor under test is named 'other'"),
        (Cells(), "first.weight,0,1\nfirst.weight,1,1,0\n", "say it in all or in none"),
        (Cells(), "tensor,element,bit\n", "lists no cell"),
        (Cells(), "\xff", "not UTF-8 text at byte 0"),
        (Cells(), "first.weight,0,1\n\nfirst.weight,0,1\n", "cells.csv:3: 'first.weight,0,1' is given twice"),
        (Cells(), '"' + 200_000 * "x", "no CSV (field larger than field limit"),
        (Cells(until_accuracy=1.0), None, "--until-accuracy is 1, and without a fault 0.2667 of the samples"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_sentence(
    tmp_path: Path, cells: Cells, text: str | None, said: str
) -> None:
    if text is not None:
        listed = tmp_path / "cells.csv"
        listed.write_bytes(text.encode("latin-1"))
        cells = replace(cells, flippable=listed)
    with pytest.raises(FaultsimError) as caught:
        attacked(tmp_path, tiny_nets.dense(), tiny_nets.samples(), cells=cells)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """A byte order mark, and lines that end as on an old Macintosh."""
    listed = tmp_path / "cells.csv"
    listed.write_bytes(b"\xef\xbb\xbftensor,element,bit\rfirst.weight,3,31\rfirst.weight,4,31\r")
    cells = Cells(count=1, flippable=listed)
    result = attacked(tmp_path, tiny_nets.dense(), tiny_nets.samples(), cells=cells, search=SHORT)
    assert "2 flippable cells" in result.cells.limits
    assert {(c.element, c.low_bit) for c in result.cells.changed} <= {(3, 31), (4, 31)}


@pytest.mark.parametrize(("device", "bits", "code"), [("fefet_mlc", 2, "gray"), ("reram_mlc_digital", 3, "binary")])
def test_cells_are_those_of_the_device(device: str, bits: int, code: str) -> None:
    profile = faultsim.load_device(device)
    assert cell_shape(profile, Cells(what="levels")) == (bits, code)
    assert cell_shape(profile, Cells(what="stuck", bits_per_cell=bits, cell_code=code)) == (bits, code)
    with pytest.raises(FaultsimError, match=f"--bits-per-cell is 5, and cells of {device} have {bits}; leave it out"):
        cell_shape(profile, Cells(what="levels", bits_per_cell=5))
    assert cell_shape(None, Cells(what="levels")) == (2, "binary")
    assert cell_shape(None, Cells(what="levels", bits_per_cell=4, cell_code="gray")) == (4, "gray")
    with pytest.raises(FaultsimError, match="cells of sram_low_voltage hold one bit"):
        cell_shape(faultsim.load_device("sram_low_voltage"), Cells(what="levels"))


def test_the_code_of_a_memory_is_told(tmp_path: Path) -> None:
    given = {"cells": Cells(), "search": Search(gradients=1, forwards=20), "options": replace(QUICK, limit=20)}
    protected = faultsim.attack("digits_int8", device="nor_flash_mcu", **given)
    assert any("takes its code as beaten" in note and "secded" in note for note in protected.notes)
    assert not any("takes its code" in note for note in faultsim.attack("digits_int8", device="sram", **given).notes)


def test_conductances_have_no_bits(tmp_path: Path) -> None:
    with pytest.raises(FaultsimError, match="is stored as conductances, in which no bit flips"):
        attacked(tmp_path, tiny_nets.dense(), tiny_nets.samples(), cells=Cells(), device="reram")


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (Search(methods=("greedy",)), "--method chooses a search of sets"),
        (Search(certify=True), "--certify bounds sets"),
        (Search(trials=50), "--trials draws random corruptions of sets"),
        (Search(restarts=2), "--restarts of cells is 0 or 1"),
    ],
)
def test_what_cells_do_not_know_is_refused_in_python_too(search: Search, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        faultsim.attack("digits_int8", cells=Cells(), search=search)
