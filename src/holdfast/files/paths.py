"""What can be at a path, before anything is read or written there."""

import os
from pathlib import Path
from typing import TypeAlias

from holdfast.errors import DamagedFileError, InputError
from holdfast.parameters import check

__all__ = ["StrPath", "as_path", "check_file", "check_path", "check_regular"]

#: A path as whoever calls has it.
StrPath: TypeAlias = str | os.PathLike[str]

#: Bytes that a name and a path may have, with room for what is appended.
_NAME, _PATH = 255, 4000


def as_path(path: StrPath) -> Path:
    """A path of the caller as the library has it.

    Raises:
        InputTypeError: if it is neither text nor a path.
        InputError: if it is empty, which Python would take for the working directory.

    Example:
        >>> from holdfast.files import as_path
        >>> as_path("runs/net").name
        'net'
        >>> as_path("")
        Traceback (most recent call last):
        holdfast.errors.InputError: '' names no file or folder; the working directory is '.'.
    """
    check("a path", path, StrPath)
    if not os.fspath(path):
        raise InputError(f"{path!r} names no file or folder; the working directory is '.'.")
    return Path(path)


def check_regular(path: StrPath) -> None:
    """Raise if ``path`` is a pipe, a device or a socket: reading one may never end.

    Raises:
        DamagedFileError: if it is; a file, a folder and nothing at all pass.

    Example:
        >>> import os
        >>> from holdfast.files import check_regular
        >>> check_regular("nothing")
        >>> os.mkfifo("pipe")
        >>> check_regular("pipe")
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: pipe is a pipe, ...
    """
    check_path(path)
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise DamagedFileError(
            f"{path} is a pipe, a device or a socket, but a file is needed; save what it gives to "
            "a file, and give that."
        )


def check_path(path: StrPath) -> None:
    """Raise if no file or folder can be at ``path``, there or not.

    Raises:
        InputError: if it holds NUL, or is longer than file systems take.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import check_path
        >>> check_path("nothing")
        >>> check_path(Path("a" * 300))
        Traceback (most recent call last):
        holdfast.errors.InputError: aaa... is a path of 300 bytes ...
    """
    path = as_path(path)
    if "\0" in str(path):
        raise InputError(
            f"{str(path)!r} holds the character NUL, which no name of a file can hold."
        )
    whole, *parts = (len(str(part).encode(errors="replace")) for part in (path, *path.parts))
    if max(parts, default=0) > _NAME or whole > _PATH:
        raise InputError(
            f"{str(path)[:60]}... is a path of {whole} bytes with a name of {max(parts)}, but file "
            f"systems take {_PATH} and {_NAME}; give a shorter one."
        )


def check_file(path: StrPath) -> None:
    """The same also for a folder where a file belongs.

    Raises:
        DamagedFileError: if ``path`` is anything but a file or nothing at all.

    Example:
        >>> from holdfast.files import check_file
        >>> check_file("nothing")
    """
    check_regular(path)
    if os.path.isdir(path):
        raise DamagedFileError(f"{path} is a folder, but a file is needed; put its copy back.")
