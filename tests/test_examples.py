"""What docstrings show, runs."""

import ast
import doctest
from pathlib import Path

import pytest
import torch

import holdfast
from tests.test_docs import blocks

SOURCES = Path(holdfast.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples():
    """Docstrings with examples, by module and name."""
    for path in sorted(SOURCES.rglob("*.py")):
        source = path.read_text()
        if ">>>" in source:
            module = path.relative_to(SOURCES).with_suffix("").as_posix()
            yield from _within(ast.parse(source), module.replace("/", "."))


def _within(node, name):
    text = ast.get_docstring(node)
    if text and ">>>" in text:
        yield pytest.param(name, text, node.body[0].lineno, id=name)
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef):
            yield from _within(inner, f"{name}.{inner.name}")


@pytest.fixture(scope="module")
def given():
    """What every example begins from, as the page says; all else it imports."""
    names = {}
    with torch.random.fork_rng():
        exec(blocks("docs/how-to.md")[0], names)
    return {name: names[name] for name in ("torch", "model", "x", "y")}


@pytest.mark.parametrize(("name", "text", "line"), list(examples()))
def test_an_example_does_what_it_says(name, text, line, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", **given}
    example = doctest.DocTestParser().get_doctest(text, names, name, name, line)
    told = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        failed = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append).failed
    assert not failed, "".join(told)
