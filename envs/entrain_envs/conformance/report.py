"""Writes findings: lines for people, JSON, and a JUnit file for continuous integration."""

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from entrain_envs.conformance.results import Finding, Verdict, shown

_MARKS = {Verdict.PASSED: "passed   ", Verdict.FAILED: "FAILED   ", Verdict.NOT_SHOWN: "not shown"}


def in_lines(findings: Sequence[Finding], *, simulator: str) -> str:
    """Each rule on a line, a failure with what arrived and the remedy; then the sum."""
    lines = []
    part = ""
    for finding in findings:
        rule = finding.rule
        if rule.part != part:
            part = rule.part
            lines.append(f"{part}:")
        lines.append(f"  {_MARKS[finding.verdict]}  {rule.name}: {rule.asks}")
        if finding.verdict is Verdict.FAILED:
            more = f" ({finding.times} times; this is the first)" if finding.times > 1 else ""
            lines.append(f"      arrived: {finding.arrived}{more}")
            lines.append(f"      remedy:  {finding.remedy}")
        elif finding.verdict is Verdict.NOT_SHOWN:
            lines.append(f"      {_would_show(finding)}")
    return "\n".join([*lines, summary(findings, simulator=simulator)]) + "\n"


def summary(findings: Sequence[Finding], *, simulator: str) -> str:
    """One line."""
    count = dict.fromkeys(Verdict, 0)
    for finding in findings:
        count[finding.verdict] += 1
    return (
        f"{simulator or 'no simulator'}: {count[Verdict.PASSED]} rules passed, "
        f"{count[Verdict.FAILED]} failed, {count[Verdict.NOT_SHOWN]} not shown"
    )


def _would_show(finding: Finding) -> str:
    why = f"{finding.arrived}; " if finding.arrived else ""
    return f"{why}shown by: {finding.rule.shown_by}"


def as_json(findings: Sequence[Finding], *, simulator: str) -> str:
    """For programs."""
    content = {
        "simulator": simulator,
        "passed": bool(simulator) and not any(each.verdict is Verdict.FAILED for each in findings),
        "rules": [
            {
                "name": each.rule.name,
                "part": each.rule.part,
                "asks": each.rule.asks,
                "verdict": each.verdict.value,
                "times": each.times,
                "arrived": each.arrived,
                "remedy": each.remedy,
                "shown_by": each.rule.shown_by,
            }
            for each in findings
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def as_junit(findings: Sequence[Finding], *, simulator: str) -> str:
    """A test case for each rule; one that was not shown is skipped."""
    suite = ElementTree.Element(
        "testsuite",
        name="entrain wire contract",
        tests=str(len(findings)),
        failures=str(sum(each.verdict is Verdict.FAILED for each in findings)),
        skipped=str(sum(each.verdict is Verdict.NOT_SHOWN for each in findings)),
        errors="0",
    )
    for each in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{_xml(simulator)}.{each.rule.part}", name=each.rule.name
        )
        if each.verdict is Verdict.FAILED:
            failure = ElementTree.SubElement(case, "failure", message=_xml(each.arrived))
            failure.text = f"asks: {each.rule.asks}\nremedy: {_xml(each.remedy)}"
        elif each.verdict is Verdict.NOT_SHOWN:
            ElementTree.SubElement(case, "skipped", message=_xml(_would_show(each)))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Without characters that XML does not allow, whatever a simulator is called."""
    return shown(text) or "simulator"
