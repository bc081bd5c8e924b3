"""``holdfast audit``: whether robust and certified accuracies of finished runs can be believed."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from holdfast import data as datasets
from holdfast.attacks import Attack
from holdfast.auditing.check import Verdict
from holdfast.certify.audits import audit_certificates
from holdfast.certify.smoothing import named_noise
from holdfast.cli import registry
from holdfast.cli.common import device, print_json, print_table
from holdfast.cli.options import Share
from holdfast.errors import AuditError, HoldfastError, InputError, MissingFileError
from holdfast.evaluation import Audit, audit_run
from holdfast.models import loading
from holdfast.progress import showing
from holdfast.results import read_about, runs_in


def audit(
    runs: list[Path],
    *,
    model: str | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    audit: Share = Share.of("full"),
    strict: bool = False,
    accelerator: str = "auto",
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Say whether finished evaluations and certifications can be believed.

    What a run wrote is checked, and its model is loaded and asked again. The folders stay as they
    are. Both are audited as they are made, within 15 % of their passes; here there is no limit.
    Certificates are worked out again from their votes, counted again, and attacked within
    their radii; evaluations of the same smoothed classifier that stand beside them are compared.

    Example:
        holdfast audit runs/eval
        holdfast audit runs/cert runs/smoothed-eval
        holdfast audit runs/eval --strict --json

    Args:
        runs: Folders written by holdfast evaluate or certify; of a study, all of its runs.
        model: Where the model is now, if not where it was; otherwise as of holdfast evaluate.
        data: Name of the data set now, if it has another one.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        audit: Passes that the audit may take, over those of the attacks or votes: a number, or
            full for no limit.
        strict: End with exit code 3 unless all are believable.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    found: dict[str, Audit] = {}
    folders = [run for given in runs for run in runs_in(given)]
    kinds = {folder: _kind(folder) for folder in folders}
    for folder in folders:
        settings = read_about(folder)["settings"]
        pictures = datasets.load(
            data or settings.get("data", ""),
            data_dir=data_dir,
            limit=settings.get("images"),
        )
        network = loading.load(model) if model else _network(folder, settings.get("model", ""))
        with showing(not quiet) as progress:
            if kinds[folder] == "certify":
                one = audit_certificates(
                    folder,
                    network.to(device(accelerator)),
                    pictures,
                    beside=[other for other in folders if kinds[other] == "evaluate"],
                    share=audit,
                    progress=progress,
                )
            else:
                if settings.get("sigma") is not None:
                    family = named_noise(settings.get("noise", "gaussian"))
                    network = family.around(network, settings["sigma"], pictures.shape).model
                one = audit_run(
                    folder,
                    network.to(device(accelerator)),
                    pictures,
                    list(_attacks(read_about(folder))),
                    share=audit,
                    progress=progress,
                )
        found[str(folder)] = one
        if not json:
            _print(str(folder), one)  # at once: it stays where a later run cannot be audited
    if json:
        print_json({"runs": {path: as_json(one) for path, one in found.items()}})
    if strict:
        for one in found.values():
            believed(one)


def as_json(audit: Audit | None) -> dict[str, Any]:
    """What ``--json`` says of an audit."""
    if audit is None:
        return {"verdict": None, "audit": None}
    return {"verdict": audit.word, "audit": audit.record()}


def told(audit: Audit | None) -> str:
    """An audit in a line of the terminal."""
    if audit is None:
        return "not audited: holdfast audit RUN says whether this can be believed."
    return audit.sentence


def check_strict(strict: bool, audit: float) -> None:
    """See that there is an audit for --strict to ask.

    Raises:
        InputError: if not.
    """
    if strict and not audit:
        raise InputError("--strict asks what the audit says, and --audit off leaves it out.")


def believed(audit: Audit | None) -> None:
    """See, for --strict, that an audit believes the numbers.

    Raises:
        AuditError: if it does not, or there is none.
    """
    if audit is None:
        raise AuditError("the run was finished without an audit; holdfast audit RUN makes one.")
    if audit.word != "believable":
        raise AuditError(audit.sentence)


def _print(folder: str, audit: Audit) -> None:
    print(audit.sentence)
    print_table(
        f"{folder}, {audit.about}; {audit.passes} passes",
        [
            {
                "check": check.id,
                "verdict": str(check.verdict),
                "value": None if check.value is None else float(f"{check.value:.3g}"),
                "limit": float(check.threshold),
                "found": check.said,
            }
            for verdict in (Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.NOT_RUN)
            for check in audit.of(verdict)
        ],
    )


def _kind(folder: Path) -> str:
    """Whether a folder holds an evaluation or a certification.

    Raises:
        InputError: if it holds another run.
    """
    kind = str(read_about(folder)["kind"])
    if kind not in ("evaluate", "certify"):
        raise InputError(
            f"{folder} is a run of holdfast {kind}, and an audit is of evaluations and "
            "certifications: give the folder that one of these wrote."
        )
    return kind


def _network(folder: Path, name: str) -> nn.Module:
    """The model that a run names.

    Raises:
        MissingFileError: if it is not there any more, or not from here.
    """
    try:
        return loading.load(name)
    except MissingFileError as error:
        if Path(name).exists():
            raise  # a file in it is missing
        raise MissingFileError(
            f"{folder} is of the model {name}, which is not there; say by --model where it is now."
        ) from error


def _attacks(about: dict[str, Any]) -> Iterator[tuple[str, Attack]]:
    """The attacks of a run by their names, as far as these are what was typed."""
    for cell in about.get("cells", ()):
        try:
            eps = math.inf if cell["eps"] is None else cell["eps"]
            ball = registry.threat(cell["norm"], eps)
            yield cell["attack"], registry.attack(cell["attack"], ball)
        except HoldfastError:  # crafted on another model, say
            continue
