"""Names for what the command line can choose, given where each thing is defined."""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, TypeVar, overload

from holdfast.errors import unknown

__all__ = [
    "Registry",
    "exported_by",
]

T = TypeVar("T")
D = TypeVar("D")


class Registry(Mapping[str, T]):
    """Things of one kind by their names.

        ATTACKS: Registry[Callable[..., Attack]] = Registry("attack")

        @ATTACKS.named("pgd")
        class PGD(Attack): ...

    Args:
        kind: what they are, for the error about a name that none of them has.

    Example:
        >>> from holdfast.registry import Registry
        >>> greetings = Registry("greeting")
        >>> @greetings.named("plain")
        ... def hello():
        ...     return "hello"
        >>> greetings["plain"](), list(greetings)
        ('hello', ['plain'])
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def named(self, name: str) -> Callable[[D], D]:
        """Enter what is defined below, under a name that is still free."""

        def enter(thing: D) -> D:
            if name in self._things:
                raise ValueError(f"there are two {self.kind}s named {name!r}; rename one.")
            self._things[name] = thing  # type: ignore[assignment]
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        """What has that name.

        Raises:
            UnknownNameError: if nothing has; it says the nearest.
        """
        if name not in self:
            raise unknown(self.kind, str(name), self._things)
        return self._things[name]

    @overload
    def get(self, name: str, /) -> T: ...
    @overload
    def get(self, name: str, default: T | D, /) -> T | D: ...
    def get(self, name: str, *default: T | D) -> T | D:
        """What has that name, or what is to be taken if nothing has.

        Raises:
            UnknownNameError: if nothing has, and nothing is to be taken instead.

        Example:
            >>> from holdfast.attacks import ATTACKS
            >>> ATTACKS.get("pdg", None) is None
            True
            >>> ATTACKS.get("pdg")
            Traceback (most recent call last):
            holdfast.errors.UnknownNameError: unknown attack 'pdg': did you mean 'pgd'?
        """
        return default[0] if default and name not in self else self[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


def exported_by(package: str) -> dict[str, Any]:
    """What the modules of a package export by their own ``__all__``, so that none is listed twice.

    What type checkers and editors see stands in the package's ``__init__.pyi``, which ``make lint``
    writes and the tests hold against this.

    Args:
        package: its name; it is being imported.

    Example:
        >>> from holdfast.registry import exported_by
        >>> "PGD" in exported_by("holdfast.attacks")
        True
    """
    found: dict[str, Any] = {}
    for entry in walk_packages(sys.modules[package].__path__, f"{package}."):
        module = import_module(entry.name)
        if not entry.ispkg:
            found |= {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return found
