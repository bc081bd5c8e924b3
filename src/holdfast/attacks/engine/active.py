"""The examples that an attack still works on, with all that it knows of each, kept in step.

A loop lists once, as fields, what belongs to an example: its image, its stream, its score, whatever
is remembered of it. What has fallen is dropped from all of them by one call:

    @dataclass(eq=False)
    class Points(Active):
        x: Images
        score: Score
        rng: Stream
        memory: Tree = None

    at = Points(x, score, rng)
    at.scatter(result, at.x)  # to their places in the whole batch
    at.keep(~reached)
"""

from dataclasses import Field, fields
from typing import Any, TypeAlias

import torch
from torch import Tensor

from holdfast.types import Flags, Positions

__all__ = ["Active"]

#: Tensors with a row for each example, scores and streams of them, in tuples as deep as you like;
#: None and numbers, which belong to no example, are left as they are.
Tree: TypeAlias = Any


class Active:
    """Derive from it as a dataclass, with a field for everything that has a row for each example.

    Attributes:
        position: (M,) places of the active examples in the batch that the attack began with.

    Example:
        >>> from dataclasses import dataclass
        >>> from holdfast.attacks import Active
        >>> @dataclass(eq=False)
        ... class Points(Active):
        ...     x: torch.Tensor
        >>> at, result = Points(x), torch.zeros(4)
        >>> at.keep(torch.tensor([True, False, False, True]))
        >>> at.scatter(result, torch.ones(len(at)))
        >>> result
        tensor([1., 0., 0., 1.])
    """

    position: Positions

    def __post_init__(self) -> None:
        first = next(part for part in self._parts() if isinstance(part, Tensor))
        self.position = torch.arange(len(first), device=first.device)

    def __len__(self) -> int:
        return len(self.position)

    def keep(self, mask: Flags) -> None:
        """Drop all examples but those of ``mask`` (M,)."""
        (index,) = torch.nonzero(mask, as_tuple=True)
        if len(index) < len(mask):
            self.position = take(self.position, index)
            for entry in self._entries():
                setattr(self, entry.name, take(getattr(self, entry.name), index))

    def scatter(self, result: Tensor, rows: Tensor) -> None:
        """Write the rows of the active examples (M, ...) into ``result`` (N, ...)."""
        result[self.position] = rows

    def known(self) -> dict[str, Any]:
        """All fields by name, for what derives from this and remembers more to begin with."""
        return {entry.name: getattr(self, entry.name) for entry in self._entries()}

    def _parts(self) -> list[Tree]:
        return [getattr(self, entry.name) for entry in self._entries()]

    def _entries(self) -> tuple[Field[Any], ...]:
        return fields(self)  # type: ignore[arg-type]  # what derives from it is a dataclass


def take(tree: Tree, index: Positions) -> Tree:
    """The rows ``index`` of everything in a tree.

    Example:
        >>> from holdfast.attacks.engine.active import take
        >>> take((torch.arange(4), None, 0.5), torch.tensor([1, 3]))
        (tensor([1, 3]), None, 0.5)
    """
    if tree is None or isinstance(tree, int | float):
        return tree
    if isinstance(tree, Tensor):
        return tree.index_select(0, index)  # on a CPU in a fifth of the time of tree[index]
    if isinstance(tree, tuple):
        rows = [take(part, index) for part in tree]
        return type(tree)(*rows) if hasattr(tree, "_fields") else tuple(rows)
    return tree.take(index)  # a score, or a stream
