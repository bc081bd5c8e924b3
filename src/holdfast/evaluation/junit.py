"""A comparison as JUnit XML, which continuous integration shows: one test for each line."""

from pathlib import Path
from xml.etree import ElementTree

from holdfast.errors import OutputError
from holdfast.evaluation.comparison import Comparison, became, why
from holdfast.files import StrPath, as_path, check_path, check_writable, write_text

__all__ = ["check_junit", "write_junit"]

#: The outermost elements of JUnit XML.
_ROOTS = ("testsuites", "testsuite")

#: What XML 1.0 cannot hold, also where it is escaped.
_FORBIDDEN = {code: None for code in range(32) if chr(code) not in "\t\n\r"}


def check_junit(path: StrPath) -> None:
    """See, before any work, that a JUnit file can be written: over an older one, or over nothing.

    Raises:
        InputError: if no file can be at the path.
        OutputError: if anything else is there, or the folder cannot be made and written.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.evaluation.junit import check_junit
        >>> check_junit("ci/compared.xml")
        >>> size = Path("run.json").write_text("{}")
        >>> check_junit("run.json")
        Traceback (most recent call last):
        holdfast.errors.OutputError: run.json is there and no JUnit XML, and is not overwritten; ...
    """
    path = as_path(path)
    check_path(path)
    check_writable(path.parent, "--junit")
    if (path.exists() or path.is_symlink()) and not _is_junit(path):
        raise OutputError(
            f"{path} is there and no JUnit XML, and is not overwritten; give another --junit."
        )


def _is_junit(path: Path) -> bool:
    """Whether a file begins as JUnit XML does; what follows is not read."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            _, root = next(ElementTree.iterparse(file, ["start"]))
    except (ElementTree.ParseError, StopIteration, UnicodeError, ValueError, LookupError):
        return False
    return root.tag in _ROOTS


def write_junit(path: StrPath, comparison: Comparison, by: float) -> None:
    """Write a test suite in which a line fails if the second model is worse by more than ``by``.

    Of data of more than ten classes a test's output says what became of top-5 accuracy.

    Args:
        path: of the XML file; its folder is made, and an older JUnit file there is replaced.
        comparison: of two runs.
        by: the fraction that the second model may be worse by.

    Raises:
        InputError, OutputError: see `check_junit`.

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
    check_junit(path)
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
    as_path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
