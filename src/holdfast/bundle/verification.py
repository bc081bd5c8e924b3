"""Whether what a bundle, or a run, says can be found in it again."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from torch.nn import Module

from holdfast.bundle.archive import unpacked
from holdfast.bundle.asked import attacked_again, voted_again
from holdfast.bundle.finding import Finding, Verdict, contradicted, holds, unchecked
from holdfast.bundle.given import same_labels, same_lengths, same_model
from holdfast.bundle.kept import of_images
from holdfast.bundle.manifest import MANIFEST, Manifest, checksum
from holdfast.bundle.page import made_again
from holdfast.bundle.rows import of_certification, of_evaluation, read_run
from holdfast.bundle.same import short
from holdfast.bundle.settings import of_attacks, untold
from holdfast.certify.smoothing import named_noise
from holdfast.data import Data
from holdfast.defenses.smoothed import noise_of
from holdfast.errors import (
    DamagedFileError,
    HoldfastError,
    InputError,
    InputTypeError,
    LaterVersionError,
    MissingFileError,
    kind_of,
)
from holdfast.files import StrPath, as_path, check_path
from holdfast.parameters import check
from holdfast.progress import Progress, silent
from holdfast.results import ROWS, read_about, runs_in
from holdfast.summary import Summary
from holdfast.tensors import fingerprint
from holdfast.types import Model

__all__ = ["Verification", "verify"]

#: Passes that drawing votes again may take by default.
PASSES = 200_000

_MEASURED = ("evaluate", "certify")


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    Attributes:
        path: of the bundle, or of the run.
        manifest: SHA-256 of the bundle's manifest; None of a run folder.
        findings: of everything that was looked at, in that order.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.bundle import verify
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> found = verify("run")
        >>> found.contradictions, found.sentence.partition(":")[0]
        ([], 'nothing is contradicted')
    """

    path: str
    manifest: str | None
    findings: Sequence[Finding]

    @property
    def contradictions(self) -> list[Finding]:
        """What is said and is not so."""
        return self.of(Verdict.CONTRADICTED)

    @property
    def unchecked(self) -> list[Finding]:
        """What could not be checked, and why."""
        return self.of(Verdict.UNCHECKED)

    def of(self, verdict: Verdict) -> list[Finding]:
        """The findings of one verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    @property
    def sentence(self) -> str:
        """Whether anything is contradicted, and the first that is."""
        held, left = len(self.of(Verdict.HOLDS)), len(self.unchecked)
        if wrong := self.contradictions:
            first = f"{wrong[0].where}: {wrong[0].said.rstrip('.')}"
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            return f"contradicted: {first}{more}."
        return f"nothing is contradicted: {held} findings hold, {left} could not be checked."

    def summary(self) -> str:
        """A line for each finding, contradictions first."""
        lines = [
            {
                "verdict": str(finding.verdict),
                "where": finding.where,
                "what": finding.what,
                "found": finding.said,
            }
            for verdict in (Verdict.CONTRADICTED, Verdict.UNCHECKED, Verdict.HOLDS)
            for finding in self.of(verdict)
        ]
        return str(Summary(self.sentence, lines))

    def record(self) -> dict[str, Any]:
        """As ``--json`` has it."""
        return {
            "path": self.path,
            "manifest_sha256": self.manifest,
            "contradicted": bool(self.contradictions),
            "sentence": self.sentence,
            "findings": [finding.record() for finding in self.findings],
        }


@dataclass(frozen=True)
class Asked:
    """What is to be asked again.

    Attributes:
        models: networks without noise in front, on the device that is to do the work.
        data: the images of a run, by the name and number that it recorded.
        passes: forward passes that drawing votes again may take.
        progress: told about every batch.
    """

    models: Sequence[Model]
    data: Any
    passes: float
    progress: Progress


def verify(
    path: StrPath,
    *,
    models: Sequence[Model] = (),
    data: Data | None = None,
    manifest: str | None = None,
    passes: float = PASSES,
    progress: Progress = silent,
) -> Verification:
    """Find out whether what a bundle or a run folder says follows from what is in it.

    Without a model: checksums, every number of run.json and of the report from the rows,
    certificates from their votes, kept images from their boxes and balls. With the models: what
    they say of the clean images and of the adversarial ones that were kept, and votes by the run's
    own draws. What is no contradiction and could not be checked is told, with the reason.

    Args:
        path: of a bundle, or of a run folder.
        models: those that the runs are about, without noise in front of them.
        data: their images; needed with models, and of no use without.
        manifest: the SHA-256 that the bundle's manifest must have, as its author gave it.
        passes: forward passes that drawing votes again may take for each certification.
        progress: told about every batch.

    Raises:
        MissingFileError, DamagedFileError, InputError: if there is nothing to verify: no such file,
            no bundle, or a zip file that may not be unpacked; or if an argument is not what it
            must be.
        LaterVersionError: if a run is of a later version, in a format that this one does not know.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.bundle import verify
        >>> from holdfast.data import Data
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> found = verify("run", models=[model], data=Data.of(x, y))
        >>> found.contradictions
        []
    """
    _check_given(models, data)
    check("passes", passes, float)
    if passes < 0:
        raise InputError(f"passes is {passes}, but must be at least 0; inf draws all votes again.")
    if models and data is None:
        raise InputError("models are given and no data: a model is asked about images, give both.")
    if data is not None and not models:
        raise InputError(
            "data are given and no models: images are of use only for asking a model again, give "
            "both or neither."
        )
    return verify_with(
        path, Asked(models, lambda settings: data, passes, progress), manifest=manifest
    )


def verify_with(path: StrPath, asked: Asked, *, manifest: str | None = None) -> Verification:
    """As `verify`, with images that are loaded for each run."""
    path = as_path(path)
    check_path(path)
    if path.is_dir():
        if manifest is not None:
            raise InputError(
                f"{path} is a folder, and a manifest's SHA-256 is that of a bundle: leave it out."
            )
        found = list(_of_runs([(run, run.as_posix()) for run in runs_in(path)], asked))
        return Verification(str(path), None, found)
    _check_manifest(manifest)
    with unpacked(path) as root:
        if not (root / MANIFEST).exists():
            raise MissingFileError(
                f"{path} is no bundle of Holdfast: there is no {MANIFEST} in it."
            )
        sha256 = checksum(root / MANIFEST)
        try:
            found = list(_of_bundle(root, sha256, manifest, asked))
        except LaterVersionError as error:
            raise LaterVersionError(_without(root, str(error))) from error
    return Verification(str(path), sha256, found)


def _check_given(models: object, data: object) -> None:
    """Models in a list, and images as a data set.

    Raises:
        InputTypeError: if they are not.
    """
    if isinstance(models, Module):
        raise InputTypeError(
            f"models is {kind_of(models)}, but must be a list of models; give models=[model]."
        )
    check("models", models, Sequence[Model])
    if data is not None and not isinstance(data, Data):
        raise InputTypeError(
            f"data is {kind_of(data)}, but must be a holdfast.data.Data; give Data.of(x, y)."
        )


def _check_manifest(sha256: object) -> None:
    """What is no checksum at all contradicts nothing.

    Raises:
        InputTypeError: if it is no text.
        InputError: if it is no SHA-256.
    """
    check("manifest", sha256, str | None)
    if isinstance(sha256, str) and not re.fullmatch("[0-9a-fA-F]{64}", sha256.strip()):
        raise InputError(
            f"manifest is {short(sha256)}, but a SHA-256 has 64 digits from 0 to f; give the one "
            "that holdfast bundle printed."
        )


def _of_bundle(root: Path, sha256: str, expected: str | None, asked: Asked) -> Iterator[Finding]:
    if expected is None:
        said = "not known: compare its SHA-256 with the one that its author gave, or signed."
        yield unchecked(MANIFEST, "origin", said)
    elif expected.strip().lower() != sha256:
        said = f"its SHA-256 is {sha256}, and the one that was given is {expected.strip()}."
        yield contradicted(MANIFEST, "origin", said)
    else:
        yield holds(MANIFEST, "origin", "its SHA-256 is the one that was given.")
    manifest = Manifest.read(root)
    yield from manifest.checked(root)
    runs = []
    for name in manifest.runs:
        try:
            mine = [(one, one.relative_to(root).as_posix()) for one in runs_in(root / name)]
        except LaterVersionError:
            raise
        except HoldfastError as error:
            yield contradicted(name, "run", _without(root, str(error)))
            continue
        runs += mine
    for finding in _of_runs(runs, asked):
        yield finding._replace(said=_without(root, finding.said))
    with TemporaryDirectory() as folder:
        for finding in made_again(root, manifest, Path(folder)):
            yield finding._replace(said=_without(root, finding.said))


def _of_runs(runs: Sequence[tuple[Path, str]], asked: Asked) -> Iterator[Finding]:
    met: set[str] = set()
    for run, where in runs:
        try:
            yield from _of_run(run, where, asked, met)
        except LaterVersionError:  # what its numbers mean is not known, and contradicts nothing
            raise
        except (DamagedFileError, MissingFileError, InputError) as error:
            yield contradicted(where, "run", str(error))
    for model in asked.models:
        if (mine := fingerprint(model)) not in met:
            said = f"none of the runs is about the model that was given, whose weights are {mine}."
            yield contradicted("model", "model", said)


def _of_run(run: Path, where: str, asked: Asked, met: set[str]) -> Iterator[Finding]:
    kind = read_about(run)["kind"]
    if kind not in _MEASURED:
        said = f"a run of holdfast {kind}: what it says rests on no rows that tell of it again."
        yield unchecked(where, "run", said)
        return
    about, rows, found = read_run(run, where)
    yield from found
    name = about["settings"]["model_fingerprint"]
    model = next((one for one in asked.models if fingerprint(one) == name), None)
    met.add(name)
    if kind == "evaluate":
        yield from of_evaluation(about, rows, where)
        yield from of_attacks(about, rows, where)
        yield from of_images(run, about, rows, where)
    yield from untold(about, model is not None, where)
    lipschitz = None
    if model is None:
        if kind == "certify":
            yield from of_certification(about, rows, where)
        said = (
            "what the model says of the images, by which rows could have been edited together with "
            "their digests: it was not given."
        )
        yield unchecked(f"{where}/{ROWS}", "answers", said)
        return
    data: Data = asked.data(about["settings"])
    if kind == "certify":
        settings = about["settings"]
        family = named_noise(settings.get("noise", "gaussian"))
        lipschitz = family.around(model, settings["sigma"], data.shape).lipschitz
        yield from of_certification(about, rows, where, lipschitz)
    yield from _asked_again(run, about, rows, model, data, where, asked)


def _asked_again(
    run: Path,
    about: Mapping[str, Any],
    rows: pd.DataFrame,
    model: Model,
    data: Data,
    where: str,
    asked: Asked,
) -> Iterator[Finding]:
    settings = about["settings"]
    noisy = about["kind"] == "evaluate" and settings.get("sigma") is not None
    if noisy and noise_of(model) is None:  # put in front by --sigma
        family = named_noise(settings.get("noise", "gaussian"))
        model = family.around(model, settings["sigma"], data.shape).model
    identity = list(same_model(about, model, data, where))
    yield from identity
    if any(finding.what == "data" for finding in identity):
        return  # others are answered otherwise
    yield from same_labels(rows, data, where)
    yield from same_lengths(rows, data, where)
    if about["kind"] == "certify":
        yield from voted_again(about, rows, model, data, where, asked.passes, asked.progress)
    else:
        yield from attacked_again(run, about, rows, model, data, where, asked.progress)


def _without(root: Path, text: str) -> str:
    """A sentence without the folder that a bundle was unpacked to for a moment."""
    for folder in (root.resolve(), root):
        text = text.replace(f"{folder}/", "")
    return text
