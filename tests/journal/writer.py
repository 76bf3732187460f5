"""Processes of their own: `fill` appends what is missing until it is killed; run as a script it says so and waits."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from campaign import CAMPAIGN, COLUMNS, row

from faultsim.journal import open_journal


def fill(path, total, batch):
    """Append the missing trials in batches, in order."""
    with open_journal(path, CAMPAIGN, COLUMNS, sync_rows=50, sync_s=0.01) as journal:
        missing = list(journal.missing(total))
        for start in range(0, len(missing), batch):
            journal.append([row(trial) for trial in missing[start : start + batch]])


def kill_again_and_again(path, total, kills, seed):
    """Fork a writer, kill it with SIGKILL at a random moment, and again; print how many rows stood after each kill."""
    rng = random.Random(seed)
    start = time.monotonic()
    fill(f"{path}.warm", 300, 3)
    each_s = (time.monotonic() - start) / 300
    for _ in range(kills):
        child = os.fork()
        if not child:
            fill(path, total, rng.randrange(1, 9))
            os._exit(0)
        time.sleep(rng.random() * 2 * each_s * total / kills)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(int(os.WIFSIGNALED(status)), Path(path).read_bytes().count(b"\n") if Path(path).exists() else 0)
    fill(path, total, 5)


if __name__ == "__main__":
    verb, path, *rest = sys.argv[1:]
    if verb == "kill":
        kill_again_and_again(path, *map(int, rest))
    elif verb == "hold":
        with open_journal(path, CAMPAIGN, COLUMNS) as journal:
            journal.append([row(0)])
            print("ready", flush=True)
            sys.stdin.read()
    elif verb == "hold-in-child":  # the parent dies, a worker that it forked lives on
        journal = open_journal(path, CAMPAIGN, COLUMNS)
        if not os.fork():
            sys.stdin.read()
            os._exit(0)
        print("ready", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "endless":
        with open_journal(path, CAMPAIGN, COLUMNS) as journal:
            print("ready", flush=True)
            for trial in range(10**6):
                journal.append([row(trial)])
    assert "torch" not in sys.modules
