"""`Scenario`: a scenario file with its cases, checked against the library. Files are read in `load.py`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from faultsim.data.function import is_function
from faultsim.engine.evaluate import Progress
from faultsim.errors import OptionError
from faultsim.library import closest, find_scenario
from faultsim.results.scenario import ScenarioResult
from faultsim.scenario.case import Case
from faultsim.scenario.load import read_scenario
from faultsim.scenario.lookup import bundled_or_file, lookup
from faultsim.scenario.matrix import expand
from faultsim.scenario.run import Told, run_cases
from faultsim.specs.scenario import ModelSpec, ScenarioSpec


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a team asks of its models: every case, ready to run.

    Attributes:
        name: Its name.
        path: Its file; None for one that was given as a text.
        sha256: Of its files, includes first.
        spec: What the files say.
        cases: Every model on every device at every corner, in the order of the file.
    """

    name: str
    path: Path | None
    sha256: str
    spec: ScenarioSpec
    cases: tuple[Case, ...]

    def __repr__(self) -> str:
        """Return the name and the cases in one line."""
        named = ", ".join(case.name for case in self.cases[:4]) + (", …" if len(self.cases) > 4 else "")
        return f"<Scenario {self.name}: {len(self.cases)} cases ({named})>"

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        model: str | Path | None = None,
        data: str | None = None,
        preprocess: str | None = None,
        task: str | None = None,
        allow_code: bool = False,
    ) -> "Scenario":
        """Return a scenario by name or path, everything that it names found and checked.

        Models are looked for but not read: one that is broken fails in its own case.

        Args:
            source: A name of the library (``demo``), or the path of a YAML file.
            model: A model in place of the scenario's own: an ``.onnx`` file, or the name of a bundled one.
            data: The samples of that model; what lies beside it where None.
            preprocess: Their preprocessing file.
            task: Its task.
            allow_code: Whether data or a task that the file names may be ``module:function``, which runs that code.

        Raises:
            OptionError: If there is no such scenario, or no such model.
            SpecError: With every problem of its files, one a line.

        Examples:
            >>> [case.name for case in Scenario.load("demo").cases]
            ['digits/reram', 'digits/sram']
        """
        path = find_scenario(source)
        return _scenario(path, path, path.parent, allow_code, _given_model(model, data, preprocess, task))

    def run(
        self,
        *,
        only: tuple[str, ...] = (),
        trials: int | None = None,
        out: str | Path | None = None,
        threads: int = 0,
        torch_device: str = "cpu",
        progress: Callable[[Case], Progress] | None = None,
        told: Told | None = None,
    ) -> ScenarioResult:
        """Run the cases one after the other; one that cannot be run loses no other.

        Args:
            only: Globs of cases; all of them where empty.
            trials: Chips a case, in place of the scenario's own number.
            out: Folder for ``summary.json`` and each case's ``result.json``; a case that was finished there with the
                same inputs is not run again.
            threads: As `faultsim.assessment.Options`.
            torch_device: Where gradients are computed.
            progress: Gives the callback that is told of a case's steps.
            told: Told of each finished case.

        Raises:
            OptionError: If a glob fits no case, or *out* cannot be written.
        """
        cases = self.only(only)
        if trials is not None:
            cases = tuple(case.with_trials(trials) for case in cases)
        return run_cases(
            cases,
            name=self.name,
            sha256=self.sha256,
            title=self.spec.title,
            out=None if out is None else Path(out),
            threads=threads,
            torch_device=torch_device,
            progress=progress,
            told=told,
        )

    def only(self, globs: tuple[str, ...]) -> tuple[Case, ...]:
        """Return the cases whose names fit one of the globs; all without globs. A glob may name a part: ``*sram*``.

        Raises:
            OptionError: If a glob fits none.
        """
        for glob in globs:
            if not any(fits(case.name, glob) for case in self.cases):
                names = [case.name for case in self.cases]
                near = closest(glob, [*names, *dict.fromkeys(part for name in names for part in name.split("/"))])
                listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
                raise OptionError(
                    f"--only {glob!r} fits no case"
                    + (f", did you mean {near!r}?" if near else f"; there are: {listed}")
                )
        return tuple(case for case in self.cases if not globs or any(fits(case.name, glob) for glob in globs))


def parse_scenario(text: str, *, folder: Path | None = None, allow_code: bool = False) -> Scenario:
    """Return the scenario that a YAML text describes; paths in it are relative to *folder*.

    Raises:
        SpecError: With every problem, one a line.

    Examples:
        >>> text = "{faultsim_scenario: 1, name: mine, models: [digits], devices: [reram, sram]}"
        >>> [case.name for case in parse_scenario(text).cases]
        ['digits/reram', 'digits/sram']
    """
    return _scenario(text, None, folder or Path(), allow_code, None)


def _given_model(
    model: str | Path | None, data: str | None, preprocess: str | None, task: str | None
) -> ModelSpec | None:
    """Return what stands in for a scenario's models, every path from the working directory.

    Raises:
        OptionError: If there is no such file.
    """
    if model is None:
        if data is not None or preprocess is not None or task is not None:
            raise OptionError("data, preprocess and task belong to a model; give --model too")
        return None
    file = bundled_or_file(str(model))
    for what, text in (("model", str(file)), ("data", data), ("preprocess", preprocess)):
        if text is not None and not Path(text).exists() and not (what == "data" and is_function(text)):
            raise OptionError(f"--{what} {text[:80]!r}: no such file; check the path")
    given = {"model": str(file.resolve()), "data": data, "preprocess": preprocess, "task": task}
    for what in ("data", "preprocess"):
        said = given[what]
        if said is not None and Path(said).exists():
            given[what] = str(Path(said).resolve())
    return ModelSpec.model_validate({key: value for key, value in given.items() if value is not None})


def _scenario(
    source: Path | str, path: Path | None, folder: Path, allow_code: bool, model: ModelSpec | None
) -> Scenario:
    look = partial(lookup, folder=folder, allow_code=allow_code, models=model is None)
    written = read_scenario(source, folder=folder, look=look)
    digest = hashlib.sha256()
    for file in written.files:
        digest.update(file.read_bytes())
    if isinstance(source, str):
        digest.update(source.encode())
    cases = expand(written, folder, model=model)
    return Scenario(name=written.spec.name, path=path, sha256=digest.hexdigest(), spec=written.spec, cases=cases)


def fits(name: str, glob: str) -> bool:
    """Whether a case's name fits a glob, as a whole or in one of its parts between slashes.

    Examples:
        >>> fits("digits/sram/low", "*/sram/*"), fits("digits/sram/low", "sram"), fits("digits/sram/low", "ram")
        (True, True, False)
    """
    return fnmatchcase(name, glob) or any(fnmatchcase(part, glob) for part in name.split("/"))
