"""Writing so that nothing is lost: to a temporary name first, then renamed into place."""

import glob
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from holdfast.errors import (
    DiskFullError,
    OutputError,
    no_room,
)
from holdfast.files.paths import StrPath, as_path, check_path

__all__ = ["check_writable", "clear_unfinished", "create_file", "replace_file", "write_text"]


#: As long as any path within a run's folder, with what it is written under first.
_LONGEST = "images/.0000.00000.safetensors.01234567.tmp"


def replace_file(path: StrPath, write: Callable[[Path], object]) -> None:
    """Let ``write`` make the file under a temporary name, then rename it to ``path``.

    A reader sees the old file or the new one, never a part; if writing fails, the old one stays.

    Raises:
        DiskFullError: if there is no room for it.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import replace_file
        >>> replace_file("a.txt", lambda temporary: temporary.write_text("whole"))
        >>> Path("a.txt").read_text()
        'whole'
    """
    path = as_path(path)
    with _written(path, write) as temporary:
        os.replace(temporary, path)


def create_file(path: StrPath, write: Callable[[Path], object]) -> None:
    """The same for a file that must not be there yet: of several processes one makes it.

    Raises:
        FileExistsError: if it is there.
        DiskFullError: if there is no room for it.

    Example:
        >>> from holdfast.files import create_file
        >>> create_file("a.txt", lambda temporary: temporary.write_text("first"))
        >>> create_file("a.txt", lambda temporary: temporary.write_text("second"))
        Traceback (most recent call last):
        FileExistsError: ...
    """
    path = as_path(path)
    with _written(path, write) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("xb") as file:
                file.write(temporary.read_bytes())


@contextmanager
def _written(path: Path, write: Callable[[Path], object]) -> Iterator[Path]:
    """What ``write`` made, under a temporary name beside ``path``, for the time of the block."""
    # Random, since processes of two hosts may have one number.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        yield temporary
    except (OSError, SafetensorError) as error:
        if path.is_dir():
            raise OutputError(
                f"{path} is a folder, and a file is to be written there; take it away, and run the "
                "same command again."
            ) from error
        if not no_room(error):
            raise
        raise DiskFullError(
            f"{path} could not be written ({error}); what was there before is unchanged: make room "
            "and run the same command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: StrPath, name: str | None = None) -> None:
    """Remove what processes that were killed left in a folder under temporary names.

    Args:
        folder: that no other process writes to, unless a name is given.
        name: of the one file whose temporary names are meant; of all, if None.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import clear_unfinished
        >>> size = Path(".a.json.0f1e2d3c.tmp").write_text("{")
        >>> clear_unfinished(Path("."))
        >>> Path(".a.json.0f1e2d3c.tmp").exists()
        False
    """
    of = "*" if name is None else f"{glob.escape(name)}.*"
    for leftover in as_path(folder).glob(f".{of}.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def check_writable(path: StrPath, option: str = "--out") -> None:
    """Find out, leaving nothing behind, whether a folder can be made and written at ``path``.

    Args:
        path: of the folder.
        option: by which it, or what is to be in it, was given.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import check_writable
        >>> check_writable("runs/new")
        >>> Path("runs").exists()
        False
    """
    path = as_path(path)
    check_path(path / _LONGEST)
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(
            f"{existing} is a file, so {path} cannot be a folder; give another {option}."
        )
    try:
        # Permissions alone do not tell: a file system may be read-only, full, or no real one.
        with tempfile.TemporaryDirectory(dir=existing, suffix=".tmp"):
            pass
    except OSError as error:
        if no_room(error):
            raise DiskFullError(
                f"there is no room in {existing} ({error.strerror}); make some and run the same "
                "command again."
            ) from error
        raise OutputError(
            f"{existing} cannot be written ({error.strerror}); give another folder by {option}."
        ) from error


def write_text(path: StrPath, text: str) -> None:
    """Write ``text`` in UTF-8, whole or not at all.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import write_text
        >>> write_text("a.txt", "ε = 0.1")
        >>> Path("a.txt").read_text(encoding="utf-8")
        'ε = 0.1'
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
