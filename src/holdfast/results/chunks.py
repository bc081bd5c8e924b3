"""The finished chunks of a run that is not complete yet: one file for each, of each cell."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
from msgspec import Meta
from torch import Tensor

from holdfast.errors import DamagedFileError, MissingFileError
from holdfast.files import check_file, read_as, write_json, write_tensors, write_text
from holdfast.results.reading import CHUNKS, IMAGES, ROWS, digest, read_csv


@dataclass(frozen=True)
class _About:
    """What stands beside a chunk: how long it took, and what tells whether it is whole."""

    seconds: Annotated[float, Meta(ge=0)]
    sha256: str
    skipped: dict[str, str] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunks:
    """The chunks in a run folder.

    Attributes:
        folder: of the run.
        check: called before each write; raises if the folder is no longer the run's.
    """

    folder: Path
    check: Callable[[], None]

    def has(self, cell: int, chunk: int) -> bool:
        """Whether a chunk of a cell has been written and is what was written.

        One that is damaged is told of and taken for missing, so that only it is computed again.
        """
        path = self._file(cell, chunk)
        if (self.folder / ROWS).exists() or not path.exists():
            return (self.folder / ROWS).exists()
        try:
            check_file(path)
            about: _About = read_as(path.with_suffix(".json"), _About)
            whole = about.sha256 == digest(path.read_bytes())
        except (MissingFileError, DamagedFileError):
            whole = False
        if not whole:
            warnings.warn(
                f"{path} is damaged: chunk {chunk} of cell {cell} is computed again, and the rest "
                "of the run is kept.",
                stacklevel=2,
            )
        return whole

    def write(
        self,
        cell: int,
        chunk: int,
        rows: pd.DataFrame,
        seconds: float,
        skipped: Mapping[str, str] | None = None,
        noted: Mapping[str, int] | None = None,
    ) -> None:
        """Write one finished chunk, how long it took, and what tells whether it is whole.

        The time has a file of its own, so that equal results are equal files.

        Args:
            cell: its number.
            chunk: its number.
            rows: one for each example of the chunk.
            seconds: how long it took.
            skipped: what could not run there, and why: name -> reason.
            noted: what was mended of the results: what -> of how many examples.
        """
        self.check()
        path = self._file(cell, chunk)
        path.parent.mkdir(exist_ok=True)
        content = rows.to_csv(index=False)
        about = _About(seconds, digest(content.encode()), dict(skipped or {}), dict(noted or {}))
        write_json(path.with_suffix(".json"), asdict(about))
        write_text(path, content)

    def read(self, cell: int, chunk: int) -> pd.DataFrame:
        """Read one finished chunk."""
        return read_csv(self._file(cell, chunk))

    def write_images(self, cell: int, chunk: int, images: Mapping[str, Tensor]) -> None:
        """Write images of a chunk, before its rows."""
        self.check()
        path = self.folder / IMAGES / f"{cell:04d}.{chunk:05d}.safetensors"
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, images, {"cell": cell})

    @property
    def any(self) -> bool:
        """Whether any was written."""
        return (self.folder / CHUNKS).exists()

    def seconds(self, cell: int) -> float:
        """How long the chunks of a cell took, in all processes that worked on it."""
        return sum(about.seconds for about in self._abouts(cell))

    def skipped(self, cell: int) -> dict[str, str]:
        """What could not run in some chunk of a cell, and why: name -> reason."""
        abouts = self._abouts(cell)
        return {name: reason for about in abouts for name, reason in about.skipped.items()}

    def noted(self, cell: int) -> dict[str, int]:
        """What was mended of a cell's results: what -> of how many examples."""
        found: dict[str, int] = {}
        for about in self._abouts(cell):
            for what, count in about.noted.items():
                found[what] = found.get(what, 0) + count
        return found

    def _abouts(self, cell: int) -> list[_About]:
        files = sorted((self.folder / CHUNKS).glob(f"{cell:04d}.*.json"))
        return [read_as(file, _About) for file in files]

    def _file(self, cell: int, chunk: int) -> Path:
        return self.folder / CHUNKS / f"{cell:04d}.{chunk:05d}.csv"
