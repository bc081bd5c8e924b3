"""The folder of a run, before the work and after it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import InputError
from holdfast.files import StrPath, as_path
from holdfast.results.reading import CHUNKS

__all__ = ["clear_work", "kept_or_temporary"]


@contextmanager
def kept_or_temporary(out: StrPath | None) -> Iterator[Path]:
    """The folder ``out`` or, if there is none, one for the time of the block.

    Raises:
        InputError: if ``out`` is the empty name.

    Example:
        >>> from holdfast.results import kept_or_temporary
        >>> with kept_or_temporary("run") as folder:
        ...     folder.name
        'run'
        >>> with kept_or_temporary(None) as folder:
        ...     there = folder.parent.exists()
        >>> there, folder.parent.exists()
        (True, False)
    """
    if out is not None:
        if out == "":
            raise InputError("out is empty, but must name a folder; leave it out to keep nothing.")
        yield as_path(out)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary) / "run"


def clear_work(path: StrPath, checkpoint: str | None) -> None:
    """Remove from the folder of a finished run what only the work needed.

    Args:
        path: the folder.
        checkpoint: see `Run.resume_or`.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.results import clear_work
        >>> size = Path("state.safetensors").write_text("of a training that is finished")
        >>> clear_work(".", "state.safetensors")
        >>> Path("state.safetensors").exists()
        False
    """
    folder = as_path(path)
    shutil.rmtree(folder / CHUNKS, ignore_errors=True)  # which rows.csv has made redundant
    if checkpoint is not None:
        (folder / checkpoint).unlink(missing_ok=True)
