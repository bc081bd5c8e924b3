"""The rows of a finished step, read once however many numbers are made of them."""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from holdfast.files import StrPath, as_path
from holdfast.results import ABOUT, ROWS, read_rows

__all__ = ["rows_of"]


def rows_of(folder: StrPath) -> pd.DataFrame:
    """As `results.read_rows`; who gets them leaves them as they are, since others get them too.

    Raises:
        MissingFileError: if there are none.
        DamagedFileError: if a file cannot be read, or is not what a finished run wrote.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.reproduce.rows import rows_of
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out="run")
        >>> rows_of("run") is rows_of("run")
        True
    """
    folder = as_path(folder)
    written = tuple(
        (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None
        for file in (folder / ROWS, folder / ABOUT)
    )
    return _read(folder.absolute(), written)


@lru_cache(maxsize=4)  # of one network at many sizes they may be 100 MB
def _read(folder: Path, written: object) -> pd.DataFrame:
    return read_rows(folder)
