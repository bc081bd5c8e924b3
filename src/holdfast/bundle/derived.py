"""What is made of the runs of a bundle: the same from the same rows, whoever makes it.

So that it is the same, the working directory is the bundle's while it is made: a page says where
its runs are.
"""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from holdfast.bundle.contents import ENVIRONMENT, REPORT, STATEMENT
from holdfast.bundle.manifest import Said
from holdfast.bundle.statement import statement
from holdfast.errors import ContradictionError
from holdfast.files import write_json, write_text
from holdfast.report.page import build
from holdfast.results import read_about, runs_in

#: What run.json says of the place where a run was made.
_OF_ENVIRONMENT = ("versions", "hardware", "git", "command")


def derive(root: Path, runs: Sequence[str], said: Said, into: Path) -> str | None:
    """Make the report, the test report and the record of the environments.

    Args:
        root: the folder of the bundle.
        runs: their folders in it.
        said: what no run knows.
        into: where to write; ``root`` itself, or a folder beside it.

    Returns:
        What the report finds contradicted, such as a certificate by an attack; None if nothing is.

    Raises:
        HoldfastError: if no report can be made of the runs.
    """
    into, given = into.resolve(), [Path(run) for run in runs]
    wrong = None
    with contextlib.chdir(root):
        every = list(dict.fromkeys(one for run in given for one in (run, *runs_in(run))))
        abouts = {run.as_posix(): read_about(run) for run in every}
        with warnings.catch_warnings():  # of layouts, say: what it has to say is on the page
            warnings.simplefilter("ignore")
            try:
                build(given, into / REPORT, said.title)
            except ContradictionError as error:
                wrong = str(error)
    write_text(into / STATEMENT, statement(abouts, said))
    write_json(
        into / ENVIRONMENT,
        {run: {name: about.get(name) for name in _OF_ENVIRONMENT} for run, about in abouts.items()},
    )
    return wrong
