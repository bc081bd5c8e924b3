"""The finished chunks of a run that is not complete yet: one file for each, of each cell."""

import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from holdfast.errors import DamagedFileError, MissingFileError
from holdfast.files import check_file, read_json, write_json, write_tensors, write_text
from holdfast.results.reading import CHUNKS, IMAGES, ROWS, digest, read_csv


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
            about = read_json(path.with_suffix(".json"))
            whole = about.get("sha256") == digest(path.read_bytes()) and _is_timed(about)
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
        about: dict[str, Any] = {"seconds": seconds, "sha256": digest(content.encode())}
        about["skipped"] = dict(skipped or {})
        if noted:
            about["noted"] = dict(noted)
        write_json(path.with_suffix(".json"), about)
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
        return sum(float(about["seconds"]) for about in self._abouts(cell))

    def skipped(self, cell: int) -> dict[str, str]:
        """What could not run in some chunk of a cell, and why: name -> reason."""
        parts = (about.get("skipped", {}) for about in self._abouts(cell))
        return {name: reason for part in parts for name, reason in part.items()}

    def noted(self, cell: int) -> dict[str, int]:
        """What was mended of a cell's results: what -> of how many examples."""
        found: dict[str, int] = {}
        for about in self._abouts(cell):
            for what, count in about.get("noted", {}).items():
                found[what] = found.get(what, 0) + int(count)
        return found

    def clear(self) -> None:
        """Remove the chunks, which rows.csv has made redundant."""
        shutil.rmtree(self.folder / CHUNKS, ignore_errors=True)

    def _abouts(self, cell: int) -> list[dict[str, Any]]:
        return [read_json(p) for p in sorted((self.folder / CHUNKS).glob(f"{cell:04d}.*.json"))]

    def _file(self, cell: int, chunk: int) -> Path:
        return self.folder / CHUNKS / f"{cell:04d}.{chunk:05d}.csv"


def _is_timed(about: Mapping[str, Any]) -> bool:
    """Whether the record of a chunk says how long it took, and what could not run."""
    seconds, skipped = about.get("seconds"), about.get("skipped", {})
    noted = about.get("noted", {})
    return (
        isinstance(seconds, float)
        and 0 <= seconds < math.inf
        and isinstance(skipped, dict)
        and all(isinstance(reason, str) for reason in skipped.values())
        and isinstance(noted, dict)
        and all(isinstance(count, int) for count in noted.values())
    )
