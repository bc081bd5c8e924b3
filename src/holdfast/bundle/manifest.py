"""The manifest of a bundle: the checksum of each file, and what no run knows of itself.

Whoever signs the manifest, or publishes its checksum, has said all that the bundle says.
"""

import hashlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from holdfast.bundle.finding import Finding, contradicted, holds
from holdfast.errors import DamagedFileError
from holdfast.files import read_json, write_json

MANIFEST = "manifest.json"

#: What a manifest holds and how.
FORMAT = 1

#: What the page, its figures and the rounding of its numbers may hang on, beside Holdfast.
_PACKAGES = ("holdfast", "matplotlib", "numpy", "pandas", "pillow", "scipy", "jinja2")

#: Bytes of a file that are read at a time.
_AT_ONCE = 2**20


@dataclass(frozen=True, kw_only=True)
class Said:
    """What no run knows, and a test report says all the same; None where nobody said it."""

    title: str = "Robustness report"
    laboratory: str | None = None
    customer: str | None = None
    authorised_by: str | None = None
    issued: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        runs: folders of the runs, as they were given, below the bundle's.
        said: what no run knows.
        files: SHA-256 of each file, by its name; of all but the manifest.
        made_by: versions of what made the page and its figures.
    """

    runs: list[str]
    said: Said
    files: Mapping[str, str]
    made_by: Mapping[str, str] = field(default_factory=lambda: versions())

    @classmethod
    def of(cls, root: Path, runs: list[str], said: Said) -> "Manifest":
        """Of what a folder holds."""
        return cls(runs, said, {name: checksum(root / name) for name in files_in(root)})

    @classmethod
    def read(cls, root: Path) -> "Manifest":
        """That of a bundle.

        Raises:
            MissingFileError, DamagedFileError: if there is none, or it is not what a bundle's is.
        """
        path = root / MANIFEST
        found = read_json(path)
        runs, said, files = (found.get(name) for name in ("runs", "said", "files"))
        known = {one.name for one in fields(Said)}
        if found.get("bundle") != FORMAT:
            raise _damaged(f"bundle is {found.get('bundle')!r:.60}, but must be {FORMAT}")
        if not (isinstance(runs, list) and runs and all(map(_is_inside, runs))):
            raise _damaged("runs must be a list of folders of the bundle, at least one")
        if not (isinstance(said, dict) and said.keys() <= known and _texts(said)):
            raise _damaged(f"said must hold texts, of {', '.join(sorted(known))}")
        if not (isinstance(files, dict) and all(isinstance(one, str) for one in files.values())):
            raise _damaged("files must hold the SHA-256 of each file")
        made_by = found.get("made_by")
        if not (isinstance(made_by, dict) and all(isinstance(v, str) for v in made_by.values())):
            raise _damaged("made_by must hold versions")
        return cls(runs, Said(**said), files, made_by)

    def write(self, root: Path) -> None:
        """Write it into the folder that it is of."""
        write_json(
            root / MANIFEST,
            {
                "bundle": FORMAT,
                "about": "SHA-256 of each file. It claims conformity with no standard.",
                "said": asdict(self.said),
                "runs": self.runs,
                "made_by": dict(self.made_by),
                "files": dict(self.files),
            },
        )

    def checked(self, root: Path) -> Iterator[Finding]:
        """Hold the files against their checksums."""
        there = set(files_in(root))
        wrong = 0
        for name in sorted(there | self.files.keys()):
            if name not in there:
                said = "it is in the manifest, and missing."
            elif name not in self.files:
                said = "it is in the bundle, and not in the manifest."
            elif checksum(root / name) != self.files[name]:
                said = "its SHA-256 is not that of the manifest: it was changed."
            else:
                continue
            wrong += 1
            yield contradicted(name, "checksum", said)
        if not wrong:
            yield holds(MANIFEST, "checksums", f"{len(there)} files have their SHA-256.")


def versions() -> dict[str, str]:
    """Of what makes the page and its figures, and the kind of machine."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


def files_in(root: Path) -> list[str]:
    """The files of a bundle but the manifest, by their names, sorted."""
    every = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in every if name != MANIFEST)


def checksum(path: Path) -> str:
    """SHA-256 of a file, of any size."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            found.update(part)
    return found.hexdigest()


def _is_inside(run: object) -> bool:
    """Whether the name of a folder is one that cannot lead out of the bundle."""
    if not isinstance(run, str) or not run or "\\" in run or ":" in run or "\0" in run:
        return False
    return all(part not in ("", ".", "..") for part in run.split("/"))


def _texts(said: Mapping[str, Any]) -> bool:
    return all(value is None or isinstance(value, str) for value in said.values())


def _damaged(what: str) -> DamagedFileError:
    return DamagedFileError(
        f"{MANIFEST} is not what a bundle's is: {what}; ask for another copy of the bundle."
    )
