"""What one of several processes does for all of them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import distributed

from holdfast.errors import HoldfastError

__all__ = ["Group", "first", "first_of_all"]

T = TypeVar("T")


@runtime_checkable
class Group(Protocol):
    """Processes that work together, as a `lightning_fabric.Fabric` knows them.

    Example:
        >>> from lightning_fabric import Fabric
        >>> from holdfast.group import Group
        >>> isinstance(Fabric(accelerator="cpu", devices=1), Group)
        True
    """

    @property
    def world_size(self) -> int:
        """How many they are."""
        ...

    @property
    def global_rank(self) -> int:
        """The number of this one."""
        ...

    @property
    def is_global_zero(self) -> bool:
        """Whether this is the first."""
        ...

    def broadcast(self, obj: Any) -> Any:
        """What the first one has."""
        ...

    def barrier(self) -> None:
        """Wait until all are here."""
        ...


def first(group: Group | None, work: Callable[[], T]) -> T:
    """Let the first process work; what it gives, or the error that it raises, is everyone's.

    Without a group this process is the only one.

    Example:
        >>> from holdfast.group import first
        >>> first(None, lambda: "done")
        'done'
    """
    if group is None:
        return work()
    result: T | None = None
    error: HoldfastError | OSError | None = None
    if group.is_global_zero:
        try:
            result = work()
        except (HoldfastError, OSError) as raised:
            error = raised
    if group.world_size > 1:
        result, error = group.broadcast((result, error))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # it is what work gave


def first_of_all(work: Callable[[], object]) -> None:
    """The same for work that is handed no group: the first of torch's processes, if there are any.

    Raises:
        HoldfastError, OSError: what the work raised, in every process.

    Example:
        >>> from holdfast.group import first_of_all
        >>> first_of_all(lambda: print("once"))
        once
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        work()
        return
    told: list[HoldfastError | OSError | None] = [None]
    if distributed.get_rank() == 0:
        try:
            work()
        except (HoldfastError, OSError) as error:
            told[0] = error
    distributed.broadcast_object_list(told)
    if told[0] is not None:
        raise told[0]
