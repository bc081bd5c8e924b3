"""JSON, and whether it is what its form says."""

import ctypes
import json
import re
from functools import cache
from typing import Any

import msgspec

from holdfast.errors import (
    DamagedFileError,
    MissingFileError,
)
from holdfast.files.paths import StrPath, as_path, check_file
from holdfast.files.writing import create_file, write_text

__all__ = ["check_levels", "create_json", "fitted", "read_as", "read_json", "write_json"]


#: What a file of JSON may weigh, and how deep what it holds may be nested: far more than any has.
MOST_BYTES, MOST_LEVELS = 2**26, 100


def write_json(path: StrPath, content: object) -> None:
    """Write ``content`` as indented JSON, whole or not at all; NaN is refused.

    Example:
        >>> from holdfast.files import read_json, write_json
        >>> write_json("a.json", {"eps": 0.1})
        >>> read_json("a.json")
        {'eps': 0.1}
        >>> write_json("a.json", {"eps": float("nan")})
        Traceback (most recent call last):
        ValueError: ...
    """
    write_text(path, _json(content))


def create_json(path: StrPath, content: object) -> None:
    """Write ``content`` to a file that is not there yet; see `create_file`.

    Example:
        >>> from holdfast.files import create_json
        >>> create_json("a.json", {"owner": 1})
        >>> create_json("a.json", {"owner": 2})
        Traceback (most recent call last):
        FileExistsError: ...
    """
    create_file(path, lambda temporary: temporary.write_text(_json(content), encoding="utf-8"))


def _json(content: object) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: StrPath) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it holds no JSON object, or one that no file of Holdfast would.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files import read_json
        >>> size = Path("a.json").write_text("[1, 2]")
        >>> read_json("a.json")
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: a.json is not what ... expected `object`, got `array`; ...
    """
    path = as_path(path)
    content: dict[str, Any] = read_as(path, dict[str, Any])
    check_levels(content, path)
    return content


def read_as(path: StrPath, form: Any, at_most: int = MOST_BYTES) -> Any:
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
        >>> read_as("a.json", dict[str, int])
        Traceback (most recent call last):
        holdfast.errors.DamagedFileError: a.json is not what ... expected `int`, got `float`; ...
    """
    path = as_path(path)
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


def fitted(content: object, form: Any, file: StrPath, mend: str = "put its copy back") -> Any:
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
    except (msgspec.ValidationError, OverflowError) as error:  # of a whole number beyond a float
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


def _unfit(file: StrPath, error: Exception, mend: str) -> DamagedFileError:
    what, _, place = str(error).partition(" - at `$")
    place = place.strip(".`")
    if lacks := re.fullmatch("Object missing required field `(.*)`", what):
        said = f"{'.'.join(filter(None, [place, lacks[1]]))} is missing"
    else:
        said = f"{place}{': ' if place else ''}{what[:1].lower()}{what[1:]}"
    return DamagedFileError(f"{file} is not what Holdfast writes: {said}; {mend}.")


def check_levels(content: object, file: StrPath) -> None:
    """Raise where nesting goes so deep that whoever walks through it may not get to the end.

    Raises:
        DamagedFileError: if it does.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.files.records import check_levels
        >>> check_levels({"cells": [{"eps": 0.1}]}, Path("a.json"))
    """
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
