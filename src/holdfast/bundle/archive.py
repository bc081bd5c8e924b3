"""A zip file: written so that equal contents are equal bytes, and read as a stranger's.

Whoever made a zip file says in it how large its files will be and where they belong. Both are
checked before anything is unpacked, and what is unpacked is never more than was said.
"""

import errno
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from holdfast.errors import DamagedFileError, InputError, MissingFileError
from holdfast.files import check_file, create_file

#: The first moment that a zip file can tell.
_EPOCH = (1980, 1, 1, 0, 0, 0)

#: What the library raises where a file is none that it could have written.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    NotImplementedError,
    UnicodeDecodeError,
)

#: Of the list of files in a zip file, in bytes.
_LIST = 2**26

#: Bytes that a zip file may unpack to; and how many times its own size, once that is more than
#: some. Rows compress to a tenth, the images of digits to a hundredth.
_MOST, _SOME, _TIMES = 2**34, 2**28, 200


def write_archive(out: Path, files: Mapping[str, Path]) -> None:
    """Write a zip file of these files by their names: the same files make the same bytes.

    Raises:
        FileExistsError: if something is there.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.create_system = 3  # Unix, wherever it is written
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.file_size = files[name].stat().st_size  # for what is larger than 2 GiB
                with files[name].open("rb") as source, made.open(entry, "w") as target:
                    shutil.copyfileobj(source, target)

    create_file(out, write)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A zip file's contents in a folder, for the time of the block.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or no zip file.
        InputError: if it holds what no bundle holds: a name that leads out of it, a link, two files
            of one name, more than can be meant.
    """
    check_file(path)
    if not path.exists():
        raise MissingFileError(f"there is no file {path}.")
    with TemporaryDirectory() as folder:
        try:
            _check_list(path)
            with zipfile.ZipFile(path) as archive:
                for entry in _checked(path, archive.infolist()):
                    _unpack(path, archive, entry, Path(folder))
        except _DAMAGED as error:
            raise DamagedFileError(f"{path} is damaged or no zip file: {error}.") from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place before the beginning of the file
                raise
            raise DamagedFileError(f"{path} is damaged: {error.strerror}.") from error
        yield Path(folder)


def _check_list(path: Path) -> None:
    """The list of files is read as a whole: see how long it says that it is.

    Raises:
        InputError: if it is longer than a bundle's.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 22 - 2**16))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) < at + 22:
        raise DamagedFileError(f"{path} is damaged or no zip file: it has no list of files.")
    entries, length = struct.unpack("<HI", end[at + 10 : at + 16])
    # 65,535 entries and 4 GiB stand for "more, and said elsewhere", which a bundle needs for none.
    if length > _LIST or entries == 2**16 - 1:
        raise InputError(
            f"{path} says that its list of files has {length} bytes and {entries} entries or more, "
            f"and a bundle's has at most {_LIST} and {2**16 - 2}: it was not written by Holdfast."
        )


def _checked(path: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The files of a zip file, if all of them may be unpacked.

    Raises:
        InputError: naming the first that may not.
    """
    files, seen, total = [], set[str](), 0
    for entry in entries:
        name = entry.filename
        parts = name.removesuffix("/").split("/")
        # The name as it was written: the library cuts it at a NUL, and turns "\\" into "/".
        if entry.orig_filename != name or "\\" in name or ":" in name or not name.isprintable():
            raise _refused(path, name, "has a name that files of a bundle do not have")
        if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise _refused(path, name, "has a name that leads out of the bundle")
        if len(name.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
            raise _refused(path, f"{name[:60]}...", "has a name that is too long")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(path, name, "is a link or a device, and no file")
        if entry.flag_bits & 1:
            raise _refused(path, name, "is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(path, name, "is compressed in a way that bundles are not")
        folded = "/".join(parts).casefold()
        if folded in seen:
            raise _refused(path, name, "is there twice, if letters in capitals are the same")
        seen.add(folded)
        if not entry.is_dir():
            files.append(entry)
            total += entry.file_size
    inside = {str(above) for entry in files for above in PurePosixPath(entry.filename).parents}
    for entry in files:
        if entry.filename in inside:
            raise _refused(path, entry.filename, "is a file and a folder")
    most = min(_MOST, max(_SOME, _TIMES * path.stat().st_size))
    if total > most:
        raise InputError(
            f"{path} would unpack to {total} bytes, and a bundle of its size to at most {most}: it "
            "is not unpacked."
        )
    return files


def _unpack(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file)  # which the library ends at the size that it says
    written = target.stat().st_size
    if written != entry.file_size:
        raise DamagedFileError(
            f"{path} is damaged: {entry.filename} has {written} bytes, and says {entry.file_size}."
        )


def _refused(path: Path, name: str, why: str) -> InputError:
    return InputError(f"{path} is not unpacked: {name!r} in it {why}.")
