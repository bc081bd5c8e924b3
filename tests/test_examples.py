"""Every export shows how it is used, and what it shows runs."""

import ast
import doctest
import inspect
import warnings
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
import torch

import holdfast
from holdfast.errors import MissingPackageError
from tests.test_docs import blocks
from tools.site import api

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
    if name.startswith("bridges."):
        bridge(f"holdfast.{'.'.join(name.split('.')[:2])}") or pytest.skip("it leads nowhere here")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", **given}
    example = doctest.DocTestParser().get_doctest(text, names, name, name, line)
    told = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        failed = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append).failed
    assert not failed, "".join(told)


def modules():
    """Every module, whatever the other tests import."""
    for module in walk_packages(holdfast.__path__, "holdfast."):
        if module.name.startswith("holdfast.bridges."):
            found = bridge(module.name)
            if found is not None:
                yield found
        elif module.name != "holdfast.__main__":
            yield import_module(module.name)


def bridge(name):
    """The module of a bridge; None if the library that it leads to is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what other libraries import is deprecated by others
            return import_module(name)
    except MissingPackageError:
        return None


def exports(module):
    """What documentation shows: functions, classes and instances of them, by name."""
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            thing = type(thing)
        error = inspect.isclass(thing) and issubclass(thing, Exception)
        if getattr(thing, "__module__", "").startswith("holdfast") and not error:
            yield f"{module.__name__}.{name}", thing


def test_whatever_stands_in_an_all_has_an_example():
    named = [each for module in (holdfast, *modules()) for each in exports(module)]
    missing = [name for name, thing in named if ">>>" not in (thing.__doc__ or "")]
    assert not missing, f"no example in: {', '.join(missing)}"


def test_the_reference_shows_every_export():
    """Of every ``__all__``: where it is defined, once."""
    shown = [each.name for each in api.exports()]
    listed = {name for module in modules() for name in getattr(module, "__all__", ())}
    assert not listed - {*shown, *api.rooms()}
    assert len({each.path for each in api.exports()}) == len(shown)
    assert "::: holdfast.attacks.pgd.PGD\n" in api.page("attacks")
    assert "threat: Threat = field(kw_only=False), steps: int = 40" in api.as_text(
        "::: holdfast.attacks.pgd.PGD"
    )


#: What nobody imports from outside, and so exports nothing.
INTERNAL = (
    "holdfast.annotations",
    "holdfast.checks",
    "holdfast.cli",
    "holdfast.digests",
    "holdfast.lightning",
    "holdfast.lock",
    "holdfast.models.external",
    "holdfast.parameters",
    "holdfast.report.album",
    "holdfast.report.appendix",
    "holdfast.report.audits",
    "holdfast.report.distinct",
    "holdfast.report.diagnosed",
    "holdfast.report.folders",
    "holdfast.report.gallery",
    "holdfast.report.gap",
    "holdfast.report.headline",
    "holdfast.report.implied",
    "holdfast.report.notes",
    "holdfast.report.per_image",
    "holdfast.report.printed",
    "holdfast.report.references",
    "holdfast.report.views",
    "holdfast.results.columns",
    "holdfast.results.forms",
    "holdfast.results.schema",
)


def test_a_module_or_its_package_says_what_it_exports():
    """A new one is given an ``__all__``, or a place among those that export nothing."""
    said = {module.__name__ for module in modules() if getattr(module, "__all__", ())}
    silent = [
        module.__name__
        for module in modules()
        if not hasattr(module, "__path__")
        and not {module.__name__, *_packages(module.__name__)} & {*said, *INTERNAL}
    ]
    assert not silent, f"no __all__ in: {', '.join(silent)}"


def _packages(name):
    """Those that a module lies in, but the library itself."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(2, len(parts))}
