"""The command line in this process: exit code, stdout and stderr of one call."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from faultsim.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def faultsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Call ``faultsim`` with the given words, 80 columns wide and without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: object) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        seen = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), seen.out, seen.err)

    return call
