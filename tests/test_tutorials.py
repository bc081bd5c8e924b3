"""A newcomer types each tutorial from its first block to its last, beginning in an empty folder.

A block of Python or YAML whose first line is a comment with a file's name is saved as that file;
other Python is one session; a line of bash is run, and does its work, or ends with the exit code
that a comment behind it says. What is indented needs what is not there: weights, MNIST, a cluster.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from holdfast.cli.main import run

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of attacks that break nothing
def test_a_tutorial_is_typed_from_an_empty_folder(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    session = {"__name__": page.stem}
    typed = re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL)
    assert {"python", "bash"} <= {language for language, _ in typed}
    with torch.random.fork_rng():
        for language, text in typed:
            _type(language, text, session)
    sys.modules.pop("mynet", None)  # of this folder, which goes


def _type(language: str, text: str, session: dict[str, object]) -> None:
    file = re.match(r"# ([\w/]+\.\w+)\n", text)
    if file:
        Path(file[1]).write_text(text)
    elif language == "python":
        exec(text, session)
    elif language == "bash":
        for line in text.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line, comments=True)
            ends = re.search(r"# ends with exit code (\d)", line)
            assert program == "holdfast"
            assert run(arguments) == (int(ends[1]) if ends else 0), line
