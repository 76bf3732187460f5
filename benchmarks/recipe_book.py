"""The recipe book's table: ``python benchmarks/recipe_book.py``.

Each row is one command on a bundled digits model, which trains on the 1,197 images beside it and assesses before and
after on the other 600 images and the same 100 chips: *before → after (control)*, where the control is plain
fine-tuning, by as many steps, with none of the losses. ``--only`` takes rows that hold one of these words; ``--steps
20`` makes a smoke test of it.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from faultsim.harden import Hardening, Training, harden
from faultsim.library import find_model
from faultsim.results.hardening import Compared, HardenResult

ROWS = (
    ("analog ReRAM", "digits --device reram"),
    ("analog PCM", "digits --device pcm"),
    ("analog SONOS", "digits --device sonos"),
    ("ReRAM, stuck cells", "digits --device reram_stuck_at"),
    ("photonic mesh", "digits --device photonic_mzi"),
    ("FeFET, 2 bits a cell", "digits --device fefet_mlc"),
    ("SRAM at low voltage, int8", "digits_int8 --device sram_low_voltage"),
    ("SRAM at low voltage, into int4", "digits --device sram_low_voltage --quantize int4"),
    ("FPGA block RAM, int8", "digits_int8 --device fpga_bram_int8"),
    ("FPGA configuration memory", "digits --device fpga_config_seu"),
    ("DRAM, row hammer", "digits --device dram_rowhammer"),
    ("DRAM, faults of the field", "digits --device dram_field_faults"),
    ("radiation, low Earth orbit", "digits_int8 --device rad_space_leo"),
)
FIGURES = ("clean accuracy", "random accuracy, mean", "random accuracy, 5th percentile")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--steps", type=int, help="of each training; the recipe's own without")
    chosen = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    rows = [one for one in ROWS if not chosen.only or any(word in f"{one[0]} {one[1]}" for word in chosen.only)]
    print("| Device | `faultsim harden` | Clean | Chips, mean | Chips, 5th percentile | Worst case | Helped |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in rows:
            words = shlex.split(command)
            quantize: Literal["int4"] | None = "int4" if "--quantize int4" in command else None
            began = time.perf_counter()
            for recipe in ("auto", "plain"):
                done = harden(
                    find_model(words[0]),
                    words[words.index("--device") + 1],
                    target=Path(scratch) / "hardened.onnx",
                    options=Hardening(recipe=recipe, quantize=quantize, training=Training(steps=chosen.steps)),
                )
                if recipe == "auto":
                    found = done.result
            print(f"| {name} | `{command}` | {_row(found, done.result)} |", flush=True)
            print(f"{name}: {time.perf_counter() - began:.0f} s; {found.sentence}", file=sys.stderr, flush=True)


def _row(result: HardenResult, control: HardenResult) -> str:
    others = _figures(control)
    cells = []
    for name, one in _figures(result).items():
        other = others[name]
        if one is None or other is None or one.before is None or one.after is None or other.after is None:
            cells.append("none")
        else:
            cells.append(f"{100 * one.before:.2f} → {100 * one.after:.2f} ({100 * other.after:.2f})")
    return " | ".join([*cells, "yes" if result.helped else "no"])


def _figures(result: HardenResult) -> dict[str, Compared | None]:
    rows: dict[str, Compared | None] = {one.name: one for one in result.compared}
    worst = next((one for one in result.compared if one.name.startswith("worst case at ε = ")), None)
    return {name: rows.get(name) for name in FIGURES} | {"worst case": worst}


if __name__ == "__main__":
    main()
