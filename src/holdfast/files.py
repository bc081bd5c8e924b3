"""Writing files so that nothing is lost: to a temporary name first, then renamed into place."""

import ctypes
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast.errors import (
    DamagedFileError,
    DiskFullError,
    InputError,
    MissingFileError,
    OutputError,
    no_room,
)

__all__ = [
    "check_file",
    "check_path",
    "check_regular",
    "check_writable",
    "clear_unfinished",
    "create_file",
    "create_json",
    "fitted",
    "read_as",
    "read_json",
    "read_table",
    "read_tensors",
    "replace_file",
    "write_json",
    "write_table",
    "write_tensors",
    "write_text",
]

#: What a file of JSON may weigh, and how deep what it holds may be nested: far more than any has.
MOST_BYTES, MOST_LEVELS = 2**26, 100

#: pandas reads numbers exactly from 3.1 on; before, only where that is asked for.
_EXACTLY: dict[str, Any] = (
    {}
    if tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
    else {"float_precision": "round_trip"}
)

#: As long as any path within a run's folder, with what it is written under first.
_LONGEST = "images/.0000.00000.safetensors.01234567.tmp"

#: Bytes that a name and a path may have, with room for what is appended.
_NAME, _PATH = 255, 4000

#: What stands for a number that is missing.
_MISSING = ("", "nan", "NaN")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make the file under a temporary name, then rename it to ``path``.

    A reader sees the old file or the new one, never a part; if writing fails, the old one stays.

    Raises:
        DiskFullError: if there is no room for it.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import replace_file
        >>> replace_file(Path("a.txt"), lambda temporary: temporary.write_text("whole"))
        >>> Path("a.txt").read_text()
        'whole'
    """
    with _written(path, write) as temporary:
        os.replace(temporary, path)


def create_file(path: Path, write: Callable[[Path], object]) -> None:
    """The same for a file that must not be there yet: of several processes one makes it.

    Raises:
        FileExistsError: if it is there.
        DiskFullError: if there is no room for it.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import create_file
        >>> create_file(Path("a.txt"), lambda temporary: temporary.write_text("first"))
        >>> create_file(Path("a.txt"), lambda temporary: temporary.write_text("second"))
        Traceback (most recent call last):
        FileExistsError: ...
    """
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


def clear_unfinished(folder: Path) -> None:
    """Remove what processes that were killed left in a folder under temporary names.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import clear_unfinished
        >>> size = Path(".a.json.0f1e2d3c.tmp").write_text("{")
        >>> clear_unfinished(Path("."))
        >>> Path(".a.json.0f1e2d3c.tmp").exists()
        False
    """
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Find out, leaving nothing behind, whether a folder can be made and written at ``path``.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import check_writable
        >>> check_writable(Path("runs/new"))
        >>> Path("runs").exists()
        False
    """
    check_path(path / _LONGEST)
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(
            f"{existing} is a file, so {path} cannot be a folder; give another --out."
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
            f"{existing} cannot be written ({error.strerror}); give another folder by --out."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, whole or not at all.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import write_text
        >>> write_text(Path("a.txt"), "ε = 0.1")
        >>> Path("a.txt").read_text(encoding="utf-8")
        'ε = 0.1'
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, every number so that reading gives it back exactly.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from holdfast.files import read_table, write_table
        >>> write_table(Path("a.csv"), pd.DataFrame({"eps": [0.1 + 0.2]}))
        >>> bool(read_table(Path("a.csv"))["eps"][0] == 0.1 + 0.2)
        True
    """
    replace_file(path, lambda temporary: table.to_csv(temporary, index=False))


def read_table(path: Path, text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table from CSV, every number as it was written.

    Args:
        path: of the file.
        text: columns of names, in which "1" is no number and "NA" is not missing.

    Raises:
        DamagedFileError: if the file cannot be read.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from holdfast.files import read_table, write_table
        >>> write_table(Path("a.csv"), pd.DataFrame({"attack": ["1", "NA"], "eps": [0.1, 0.2]}))
        >>> read_table(Path("a.csv"), text=["attack"]).to_numpy().tolist()
        [['1', 0.1], ['NA', 0.2]]
    """
    check_file(path)
    try:
        columns = pd.read_csv(path, nrows=0).columns
        numbers = columns.difference(list(text))
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(columns.intersection(list(text)), str),
            keep_default_na=False,
            na_values={number: list(_MISSING) for number in numbers},
            **_EXACTLY,
        )
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from error


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, whole or not at all; NaN is refused.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_json, write_json
        >>> write_json(Path("a.json"), {"eps": 0.1})
        >>> read_json(Path("a.json"))
        {'eps': 0.1}
        >>> write_json(Path("a.json"), {"eps": float("nan")})
        Traceback (most recent call last):
        ValueError: ...
    """
    write_text(path, _json(content))


def create_json(path: Path, content: object) -> None:
    """Write ``content`` to a file that is not there yet; see `create_file`.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import create_json
        >>> create_json(Path("a.json"), {"owner": 1})
        >>> create_json(Path("a.json"), {"owner": 2})
        Traceback (most recent call last):
        FileExistsError: ...
    """
    create_file(path, lambda temporary: temporary.write_text(_json(content), encoding="utf-8"))


def _json(content: object) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def check_regular(path: Path) -> None:
    """Raise if ``path`` is a pipe, a device or a socket: reading one may never end.

    Raises:
        DamagedFileError: if it is; a file, a folder and nothing at all pass.

    Example:
        >>> import os
        >>> from pathlib import Path
        >>> from holdfast.files import check_regular
        >>> check_regular(Path("nothing"))
        >>> os.mkfifo("pipe")
        >>> check_regular(Path("pipe"))
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: pipe is a pipe, ...
    """
    check_path(path)
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise DamagedFileError(
            f"{path} is a pipe, a device or a socket, but a file is needed; save what it gives to "
            "a file, and give that."
        )


def check_path(path: Path) -> None:
    """Raise if no file or folder can be at ``path``, there or not.

    Raises:
        InputError: if it holds NUL, or is longer than file systems take.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import check_path
        >>> check_path(Path("nothing"))
        >>> check_path(Path("a" * 300))
        Traceback (most recent call last):
        holdfast.errors.InputError: aaa... is a path of 300 bytes ...
    """
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


def check_file(path: Path) -> None:
    """The same also for a folder where a file belongs.

    Raises:
        DamagedFileError: if ``path`` is anything but a file or nothing at all.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import check_file
        >>> check_file(Path("nothing"))
    """
    check_regular(path)
    if os.path.isdir(path):
        raise DamagedFileError(f"{path} is a folder, but a file is needed; put its copy back.")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it holds no JSON object, or one that no file of Holdfast would.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_json
        >>> size = Path("a.json").write_text("[1, 2]")
        >>> read_json(Path("a.json"))
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: a.json is not what ... expected `object`, got `array`; ...
    """
    content: dict[str, Any] = read_as(path, dict[str, Any])
    _check_levels(content, path)
    return content


