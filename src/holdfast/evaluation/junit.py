"""A comparison as JUnit XML, which continuous integration shows: one test for each line."""

from xml.etree import ElementTree

from holdfast.evaluation.comparison import Comparison, became, why
from holdfast.files import StrPath, write_text

__all__ = ["write_junit"]

#: What XML 1.0 cannot hold, also where it is escaped.
_FORBIDDEN = {code: None for code in range(32) if chr(code) not in "\t\n\r"}


def write_junit(path: StrPath, comparison: Comparison, by: float) -> None:
    """Write a test suite in which a line fails if the second model is worse by more than ``by``.

    Of data of more than ten classes a test's output says what became of top-5 accuracy.

    Args:
        path: of the XML file.
        comparison: of two runs.
        by: the fraction that the second model may be worse by.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from holdfast.evaluation import Comparison, Line
        >>> from holdfast.evaluation.junit import write_junit
        >>> from holdfast.metrics import paired
        >>> found = paired(np.array([True, True]), np.array([True, False]))
        >>> compared = Comparison("a", "b", [Line("pgd", "linf", 0.1, found, fell=[1])])
        >>> write_junit("compared.xml", compared, by=0.01)
        >>> Path("compared.xml").read_text().count("<failure")
        1
    """
    worse = comparison.worse(by)
    name = f"{comparison.second} against {comparison.first}".translate(_FORBIDDEN)
    suite = ElementTree.Element(
        "testsuite",
        name=f"holdfast compare: {name}",
        tests=str(len(comparison.lines)),
        failures=str(len(worse)),
        errors="0",
        skipped="0",
    )
    for line in comparison.lines:
        title = line.title.translate(_FORBIDDEN)
        case = ElementTree.SubElement(suite, "testcase", classname="holdfast.compare", name=title)
        if line in worse:
            told = f"{why(line)}, where at most {100 * by:g} are allowed".translate(_FORBIDDEN)
            ElementTree.SubElement(case, "failure", message=told).text = told
        if line.top5 is not None:
            ElementTree.SubElement(case, "system-out").text = f"top-5 accuracy: {became(line.top5)}"
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
