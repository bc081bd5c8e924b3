"""The attacks that the command line knows, entered where each is defined."""

from collections.abc import Callable

from holdfast.attacks.engine.attack import Attack
from holdfast.registry import Registry

__all__ = ["ATTACKS"]

#: Name -> (threat, parameters) -> attack.
ATTACKS: Registry[Callable[..., Attack]] = Registry("attack")