def read_as(path: Path, form: Any, at_most: int = MOST_BYTES) -> Any:
    """Read a JSON file that holds what a type says, and may hold more.

    Args:
        path: of the file.
        form: a type as msgspec knows them: a dataclass, a typed dictionary, a list of these.
        at_most: bytes; what is larger is not even begun.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is no JSON, or holds anything else.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_as
        >>> size = Path("a.json").write_text('{"steps": -1.5}')
        >>> read_as(Path("a.json"), dict[str, int])
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: a.json is not what ... expected `int`, got `float`; ...
    """
    check_file(path)
    try:
        if path.stat().st_size > at_most:
            raise DamagedFileError(
                f"{path} has {path.stat().st_size:,} bytes, but a file of this kind has at most "
                f"{at_most:,}; put its copy back."
            )
        return msgspec.json.decode(path.read_bytes(), type=_lasting(form))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}.") from error
    except msgspec.ValidationError as error:
        raise _unfit(path, error, "put its copy back") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged or no JSON file: {error}.") from error


def fitted(content: object, form: Any, file: Path, mend: str = "put its copy back") -> Any:
    """What was read of a file, as what a type says that it is; the file may say more.

    Args:
        content: mappings, lists, texts and numbers.
        form: as of `read_as`.
        file: that it was read of.
        mend: how the sentence of the error ends.

    Raises:
        DamagedFileError: naming the first place that is something else.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import fitted
        >>> fitted({"eps": [0.1, "x"]}, dict[str, list[float]], Path("a.json"))
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: a.json is not what ... expected `float`, got `str`; ...
    """
    try:
        return msgspec.convert(content, _lasting(form))
    except msgspec.ValidationError as error:
        raise _unfit(file, error, mend) from error


