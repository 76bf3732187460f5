"""The summary of a scenario as JUnit XML, which every CI shows. Nothing is judged here."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from faultsim.report.words import plain
from faultsim.results.scenario import CaseRow, ScenarioResult


def scenario_junit(result: ScenarioResult) -> str:
    """Return the text of a JUnit XML file: a suite a case, a test a requirement.

    A case that could not be run is an error; one that was not run because of an interruption, or that states no
    requirement, is skipped. Control characters become ``?``.
    """
    root = Element("testsuites", {"name": plain(f"faultsim {result.name}")})
    for row in result.cases:
        _suite(root, row, result.name)
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        for key in totals:
            totals[key] += int(suite.attrib[key])
    root.attrib |= {key: str(value) for key, value in totals.items()} | {"time": f"{result.seconds:.3f}"}
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, row: CaseRow, scenario: str) -> None:
    name = plain(f"{scenario}/{row.name}")
    errors, waiting = row.status == "error", row.status in ("not run", "no verdict")
    suite = SubElement(
        root,
        "testsuite",
        {
            "name": name,
            "tests": str(len(row.criteria) or 1),
            "failures": str(sum(not one.passed for one in row.criteria)),
            "errors": str(int(errors)),
            "skipped": str(int(waiting)),
            "time": f"{row.seconds:.3f}",
        },
    )
    properties = SubElement(suite, "properties")
    for key, value in (("model", row.model), ("device", row.device), ("conditions", row.conditions),
                       ("chips", row.chips), ("clean", row.clean), ("mean", row.mean), ("p05", row.tail),
                       ("halted", row.halted or None), ("worst (found, not proven)", row.worst)):  # fmt: skip
        if value is not None:
            SubElement(properties, "property", {"name": key, "value": plain(str(value))})
    for one in row.criteria:
        test = SubElement(suite, "testcase", {"classname": name, "name": plain(one.text), "time": "0"})
        doubt = "; inconclusive: more chips would tell" if one.inconclusive else ""
        said = plain(f"{one.explanation} ({one.source}){doubt}")
        if one.passed:
            SubElement(test, "system-out").text = said
        else:
            SubElement(test, "failure", {"type": plain(one.metric), "message": plain(one.explanation)}).text = said
    if not row.criteria:
        test = SubElement(suite, "testcase", {"classname": name, "name": "the case runs", "time": "0"})
        if errors:
            SubElement(test, "error", {"type": "error", "message": plain(row.error or "")}).text = plain(
                row.error or ""
            )
        elif waiting:
            SubElement(test, "skipped", {"message": row.status})
