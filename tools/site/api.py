"""The reference: a page for each room, with every export where it is defined.

Read from the sources and not by importing them, since some modules need what an extra brings.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parents[2] / "src"


class Export(NamedTuple):
    """What a module exports: its room, its module, its name there, and how it is defined."""

    room: str
    module: str
    name: str
    node: ast.stmt

    @property
    def path(self) -> str:
        """As it is imported from where it is defined."""
        return f"{self.module}.{self.name}"


@cache
def exports() -> tuple[Export, ...]:
    """Every name of every ``__all__``, once: where it is defined, not where it is handed on."""
    return tuple(_exports())


def _exports() -> Iterator[Export]:
    modules = dict(_modules())
    seen: set[tuple[str, str]] = set()
    # Modules before the packages that hand on what they export.
    for module in sorted(modules, key=lambda name: (_is_package(name), name)):
        defined = modules[module]
        listed = getattr(defined.get("__all__"), "value", None)
        names = ast.literal_eval(listed) if isinstance(listed, ast.List | ast.Tuple) else ()
        for name in names:
            node, where = defined.get(name), module
            if isinstance(node, ast.ImportFrom):
                where = str(node.module)
                node = modules.get(where, {}).get(name)
            if node is not None and (where, name) not in seen:
                seen.add((where, name))
                yield Export(module.split(".")[1], where, name, node)


def _modules() -> Iterator[tuple[str, dict[str, ast.stmt]]]:
    """Every module below the library, and what each of its names is defined by."""
    for path in sorted((SOURCES / "holdfast").rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        if len(parts) > 2 or parts[-1] != "__init__":
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            body = ast.parse(path.read_text()).body
            yield module, {name: node for node in body for name in _names(node)}


def _is_package(module: str) -> bool:
    return (SOURCES / module.replace(".", "/")).is_dir()


def _names(node: ast.stmt) -> list[str]:
    """What a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names if alias.asname in (None, alias.name)]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def rooms() -> list[str]:
    """The rooms that export something."""
    return sorted({each.room for each in exports()})


def page(room: str) -> str:
    """The Markdown of a room's page: its first line, then module by module."""
    blocks = [f"# holdfast.{room}", _about(room)]
    module = ""
    for each in sorted(exports(), key=lambda each: each.module):
        if each.room != room:
            continue
        if each.module != module:
            module = each.module
            blocks.append(f"## {module}")
        blocks.append(f"::: {each.path}")
    return "\n\n".join(blocks) + "\n"


def _about(room: str) -> str:
    file, package = SOURCES / f"holdfast/{room}.py", SOURCES / f"holdfast/{room}/__init__.py"
    return ast.get_docstring(ast.parse((file if file.exists() else package).read_text())) or ""


def as_text(markdown: str) -> str:
    """A page for machines that read: signatures and docstrings in place of names."""
    known = {each.path: each for each in exports()}
    lines = []
    for line in markdown.splitlines():
        each = known.get(line.removeprefix("::: "))
        if each is None:
            lines.append(line)
        else:
            lines += [f"### {each.path}", "", "```text", _definition(each.node), "```"]
    return "\n".join(lines) + "\n"


def _definition(node: ast.stmt) -> str:
    """A function's or a class's head and docstring; of a value, how it is made."""
    if isinstance(node, ast.FunctionDef):
        head = f"{node.name}({ast.unparse(node.args)})"
    elif isinstance(node, ast.ClassDef):
        made = [each for each in node.body if getattr(each, "name", "") == "__init__"]
        fields = [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]
        takes = ast.unparse(made[0].args) if made else ", ".join(fields)  # type: ignore[attr-defined]
        head = f"class {node.name}({takes})"
    else:
        return ast.unparse(node)
    return f"{head}\n\n{ast.get_docstring(node) or ''}"
