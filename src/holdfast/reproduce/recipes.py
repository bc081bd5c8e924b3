"""Finding recipes: ``recipes/PAPER/ITEM.py``, in the checkout or beside the installed package."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

from holdfast.errors import InputError, MissingFileError, unknown
from holdfast.reproduce.results import Result
from holdfast.reproduce.scale import Scale

_PACKAGE = "holdfast_recipes"

#: What items are, in the order in which they stand.
_KINDS = {"table": 0, "figure": 1}


@dataclass(frozen=True, eq=False)
class Recipe:
    """A table or figure of a paper.

    Attributes:
        paper: name of its folder, with dashes.
        item: name of its file, with dashes.
        title: the first line of its docstring.
        about: the rest of its docstring.
        minutes: how long it takes, by scale: quick and cpu by one core, paper by one GPU.
        build: makes its result at a scale.

    Example:
        >>> from holdfast.reproduce import recipe
        >>> recipe("ensemble-adversarial-training/table-7").item
        'table-7'
    """

    paper: str
    item: str
    title: str
    about: str
    minutes: Mapping[str, float]
    build: Callable[[Scale], Result]

    @property
    def name(self) -> str:
        """What to type after ``holdfast reproduce``."""
        return f"{self.paper}/{self.item}"


@dataclass(frozen=True)
class Paper:
    """A paper with its recipes.

    Attributes:
        name: of its folder, with dashes.
        short: what it is called for short, and may be typed in place of the name.
        title: the first line of the docstring of the folder's ``__init__.py``.
        about: the rest of it.
        recipes: in the paper's order.
        within: a table or figure that stands on another item's page -> that item.
    """

    name: str
    short: str
    title: str
    about: str
    recipes: tuple[Recipe, ...]
    within: Mapping[str, str] = field(default_factory=dict)

    def items(self, name: str) -> tuple[Recipe, ...]:
        """Those of a name: one, all parts of it (table-1 of table-1-mlp), or the one it is in.

        Raises:
            UnknownNameError: if there is none.
        """
        by_item = {one.item: one for one in self.recipes}
        name_of = self.within.get(name, name)
        if name_of in by_item:
            return (by_item[name_of],)
        parts = tuple(one for item, one in by_item.items() if item.startswith(f"{name}-"))
        if not parts or name in _KINDS:
            raise unknown(f"item of {self.short}", name, (*by_item, *self.within))
        return parts


def root() -> Path:
    """The folder of the recipes.

    Raises:
        MissingFileError: if it is not there.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if any(folder.glob("*/__init__.py")):
            return folder
    raise MissingFileError(
        f"there are no recipes beside {package}; install Holdfast anew, or run in its checkout."
    )


@cache
def papers() -> tuple[Paper, ...]:
    """All papers, by name.

    Example:
        >>> from holdfast.reproduce import papers
        >>> "ensemble-adversarial-training" in [paper.name for paper in papers()]
        True
    """
    folders = sorted(file.parent for file in root().glob("*/__init__.py"))
    return tuple(map(_paper, folders))


def recipe(name: str) -> Recipe:
    """A recipe by its name, PAPER/ITEM.

    Raises:
        UnknownNameError: if there is none.

    Example:
        >>> from holdfast.reproduce import Scale, recipe
        >>> result = recipe("ensemble-adversarial-training/table-7").build(Scale("quick"))
        >>> result.steps[0].command
        'train'
    """
    found = chosen(name) if "/" in name else ()
    if len(found) > 1:
        raise InputError(f"{name} is {', '.join(one.item for one in found)}; name one of them.")
    if not found:
        raise InputError(f"{name} is a paper or nothing; name an item of it, PAPER/ITEM.")
    return found[0]


def chosen(name: str) -> tuple[Recipe, ...]:
    """The recipes that a name means: those of PAPER/ITEM, or all of PAPER; PAPER also for short.

    Raises:
        UnknownNameError: if there is no such paper or item.
    """
    first, _, item = name.strip("/").replace("_", "-").partition("/")
    known = {called: paper for paper in papers() for called in (paper.name, paper.short)}
    if first.lower() not in known:
        raise unknown("paper", first, known)
    paper = known[first.lower()]
    return paper.items(item) if item else paper.recipes


def _paper(folder: Path) -> Paper:
    package = _load(_PACKAGE, folder.parent / "__init__.py", folder.parent)
    del package
    about = _load(f"{_PACKAGE}.{folder.name}", folder / "__init__.py", folder)
    title, text = _documented(about)
    name, within = _dashed(folder.name), getattr(about, "WITHIN", {})
    return Paper(name, about.SHORT, title, text, tuple(_recipes(folder)), within)


def _recipes(folder: Path) -> Iterator[Recipe]:
    found = []
    for file in folder.glob("*.py"):
        if file.stem.startswith("_"):
            continue
        module = _load(f"{_PACKAGE}.{folder.name}.{file.stem}", file)
        title, about = _documented(module)
        found.append(
            Recipe(
                paper=_dashed(folder.name),
                item=_dashed(file.stem),
                title=title,
                about=about,
                minutes=dict(module.MINUTES),
                build=module.recipe,
            )
        )
    yield from sorted(found, key=lambda one: _order(one.item))


def _order(item: str) -> tuple[bool, list[tuple[int, str]]]:
    """Tables first, then figures, each by number; anything else last."""
    parts = item.split("-")
    return parts[0] not in _KINDS, [
        (int(part), "") if part.isdecimal() else (_KINDS.get(part, 1000), part) for part in parts
    ]


def _documented(module: ModuleType) -> tuple[str, str]:
    title, _, about = (module.__doc__ or "").strip().partition("\n")
    return title.rstrip("."), about.strip()


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _load(name: str, file: Path, package: Path | None = None) -> ModuleType:
    """Import a file under a name, so that recipes of a paper can share code."""
    if name in sys.modules:
        return sys.modules[name]
    if not file.exists():  # the folder of all recipes is a package without a file
        module = ModuleType(name)
        module.__path__ = [str(package)]
        sys.modules[name] = module
        return module
    places = None if package is None else [str(package)]
    found = importlib.util.spec_from_file_location(name, file, submodule_search_locations=places)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module
