"""What the files of a data set hold, as digests; a file is read again only if it was changed.

Sizes and times of the files are kept in the user's cache folder with the digests, never beside the
data. What cannot be kept is computed each time.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.errors import DamagedFileError, HoldfastError
from holdfast.files import read_as, write_json

#: Seconds after a change during which another one may leave a file's times as they are.
_COARSE = 3.0

#: Of the file that keeps them: a few times what all images of ImageNet take.
_MOST_BYTES = 2**30

#: Size and times of a file, and the digest of its content.
_Entry = tuple[list[int], str]


def digests(root: Path, files: Sequence[Path]) -> list[str]:
    """A digest of the content of each file.

    Args:
        root: the folder that they lie in, for which the digests are kept.
        files: paths.

    Raises:
        DamagedFileError: if a file cannot be read.
    """
    kept = _cache(root)
    known: dict[str, _Entry] = {}
    with suppress(HoldfastError):  # missing or damaged: everything is read
        known = read_as(kept, dict[str, _Entry], at_most=_MOST_BYTES)
    found, changed = [], False
    for file in files:
        try:
            state, now = _state(file), time.time()
            name = os.path.relpath(file, root)
            entry = known.get(name)
            if entry is None or entry[0] != state:
                entry = state, hashlib.sha256(file.read_bytes()).hexdigest()
                # The change of a file changed just now might not show in its times.
                settled = now - max(state[1:]) / 1e9 > _COARSE
                if settled and _state(file) == state:
                    known[name], changed = entry, True
        except OSError as error:
            raise DamagedFileError(f"{file} cannot be read: {error}.") from error
        found.append(entry[1])
    if changed:
        with suppress(OSError, ValueError):  # no place, no room, or names that are not UTF-8
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, known)
    return found


def _state(file: Path) -> list[int]:
    """Size and times; that of the last change of any kind cannot be set by who copies a file."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _cache(root: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return Path(base) / "holdfast" / "digests" / f"{name}.json"
