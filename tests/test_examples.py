"""Every export shows how it is used, and what it shows runs."""

import ast
import doctest
import inspect
import sys
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


@pytest.fixture
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


def exports():
    """What documentation shows: functions, classes and instances of them, by module."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "holdfast" and not name.startswith("holdfast.cli"):
            for export in getattr(module, "__all__", ()):
                thing = getattr(module, export)
                if not (inspect.isclass(thing) or inspect.isfunction(thing)):
                    thing = type(thing)
                error = inspect.isclass(thing) and issubclass(thing, Exception)
                if getattr(thing, "__module__", "").startswith("holdfast") and not error:
                    yield f"{name}.{export}", thing


def test_every_export_has_an_example():
    missing = [name for name, thing in exports() if ">>>" not in (thing.__doc__ or "")]
    assert not missing, f"no example in: {', '.join(missing)}"
