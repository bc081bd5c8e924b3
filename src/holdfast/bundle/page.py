"""What was made of the runs, made again from their rows and compared with what lies there."""

import base64
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from holdfast.bundle.contents import ENVIRONMENT, REPORT, STATEMENT
from holdfast.bundle.derived import derive
from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.bundle.manifest import Manifest, files_in, versions
from holdfast.bundle.numbers import numbers_apart
from holdfast.data.reading import FORMATS
from holdfast.errors import HoldfastError

#: Up to which two numbers that other hardware worked out are the same.
_SAME = 1e-9

_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)")

#: What a page embeds, as base64: pictures, and the rows of all images.
_EMBEDDED = re.compile(r"[A-Za-z0-9+/]{120,}={0,2}")

#: Files that people read; the others are figures and pictures.
_TEXTS = (".html", ".csv", ".tex", ".json", ".md", ".svg")

#: Characters around a difference that are shown.
_AROUND = 30


def made_again(root: Path, manifest: Manifest, into: Path) -> Iterator[Finding]:
    """Make all that was made of the runs of a bundle, and compare it file by file.

    Args:
        root: of the bundle.
        manifest: of the bundle.
        into: an empty folder.
    """
    try:
        wrong = derive(root, manifest.runs, manifest.said, into)
    except HoldfastError as error:
        said = f"the report cannot be made of the runs again: {error}"
        yield contradicted(REPORT, "report", said)
        return
    if wrong is not None:
        yield contradicted(REPORT, "report", f"the runs contradict each other: {wrong}")
    made = set(files_in(into))
    there = {name for name in files_in(root) if _is_derived(name)}
    for name in files_in(root):
        if name not in there and not any(name.startswith(f"{run}/") for run in manifest.runs):
            yield contradicted(name, "runs", "it is of a run that the manifest does not name.")
    alike = _alike(manifest)
    right, other = 0, []
    for name in sorted(made | there):
        if name not in there:
            yield contradicted(name, "report", "it follows from the runs, and is missing.")
        elif name not in made:
            yield contradicted(name, "report", "it follows from none of the runs.")
        else:
            found = _compared(root / name, into / name)
            if found is None:
                right += 1
            elif alike or _is_certain(name, manifest):
                yield contradicted(name, "report", found)
            elif apart := _apart(name, root, into):  # whatever version is said to have made it
                yield contradicted(name, "report", apart)
            else:
                other.append(name)
    if right:
        yield holds(REPORT, "report", f"{right} files made of the runs are the same, made again.")
    if other:
        said = (
            f"{', '.join(other[:6])}{', ...' if len(other) > 6 else ''} made again differ, and "
            f"were made by other versions ({_versions_apart(manifest)}): verify with those."
        )
        yield unchecked(REPORT, "report", said)


def _versions_apart(manifest: Manifest) -> str:
    """What made a bundle and is another here."""
    then = manifest.made_by
    return "; ".join(
        f"{name} {then.get(name)}, here {now}"
        for name, now in versions().items()
        if now != then.get(name)
    )


def _is_derived(name: str) -> bool:
    return name in (STATEMENT, ENVIRONMENT) or name.startswith(f"{REPORT}/")


def _alike(manifest: Manifest) -> bool:
    """Whether what made the bundle is what is here, so that equal rows make equal files."""
    return dict(manifest.made_by) == versions()


def _is_certain(name: str, manifest: Manifest) -> bool:
    """Whether a file hangs on nothing but Holdfast's version and the rows."""
    same = manifest.made_by.get("holdfast") == versions()["holdfast"]
    return same and name.endswith((".csv", ".tex", ".json", ".md"))


def _apart(name: str, root: Path, into: Path) -> str | None:
    """Where a table or record says another number than the rows give; None if it does not."""
    try:
        return numbers_apart(name, *((folder / name).read_text("utf-8") for folder in (root, into)))
    except UnicodeDecodeError:
        return "it is no text."


def _compared(there: Path, made: Path) -> str | None:
    """Where two files differ, in a sentence; None if they do not."""
    one, other = there.read_bytes(), made.read_bytes()
    if one == other:
        return None
    if there.suffix == ".png":
        return None if _same_picture(one, other) else "it is another picture than the rows give."
    if there.suffix not in _TEXTS:
        return "it is another figure than the rows give."
    try:
        return _difference(one.decode(), other.decode())
    except UnicodeDecodeError:
        return "it is no text."


def _difference(there: str, made: str) -> str | None:
    """Where two texts differ by more than the rounding of a number; None where they do not."""
    mine, theirs = (_EMBEDDED.findall(text) for text in (made, there))
    there, made = (_EMBEDDED.sub("…", text) for text in (there, made))
    one, other = _NUMBER.split(there), _NUMBER.split(made)
    at = 0
    for first, second in zip(one, other, strict=False):
        if first != second and not _same_number(first, second):
            begin, end = max(0, at - _AROUND), at + len(first) + _AROUND
            place = " ".join(there[begin:end].split())
            if max(len(first), len(second)) > _AROUND:
                return f"its text is another than the rows give, at {place!r}."
            return f"it says {first!r} where the rows give {second!r}, at {place!r}."
        at += len(first)
    if len(one) != len(other):
        return "it is longer or shorter than what the rows give."
    if len(mine) != len(theirs) or not all(map(_same_block, theirs, mine)):
        return "what it embeds is not what the rows give: a picture, or the rows of its images."
    return None


def _same_number(one: str, other: str) -> bool:
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)) or one.isdigit():
        return False
    first, second = float(one), float(other)
    near = math.isclose(first, second, rel_tol=_SAME, abs_tol=1e-12)
    return math.isfinite(first) and near


def _same_block(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return _same_picture(base64.b64decode(one), base64.b64decode(other))
    except ValueError:
        return False


def _same_picture(one: bytes, other: bytes) -> bool:
    """Whether two files are one picture, however they are compressed."""
    try:
        files = (io.BytesIO(content) for content in (one, other))
        first, second = (Image.open(file, formats=FORMATS) for file in files)
        if (first.size, first.mode) != (second.size, second.mode):
            return False
        return bool(np.array_equal(np.asarray(first), np.asarray(second)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
