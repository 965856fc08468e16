"""The verdicts of an audit as JUnit XML, which CI servers read: a test case for each named figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ddb.auditing.bars import NAMED, Verdict
from ddb.engine import files
from ddb.errors import DDBError


def write_junit(decided: Sequence[Verdict], model: str, path: Path) -> None:
    """A figure under its bar is a failure; one that was not measured and has no bar is skipped. DDBError where `path`
    cannot be written."""
    suite = ElementTree.Element("testsuite", name="ddb audit", tests=str(len(decided)), errors="0")
    for one in decided:
        case = ElementTree.SubElement(suite, "testcase", classname="ddb.audit", name=one.name, time="0")
        if one.missed:
            ElementTree.SubElement(case, "failure", message=one.sentence, type="bar").text = NAMED[one.name].meaning
        elif one.figure is None:
            ElementTree.SubElement(case, "skipped", message="not measured")
        else:
            said = f"{one.figure.value:.4f} ({one.figure.low:.4f} to {one.figure.high:.4f}, n {one.figure.n})"
            ElementTree.SubElement(case, "system-out").text = f"{NAMED[one.name].meaning}: {said}; {_plain(model)}"
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    text = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, lambda file: file.write(text))
    except OSError as error:
        raise DDBError(f"--junit {path}: cannot be written ({error.strerror or error}).") from error


def _plain(text: str) -> str:
    """Without the characters that XML does not allow."""
    return "".join(sign for sign in text if sign.isprintable())
