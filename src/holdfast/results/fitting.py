"""Work on a chunk that memory does not hold at once: on as much of it as memory does."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from holdfast.memory import AtOnce
from holdfast.results.part import Missing, Part, Work

__all__ = ["Fitting", "in_pieces"]


@dataclass(frozen=True, eq=False)
class Fitting:
    """Work that goes on with half as many images at once where memory runs out.

    The chunk stays a chunk: what is finished of it is kept, and what is written does not tell.

    Attributes:
        of: the work with so many images at once.
        at_once: how many; what one chunk came to, the next begins with.

    Example:
        >>> import warnings
        >>> import pandas as pd
        >>> from holdfast.memory import AtOnce
        >>> from holdfast.results import Fitting, Missing, Part, in_pieces
        >>> def work(missing):
        ...     if len(missing.index) > 2:
        ...         raise torch.OutOfMemoryError("CUDA out of memory.")
        ...     yield Part(0, pd.DataFrame({"index": missing.index.numpy()}))
        >>> fitting = Fitting(lambda size: in_pieces(work, size), AtOnce(4))
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     (part,) = fitting(Missing(0, torch.arange(4), cells=[0]))
        >>> part.rows["index"].tolist(), fitting.at_once.size
        ([0, 1, 2, 3], 2)
    """

    of: Callable[[int], Work]
    at_once: AtOnce

    def __call__(self, missing: Missing) -> Iterator[Part]:
        """See `holdfast.results.Work`."""
        while True:
            try:
                for part in self.of(self.at_once.size)(missing):
                    self.at_once.held()
                    yield part
                    missing = missing.without(part)
            except Exception as error:  # which holds what was in memory until it is forgotten
                self.at_once.halve(error)
            else:
                return


def in_pieces(work: Work, size: int) -> Work:
    """The same work on ``size`` examples of a chunk at a time; the parts are those of the chunk.

    The pieces go from cell to cell together, so that each cell is finished before the next.

    Example:
        >>> import pandas as pd
        >>> from holdfast.results import Missing, Part, in_pieces
        >>> def work(missing):
        ...     for cell in missing.cells:
        ...         print(cell, missing.index.tolist())
        ...         yield Part(cell, pd.DataFrame({"index": missing.index.numpy()}))
        >>> parts = list(in_pieces(work, 2)(Missing(0, torch.arange(3), cells=[0, 1])))
        0 [0, 1]
        0 [2]
        1 [0, 1]
        1 [2]
        >>> [part.rows["index"].tolist() for part in parts]
        [[0, 1, 2], [0, 1, 2]]
    """

    def pieces(missing: Missing) -> Iterator[Part]:
        places = torch.arange(len(missing.index)).split(size)
        each = [work(missing.take(slice(int(p[0]), int(p[-1]) + 1))) for p in places]
        for parts in zip(*each, strict=True):
            yield _joined(parts) if len(parts) > 1 else parts[0]

    return pieces


def _joined(parts: Sequence[Part]) -> Part:
    """The parts of one cell, one after the other."""
    names = dict.fromkeys(name for part in parts for name in part.images)
    noted: Counter[str] = Counter()
    for part in parts:
        noted.update(part.noted)
    return Part(
        parts[0].cell,
        pd.concat([part.rows for part in parts], ignore_index=True),
        {name: torch.cat([p.images[name] for p in parts if name in p.images]) for name in names},
        {name: reason for part in parts for name, reason in part.skipped.items()},
        noted,
    )
