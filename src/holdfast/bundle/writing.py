"""Write a bundle: runs, and what is made of them, in one file."""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.bundle.archive import write_archive
from holdfast.bundle.contents import copied
from holdfast.bundle.derived import derive
from holdfast.bundle.manifest import MANIFEST, Manifest, Said, checksum, files_in
from holdfast.bundle.same import short
from holdfast.errors import InputError, InputTypeError, OutputError
from holdfast.files import StrPath, as_path, check_path, check_writable, clear_unfinished
from holdfast.parameters import check_arguments

__all__ = ["write_bundle"]


def write_bundle(
    runs: Sequence[StrPath],
    out: StrPath,
    *,
    title: str = "Robustness report",
    laboratory: str | None = None,
    customer: str | None = None,
    authorised_by: str | None = None,
    issued: str | None = None,
) -> str:
    """Write finished runs, and the report that is made of them, into one zip file.

    The same runs, given by the same paths, make the same bytes.

    Args:
        runs: folders of evaluations, certifications and studies, with the trainings of their
            networks and diagnoses of them if wanted.
        out: the zip file; one that is there is not overwritten.
        title: of the report.
        laboratory: name and address of who ran them.
        customer: name and contact of who asked for them.
        authorised_by: who authorises the report.
        issued: the date of its issue.

    Returns:
        The SHA-256 of the manifest, for a signature.

    Raises:
        MissingFileError, DamagedFileError: if a folder holds no run, or not what one writes.
        InputError: if a run is not finished, or no report can be made of these.
        InputTypeError: if an argument is not of the type that it must be.
        OutputError: if the file is there, or cannot be written.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.bundle import write_bundle
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> len(write_bundle(["run"], "study.zip", customer="who asked"))
        64
    """
    if isinstance(runs, str | PathLike):
        raise InputTypeError(
            f"runs is {short(runs)}, but must be a list of folders; give [{short(runs)}]."
        )
    check_arguments(write_bundle, locals())
    runs, out = [as_path(run) for run in runs], as_path(out)
    if not runs:
        raise InputError("there is no run; name the folder of at least one.")
    said = Said(
        title=title,
        laboratory=laboratory,
        customer=customer,
        authorised_by=authorised_by,
        issued=issued,
    )
    _check_out(out)
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        names = copied([Path(run) for run in runs], root)
        wrong = derive(root, names, said, root)
        Manifest.of(root, names, said).write(root)
        manifest = checksum(root / MANIFEST)
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_archive(out, {name: root / name for name in (MANIFEST, *files_in(root))})
        except FileExistsError as error:
            raise _there(out) from error
        clear_unfinished(out.parent, out.name)  # whoever made it, no other can any more
    if wrong is not None:
        warnings.warn(f"the report contradicts itself, and says so: {wrong}", stacklevel=2)
    return manifest


def _check_out(out: Path) -> None:
    check_path(out.parent / f".{out.name}.01234567.tmp")  # which it is written as first
    if out.exists() or out.is_symlink():
        clear_unfinished(out.parent, out.name)
        raise _there(out)
    if not out.name:
        raise InputError(f"{out} names no file; give one, such as study.zip.")
    check_writable(out.parent)


def _there(out: Path) -> OutputError:
    return OutputError(f"{out} is there, and is not overwritten; give another --out.")