@cache
def _lasting(form: Any) -> Any:
    """A form that no collection takes.

    What msgspec knows of a typed dictionary lies in its class, and where the last collection of a
    process frees it the process ends by a segmentation fault (in TypedDictInfo_dealloc; compare
    msgspec's issue 717). One reference that nobody gives back keeps the class from it.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(form))
    return form


def _unfit(file: Path, error: msgspec.ValidationError, mend: str) -> DamagedFileError:
    what, _, place = str(error).partition(" - at `$")
    place = place.strip(".`")
    if lacks := re.fullmatch("Object missing required field `(.*)`", what):
        said = f"{'.'.join(filter(None, [place, lacks[1]]))} is missing"
    else:
        said = f"{place}{': ' if place else ''}{what[:1].lower()}{what[1:]}"
    return DamagedFileError(f"{file} is not what Holdfast writes: {said}; {mend}.")


def _check_levels(content: object, file: Path) -> None:
    """Whoever walks through it one level after the other has to get to the end."""
    parts: list[Any] = [content]
    for _ in range(MOST_LEVELS):
        inner = (part.values() if isinstance(part, dict) else part for part in parts)
        parts = [each for part in inner for each in part if isinstance(each, dict | list)]
        if not parts:
            return
    raise DamagedFileError(
        f"{file} is not what Holdfast writes: it is nested more than {MOST_LEVELS} deep; put its "
        "copy back."
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-like record about them as one safetensors file.

    Raises:
        OutputError: if it cannot be written; an older file stays.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_tensors, write_tensors
        >>> write_tensors(Path("a.safetensors"), {"x": torch.ones(2)}, {"cell": 1})
        >>> read_tensors(Path("a.safetensors"))
        ({'x': tensor([1., 1.])}, {'cell': 1})
    """
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"holdfast": json.dumps(about, allow_nan=False)}
    try:
        replace_file(path, lambda temporary: save_file(flat, temporary, metadata=header))
    except SafetensorError as error:
        raise OutputError(
            f"{path} could not be written ({error}); what was there before is unchanged."
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. The format holds numbers only: nothing is ever executed.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged or was not written by Holdfast.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_tensors, write_tensors
        >>> write_tensors(Path("a.safetensors"), {"x": torch.ones(2)}, {"cell": 1})
        >>> read_tensors(Path("a.safetensors"))
        ({'x': tensor([1., 1.])}, {'cell': 1})
    """
    check_regular(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {})["holdfast"]
            about = msgspec.json.decode(header, type=dict[str, Any])
            _check_levels(about, path)
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except DamagedFileError:
        raise
    except (SafetensorError, msgspec.DecodeError, OSError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged or no safetensors file: {error}.") from error
    except KeyError as error:
        raise DamagedFileError(
            f"{path} was not written by Holdfast; to use other weights, name their architecture, "
            f"torchvision/resnet18(weights={path}), or write a function that builds the model and "
            "loads them, and give it as package.module:function."
        ) from error
