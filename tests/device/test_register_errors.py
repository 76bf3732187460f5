"""Broken logic above wrong memory: it hides the cells that it does not read, and no others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sites import site

from faultsim.corruption import Stored, Stuck, Xor, apply_edit
from faultsim.device import load_device
from faultsim.device.edits import below, merge
from faultsim.formats import IntFormat

LAB = "status: verified, source: lab"
HEAD = """\
faultsim_device: 1
name: array
technology: sram
title: An array
summary: A memory with wrong bits, read by an array with broken elements.
is_not: It is an example.
sources:
  lab: {cite: "Our lab, 2026", read: primary}
storage: {domain: digital, encoding: twos_complement, bits: 8, stores: [weight]}
mechanisms:
"""
BITS = f"""\
  - id: ber
    model: bit_error_rate
    target: weights
    persistence: permanent
    params: {{ber: {{value: 0.05, unit: BER, {LAB}}}}}
"""
ELEMENTS = f"""\
  - id: pe
    model: stuck_pe
    target: config
    persistence: permanent
    params:
      rows: {{value: 8, unit: PEs, {LAB}}}
      columns: {{value: 8, unit: PEs, {LAB}}}
      p: {{value: 0.5, unit: fraction of PEs, {LAB}}}
      effect: EFFECT
"""
ASSESS = "assess: {confidence: 0.99, scope: per_tensor}\n"
WORDS = st.dictionaries(st.integers(0, 15), st.integers(1, 255), max_size=12)


def wrong(tmp_path, mechanisms):
    """The share of weights that are wrong, over chips."""
    path = tmp_path / "array.yaml"
    path.write_text(HEAD + mechanisms + ASSESS)
    device = load_device(path)
    values = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    stored = device.store({"w": (site("w", values.shape), values)})
    found = []
    for trial in range(40):
        edit = device.sample(stored, 0, trial).get("w")
        found.append(0.0 if edit is None else np.mean(apply_edit(edit, stored["w"]) != stored["w"].values))
    return float(np.mean(found))


def test_weights_with_a_stuck_register_bit_keep_the_errors_of_their_other_bits(tmp_path):
    held = wrong(tmp_path, BITS), wrong(tmp_path, ELEMENTS.replace("EFFECT", "stuck_bit"))
    both = wrong(tmp_path, BITS + ELEMENTS.replace("EFFECT", "stuck_bit"))
    hit = 1 - (1 - 0.05) ** 7  # of a weight behind a broken element: an error in one of its other seven bits
    assert abs(both - (0.5 * held[0] + 0.5 * (0.5 + 0.5 * hit))) < 0.02
    assert both > max(held)


def test_weights_of_a_dead_element_have_no_errors_of_their_own(tmp_path):
    alone, dead = wrong(tmp_path, BITS), wrong(tmp_path, ELEMENTS.replace("EFFECT", "dead"))
    both = wrong(tmp_path, BITS + ELEMENTS.replace("EFFECT", "dead"))
    assert abs(both - (0.5 * alone + dead)) < 0.02


def edit_of(words, bits=None):
    indices = np.array(sorted(words), dtype=np.int64)
    masks = np.array([words[one] for one in sorted(words)], dtype=np.uint64)
    if bits is None:
        return Xor(indices=indices, masks=masks)
    return Stuck(indices=indices, masks=masks, bits=masks & np.uint64(bits))


@given(memory=WORDS, logic=WORDS, reads=st.integers(0, 255), forced=st.booleans(), stuck=st.booleans())
def test_logic_reads_the_memory_where_it_forces_nothing(memory, logic, reads, forced, stuck):
    fmt = IntFormat(8, dtype="int8")
    one = Stored(site("w", (16,), fmt=fmt), fmt, np.arange(-8, 8).astype(np.int8))
    lower = edit_of(memory, reads if stuck else None)
    upper = edit_of(logic, reads) if forced else edit_of(logic)
    seen = merge(one, [below(lower, upper), upper])
    clean, after, between = (fmt.encode(v) for v in (one.values, apply_edit(seen, one), apply_edit(lower, one)))
    for at in range(16):
        mask = np.uint64(logic.get(at, 0))
        if forced:
            assert after[at] == (between[at] & ~mask) | (mask & np.uint64(reads))
        else:
            assert after[at] == (clean[at] ^ mask if at in logic else between[at])
