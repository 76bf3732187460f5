"""Print what the fast solution of a crossbar's wires errs and costs, against the exact one and a sparse solver.

    python benchmarks/ir_drop_error.py            # square tiles of 16 to 256 lines, a few minutes
    python benchmarks/ir_drop_error.py --top 64   # smaller ones only

Cells are drawn uniformly up to g_max, with the given share of them conducting at all. `drop` is ``|G_eff - G| / |G|``
(Frobenius); the fast solution's error with one, two and three current shapes a line is given relative to that drop.
What the law uses, one shape or two by the size of the drop, is also given relative to ``|G|`` and as the largest error
of one cell, relative to g_max. Times are processor time of one tile on one thread, the least of three for the fast one.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from faultsim.faults.crossbar import Wires, effective_conductance

Matrix = NDArray[np.float64]

G_MAX_US = 25.0
LOADS = (1e-5, 1e-4, 1e-3)  # r_wire * g_max: 0.4, 4 and 40 ohm at 25 uS
SHARES = (0.1, 1.0)


def sparse_nodal(g_uS: Matrix, ohm: float) -> Matrix:
    """Return the effective conductances of one tile, uS, by nodal analysis with one sparse LU factorisation.

    An independent solution: node equations of both ends of every cell, one right-hand side an output.
    """
    rows, cols = g_uS.shape
    word = np.arange(rows * cols).reshape(rows, cols)
    bit = word + rows * cols
    y = 1e6 / ohm
    one = np.concatenate([word.ravel(), word[:, 1:].ravel(), bit[1:].ravel()])
    two = np.concatenate([bit.ravel(), word[:, :-1].ravel(), bit[:-1].ravel()])
    link = np.concatenate([g_uS.ravel(), np.full(one.size - g_uS.size, y)])
    outer = np.concatenate([word[:, 0], bit[-1]])
    diagonal = np.bincount(np.concatenate([one, two, outer]), np.concatenate([link, link, np.full(outer.size, y)]))
    count = 2 * rows * cols
    off = sparse.coo_array((-link, (one, two)), shape=(count, count))
    matrix = (off + off.T + sparse.diags_array(diagonal)).tocsc()
    unit = np.zeros((count, cols))
    unit[bit[-1], np.arange(cols)] = y
    solver = linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return y * solver.solve(unit)[word[:, 0]]


def timed(solve: Callable[[], Matrix]) -> tuple[Matrix, float]:
    """Return the result and its milliseconds."""
    start = time.process_time()
    result = solve()
    return result, 1e3 * (time.process_time() - start)


def row(lines: int, load: float, share: float) -> str:
    rng = np.random.default_rng([lines, int(1e6 * load), int(100 * share)])
    g = rng.uniform(0, G_MAX_US, (lines, lines)) * (rng.random((lines, lines)) < share)
    ohm = load / G_MAX_US * 1e6
    wires = Wires(ohm, ohm)
    exact, exact_ms = timed(partial(effective_conductance, g, wires))
    errors = [effective_conductance(g, wires, method="fast", modes=modes) - exact for modes in (1, 2, 3)]
    runs = [timed(partial(effective_conductance, g, wires, method="fast")) for _ in range(3)]
    chosen, fast_ms = runs[0][0] - exact, min(ms for _, ms in runs)
    drop = float(np.linalg.norm(exact - g))
    against = "       -        -"
    if lines <= 128:
        nodal, nodal_ms = timed(partial(sparse_nodal, g, ohm))
        against = f"{nodal_ms:8.1f} {np.abs(nodal - exact).max() / G_MAX_US:8.1e}"
    relative = " ".join(f"{np.linalg.norm(error) / drop:8.1e}" for error in errors)
    return (
        f"{lines:5d} {load:7.0e} {share:6.1f} {drop / np.linalg.norm(g):8.4f}  {relative}"
        f"  {np.linalg.norm(chosen) / np.linalg.norm(g):8.1e} {np.abs(chosen).max() / G_MAX_US:8.1e}"
        f"  {fast_ms:8.1f} {exact_ms:8.1f} {against}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=int, default=256, help="lines of the largest tile")
    top = parser.parse_args().top
    print(
        "               cells             error of fast / drop         as the law     CPU ms a tile            sparse"
    )
    columns = "1 shape  2 shapes 3 shapes    / |G|  largest      fast    exact   sparse  - exact"
    print(f"lines  r*gmax  share     drop   {columns}")
    for lines, load, share in itertools.product((16, 32, 64, 128, 256), LOADS, SHARES):
        if lines <= top:
            print(row(lines, load, share), flush=True)


if __name__ == "__main__":
    main()
