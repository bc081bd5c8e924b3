"""Every export shows how it is used, and what it shows runs."""

import ast
import doctest
import inspect
import sys
from pathlib import Path

import pytest
import torch
from tools.stubs import PACKAGES

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


def test_whatever_a_package_exports_has_an_example():
    missing = [name for name, thing in _loaded() if ">>>" not in (thing.__doc__ or "")]
    assert not missing, f"no example in: {', '.join(missing)}"


def _loaded():
    """Functions, classes and instances of them that loaded modules export, by name."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "holdfast":
            for export in getattr(module, "__all__", ()):
                thing = getattr(module, export)
                if not (inspect.isclass(thing) or inspect.isfunction(thing)):
                    thing = type(thing)
                error = inspect.isclass(thing) and issubclass(thing, Exception)
                if getattr(thing, "__module__", "").startswith("holdfast") and not error:
                    yield f"{name}.{export}", thing


#: Modules that nobody imports from outside, so that they export nothing.
INTERNAL = {
    "__main__": "starts the command line",
    "checks": "of what every public function is given",
    "cli": "names for functions of the library",
    "digests": "remembers fingerprints of files",
    "evaluation/scoring": "one chunk of an evaluation",
    "lock": "of a run folder",
    "models/external": "reached by the names of models",
    "parameters": "held against annotations",
    "report/distinct": "names of lines on the page",
    "report/gallery": "of the page",
    "report/schema": "what the page demands of a folder",
    "results/chunks": "reached by a run",
    "results/sameness": "of two runs",
}


def exported(tree):
    """What ``__all__`` says; None without one, and where it is no list."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value) if isinstance(node.value, ast.List) else None
    return None


def modules():
    """Path below the sources, without its ending, and the tree of every module."""
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).with_suffix("").as_posix(), ast.parse(path.read_text())


def test_whatever_stands_in_an_all_has_an_example():
    """Read off the files, so that a module which no test loads is looked at as well."""
    missing = [
        f"{module}.{node.name}"
        for module, tree in modules()
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and node.name in (exported(tree) or ())
        and ">>>" not in (ast.get_docstring(node) or "")
        and not node.name.endswith("Error")  # is raised, not called
    ]
    assert not missing, f"no example in: {', '.join(missing)}"


def test_a_module_says_what_it_exports():
    """But those that are named above, and those of packages that find their exports."""
    found = {f"{package.removeprefix('holdfast/')}/" for package in PACKAGES}
    silent = [
        module
        for module, tree in modules()
        if exported(tree) is None
        and not module.endswith("__init__")
        and not any(module.startswith(package) for package in found)
        and not any(module == name or module.startswith(f"{name}/") for name in INTERNAL)
    ]
    assert not silent, f"no __all__ in: {', '.join(silent)}"
    assert all((SOURCES / name).exists() or (SOURCES / f"{name}.py").exists() for name in INTERNAL)
