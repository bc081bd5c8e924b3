"""What a chunk lacks, what is computed of it, and who computes it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import pandas as pd
from torch import Tensor

__all__ = ["Done", "Engine", "Missing", "Part", "Work", "done", "here"]


class Part(NamedTuple):
    """A chunk of one cell, as it is computed.

    Attributes:
        cell: its number.
        rows: one for each example of the chunk.
        images: what to keep of them beside the rows.
        skipped: what could not run, and why: name -> reason.
        noted: what was mended of the results: what -> of how many examples.

    Example:
        >>> import pandas as pd
        >>> from holdfast.results import Part
        >>> Part(0, pd.DataFrame({"index": [0, 1]})).skipped
        {}
    """

    cell: int
    rows: pd.DataFrame
    images: Mapping[str, Tensor] = {}
    skipped: Mapping[str, str] = {}
    noted: Mapping[str, int] = {}


@dataclass(frozen=True, eq=False)
class Missing:
    """What a chunk lacks.

    Attributes:
        chunk: its number.
        index: (n,) its examples.
        cells: those that it lacks.
        first: the rows of cell 0, from which others may be worked out, where it is not lacking.

    Example:
        >>> from holdfast.results import Missing
        >>> Missing(0, torch.arange(128), cells=[1, 2]).cells
        [1, 2]
    """

    chunk: int
    index: Tensor
    cells: Sequence[int]
    first: pd.DataFrame | None = None

    def without(self, part: Part) -> "Missing":
        """What it lacks once a part of it is there."""
        cells = [cell for cell in self.cells if cell != part.cell]
        return replace(self, cells=cells, first=self.first if part.cell else part.rows)

    def take(self, some: slice) -> "Missing":
        """The same of some of its examples."""
        first = None if self.first is None else self.first.iloc[some]
        return replace(self, index=self.index[some], first=first)


class Done(NamedTuple):
    """A part that has been computed.

    Attributes:
        chunk: its number.
        part: of a cell.
        seconds: how long it took.

    Example:
        >>> import pandas as pd
        >>> from holdfast.results import Done, Part
        >>> Done(0, Part(1, pd.DataFrame({"index": [0, 1]})), seconds=2.5).part.cell
        1
    """

    chunk: int
    part: Part
    seconds: float


#: Computes the cells that a chunk lacks, one after the other.
Work: TypeAlias = Callable[[Missing], Iterable[Part]]

#: Has the work done on one chunk after the other, or on many at once; the parts come as they are
#: finished.
Engine: TypeAlias = Callable[[Work, Iterable[Missing]], Iterator[Done]]


def done(work: Work, missing: Missing) -> Iterator[Done]:
    """The parts of one chunk, each with the time that it took.

    Example:
        >>> import pandas as pd
        >>> from holdfast.results import Missing, Part, done
        >>> def work(missing):
        ...     for cell in missing.cells:
        ...         yield Part(cell, pd.DataFrame({"index": missing.index.numpy()}))
        >>> [found.part.cell for found in done(work, Missing(0, torch.arange(2), [1, 2]))]
        [1, 2]
    """
    began = time.monotonic()
    for part in work(missing):
        yield Done(missing.chunk, part, time.monotonic() - began)
        began = time.monotonic()


def here(work: Work, missing: Iterable[Missing]) -> Iterator[Done]:
    """The engine that is this process: one chunk after the other.

    Example:
        >>> import pandas as pd
        >>> from holdfast.results import Missing, Part, here
        >>> def work(missing):
        ...     yield Part(0, pd.DataFrame({"index": missing.index.numpy()}))
        >>> chunks = [Missing(number, torch.arange(2), [0]) for number in range(3)]
        >>> [found.chunk for found in here(work, chunks)]
        [0, 1, 2]
    """
    for chunk in missing:
        yield from done(work, chunk)
