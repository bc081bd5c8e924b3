"""The reference: a page for each room, with every export where it is defined."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import NamedTuple

import holdfast


class Export(NamedTuple):
    """What a module exports: its room, its module and its name there."""

    room: str
    module: str
    name: str

    @property
    def path(self) -> str:
        """As it is imported from where it is defined."""
        return f"{self.module}.{self.name}"


def exports() -> Iterator[Export]:
    """Every name of every ``__all__``, once: not again for a package that hands it on."""
    seen: set[tuple[str, int]] = set()
    names = [each.name for each in walk_packages(holdfast.__path__, "holdfast.")]
    modules = [import_module(name) for name in names if name != "holdfast.__main__"]
    # Modules first, so that a name stands where it is defined.
    for module in sorted(modules, key=lambda each: hasattr(each, "__path__")):
        room = module.__name__.split(".")[1]
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if (name, id(thing)) not in seen and not inspect.ismodule(thing):
                seen.add((name, id(thing)))
                yield Export(room, module.__name__, name)


def rooms() -> list[str]:
    """The rooms that export something."""
    return sorted({each.room for each in exports()})


def page(room: str) -> str:
    """The Markdown of a room's page: its first line, then module by module."""
    about = (inspect.getdoc(import_module(f"holdfast.{room}")) or "").strip()
    blocks = [f"# holdfast.{room}", about]
    module = ""
    for each in sorted((each for each in exports() if each.room == room), key=lambda e: e.module):
        if each.module != module:
            module = each.module
            blocks.append(f"## {module}")
        blocks.append(f"::: {each.path}")
    return "\n\n".join(blocks) + "\n"


def as_text(markdown: str) -> str:
    """A page for machines that read: signatures and docstrings in place of names."""
    lines = []
    for line in markdown.splitlines():
        if line.startswith("::: "):
            module, _, name = line.removeprefix("::: ").rpartition(".")
            thing = getattr(import_module(module), name)
            lines += [f"### {module}.{name}", "", f"```text\n{name}{_signature(thing)}", ""]
            lines += [inspect.getdoc(thing) or "", "```"]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _signature(thing: object) -> str:
    try:
        return str(inspect.signature(thing))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
