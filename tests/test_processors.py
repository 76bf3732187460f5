"""Processors and text files: the two helpers that every layer may use."""

import os
import subprocess
import sys

import pytest

from faultsim.processors import processors
from faultsim.textfile import write_text


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to processors")
def test_processors_are_those_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import faultsim.processors as p; "
    code += "print(p.processors())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
    assert processors() == len(os.sched_getaffinity(0))


def test_a_text_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    place = tmp_path / "deep" / "a.txt"
    write_text(place, "é\n")
    assert place.read_bytes() == "é\n".encode()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(place, "other")
    assert place.read_bytes() == "é\n".encode()
    assert [one.name for one in place.parent.iterdir()] == ["a.txt"]
