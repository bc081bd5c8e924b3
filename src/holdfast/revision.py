"""The revision of the working directory's repository, read from its files.

git itself is not asked: it obeys the configuration of the repository that it stands in, which may
name commands to run, and the working directory may be a stranger's. Whether files have changed
since that revision is therefore not known.
"""

import os.path
import re
from pathlib import Path

from holdfast.files import StrPath, as_path

__all__ = ["git_revision"]

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def git_revision(folder: StrPath) -> str | None:
    """The hash of the commit that is checked out around ``folder``.

    Returns:
        None outside a repository, before its first commit, and where it is stored in another way
        than in files.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.revision import git_revision
        >>> git_revision(Path("/")) is None  # no repository
        True
    """
    folder = as_path(folder)
    around = (folder, *folder.parents)
    mark = next((place / ".git" for place in around if os.path.exists(place / ".git")), None)
    if mark is None:
        return None
    git = mark if os.path.isdir(mark) else _named(mark, mark.parent, "gitdir: ")
    # What a work tree shares with the others of its repository lies with the first of them.
    common = _named(git / "commondir", git) if os.path.exists(git / "commondir") else git
    head = _text(git / "HEAD").strip()
    name = head.removeprefix("ref: ")
    if name == head:
        return _hash(head)
    if not name.startswith("refs/") or ".." in name.split("/"):
        return None
    return _hash(_text(common / name).strip()) or _packed(common, name)


def _packed(git: Path, name: str) -> str | None:
    """Of a branch that has no file of its own."""
    for line in _text(git / "packed-refs").splitlines():
        value, _, of = line.partition(" ")
        if of == name:
            return _hash(value)
    return None


def _named(file: Path, relative_to: Path, prefix: str = "") -> Path:
    """The folder that a file names."""
    return relative_to / _text(file).strip().removeprefix(prefix)


def _hash(text: str) -> str | None:
    """``text`` if it is a hash: nothing else out of these files is ever passed on."""
    return text if _HASH.fullmatch(text) else None


def _text(file: Path) -> str:
    """What is in a regular file; nothing if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8") if os.path.isfile(file) else ""
    except (OSError, ValueError):
        return ""
