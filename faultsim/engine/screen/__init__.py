"""Cheap first-order answers for sparse faults, corrected by an audit; the bit map. Nothing is handed on.

For a campaign (`screened.py`, `tally.py`)::

    screen = ScreenedSweep(scorer, numbers, options=ScreenOptions(seed=seed), memory_bytes=memory_bytes)
    tallies = screen.score(patches, trials=trial_numbers)  # list[ScreenedTally], one a trial, all of them integers
    found = mismatch_rate(tallies, level=0.95)  # ScreenedRate: estimate, interval over trials, uncorrected, corrected

`scorer`, `numbers` and `patches` are those of `sweep.Sweep`. A tally depends on the options, the trial's number and its
patch alone: not on batches, nor on what is scored with it. Trials go in groups whose faulty activations fit in part of
the memory; every group pays once for clean activations and slopes, about six forward passes: give 1,000 trials or more
at once. `ScreenedTally.mismatch_rate` is one unbiased value in [0, 1] a trial, for strata and sequential stopping;
`ScreenedTally.is_exact` says that nothing in it was left to chance.

For a bit map: `bitmap.bit_map`, `map_audit.audit`, `advice.advise`, `map_result.as_result`.
"""
