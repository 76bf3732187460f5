"""Verdicts as JUnit XML, which every CI shows: one test case a requirement or gate. Nothing is judged here."""

from collections.abc import Iterable
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from faultsim.errors import OptionError
from faultsim.report.halts import halt_words
from faultsim.report.html.bundle import Bundle
from faultsim.report.verdict import was_interrupted
from faultsim.report.words import interval
from faultsim.results import Judgement, Result
from faultsim.results.comparison import Comparison, Gate
from faultsim.results.hardening import HardenResult
from faultsim.results.run_comparison import RunComparison


class _Case(NamedTuple):
    name: str
    outcome: Literal["passed", "failure", "error"]
    kind: str
    message: str
    text: str


def junit(result: Result) -> str:
    """Return the text of a JUnit XML file.

    A requirement that is met is a passed test case, one that is missed a failure, one that an interrupted run left
    unjudged an error. Without requirements there is no test case. The suite's properties name the model, the device,
    the seed and the main figures. Characters that XML cannot hold become ``?``.

    Args:
        result: The assessment.
    """
    return _file(_name(result), _cases(result), _properties(result), result.provenance.wall_s)


def junit_of_harden(harden: HardenResult) -> str:
    """Return the same of a hardening: whether it helped, then the requirements on the model after it."""
    kept = "the clean accuracy is kept, and the 5th percentile or the worst case improved"
    helped = _Case("hardening helped", "passed" if harden.helped else "failure", "helped", harden.sentence, kept)
    after = harden.after
    return _file(_name(after), (helped, *_cases(after)), _properties(after), after.provenance.wall_s)


def junit_of_bundle(bundle: Bundle) -> str:
    """Return the same of what a report shows.

    Raises:
        OptionError: If nothing in it can be met or missed.
    """
    if bundle.harden is not None and bundle.hardening_alone:
        return junit_of_harden(bundle.harden)
    if bundle.result is not None:
        return junit(bundle.result)
    raise OptionError("--junit shows requirements, and only the results of assess and harden have some; leave it out")


def junit_of_comparison(found: Comparison) -> str:
    """Return the same of a comparison: a test case for each gate; without gates there is none."""
    name = f"{found.second.path} against {found.first.path}"
    properties: list[tuple[str, object]] = [
        ("first", found.first.path),
        ("second", found.second.path),
        ("paired", found.paired),
        *((one.name, one.sentence) for one in found.figures),
    ]
    return _file(name, map(_gate_case, found.gates), properties, 0.0)


def junit_of_runs(found: RunComparison) -> str:
    """Return the same of two runs of a scenario: a test case for each gate of each case, and for each case missing."""
    cases = [
        one._replace(name=f"{case.name}: {one.name}")
        for case in found.cases
        for one in map(_gate_case, case.comparison.gates)
    ]
    if found.gated:
        said = "the second run has no result of it"
        cases += [_Case(f"{name}: there", "failure", "missing", said, said) for name in found.missing]
    return _file(f"{found.second} against {found.first}", cases, [("cases", len(found.cases))], 0.0)


def _file(name: str, cases: Iterable[_Case], properties: Iterable[tuple[str, object]], seconds: float) -> str:
    every = tuple(cases)
    counts = {
        "tests": str(len(every)),
        "failures": str(sum(one.outcome == "failure" for one in every)),
        "errors": str(sum(one.outcome == "error" for one in every)),
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }
    root = Element("testsuites", {"name": "faultsim", **counts})
    suite = SubElement(root, "testsuite", {"name": _safe(name), **counts})
    held = SubElement(suite, "properties")
    for key, value in properties:
        if value is not None:
            SubElement(held, "property", {"name": key, "value": _safe(str(value))})
    for one in every:
        case = SubElement(suite, "testcase", {"classname": _safe(name), "name": _safe(one.name), "time": "0"})
        if one.outcome == "passed":
            SubElement(case, "system-out").text = _safe(f"{one.message}\n{one.text}")
        else:
            node = SubElement(case, one.outcome, {"type": _safe(one.kind), "message": _safe(one.message)})
            node.text = _safe(f"{one.message}\n{one.text}")
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _cases(result: Result) -> Iterable[_Case]:
    yield from map(_case, result.verdict.criteria)
    for text in result.verdict.unjudged:
        if was_interrupted(result):
            why = "The run ended before what this requirement asks for was known; run the command once more."
            yield _Case(text, "error", "not judged", "the run was interrupted", why)
        else:
            why = "\n".join(note for note in result.notes if note.startswith("Not judged: "))
            yield _Case(text, "error", "not judged", "a figure is missing", why)


def _case(one: Judgement) -> _Case:
    between = interval(one.low, one.high, of_fractions=False)
    value = "not finite" if one.value is None else f"{one.value:.6g}"
    doubt = "\ninconclusive: the interval allows the other answer; more chips would tell" if one.inconclusive else ""
    said = f"value {value} {between}, limit {one.limit:.6g}, from {one.source}{doubt}"
    return _Case(one.text, "passed" if one.passed else "failure", one.metric, one.explanation, said)


def _gate_case(one: Gate) -> _Case:
    doubt = "inconclusive: the interval allows the other answer; more chips would tell" if one.inconclusive else ""
    return _Case(one.text, "failure" if one.failed else "passed", one.name, one.explanation, doubt)


def _name(result: Result) -> str:
    return f"{result.model.path} on {result.device.name}"


def _properties(result: Result) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [
        ("model.sha256", result.model.sha256),
        ("device", result.device.name),
        ("device.sha256", result.device.sha256),
        ("conditions", result.device.conditions),
        ("seed", result.seed),
        ("samples", result.data.samples),
        ("labels", result.data.labels),
        ("clean.accuracy", result.clean.accuracy),
        ("clean.loss", result.clean.loss),
    ]
    if result.random is not None:
        accuracy = result.random.accuracy
        found += [
            ("chips", result.random.trials),
            ("random.accuracy.mean", accuracy.mean),
            ("random.accuracy.low", accuracy.low),
            ("random.accuracy.high", accuracy.high),
            ("random.accuracy.p05", accuracy.p05),
            ("halted", halt_words(result.random) or None),
        ]
    if result.worst_case is not None:
        found.append(("worst_case.accuracy (found, not proven)", result.worst_case.accuracy))
    return [*found, ("command", result.provenance.command)]


def _safe(text: str) -> str:
    """Return *text* in characters that XML 1.0 may hold (its production 2), less surrogates."""
    return "".join(letter if _allowed(ord(letter)) else "?" for letter in text)


def _allowed(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
