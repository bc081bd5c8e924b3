"""``holdfast verify``: whether what a bundle or a run says follows from what is in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast import data as datasets
from holdfast.bundle.finding import Verdict
from holdfast.bundle.verification import PASSES, Asked, Verification, verify_with
from holdfast.cli.common import device, print_json
from holdfast.cli.options import Number, Words
from holdfast.data import Data
from holdfast.errors import ContradictionError, InputError, MissingFileError
from holdfast.models import loading
from holdfast.progress import showing

#: How verdicts are shown, contradictions first.
_ORDER = (Verdict.CONTRADICTED, Verdict.UNCHECKED, Verdict.HOLDS)


def verify(
    what: list[Path],
    *,
    model: Words = Words(()),
    data: str | None = None,
    data_dir: Path | None = None,
    manifest: str | None = None,
    passes: Number | None = None,
    accelerator: str = "auto",
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Find out whether what a bundle or a run says follows from what is in it.

    Without a model every number of run.json and of the report is worked out again from the rows,
    certificates from their votes, and the images that were kept are measured. With the model it is
    asked again: about all clean images, about the adversarial ones that were kept, and for the
    votes. What could not be checked is said, with the reason. The exit code is 3 if anything is
    contradicted.

    Example:
        holdfast verify study.zip
        holdfast verify study.zip --model runs/net
        holdfast verify study.zip --manifest \
            2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        holdfast verify runs/eval --json

    Args:
        what: Bundles, or folders of runs.
        model: The networks that the runs are about, between commas, as of holdfast evaluate; no
            model is loaded that only the bundle names.
        data: Their data set, if it has another name here than in the runs.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        manifest: SHA-256 of the bundle's manifest, as its author gave it.
        passes: Passes that drawing votes again may take, for each certification; inf for all votes.
            200000 by default.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        json: Print one JSON object and nothing else.
        quiet: Show no progress, and of what holds only how much.
    """
    for option, given in (
        ("--data", data),
        ("--data-dir", data_dir),
        ("--passes", passes),
        ("--accelerator", None if accelerator == "auto" else accelerator),
    ):
        if given is not None and not model:
            raise InputError(
                f"{option} is about asking the model again, and none is given: give --model, or "
                "leave it out."
            )
    if passes is not None and not passes >= 0:
        raise InputError(f"--passes is {passes:g}, but must be at least 0.")
    for path in what:
        if not path.exists():
            raise MissingFileError(f"there is no {path}: give a bundle, or the folder of a run.")
    if manifest is not None and len(what) > 1:
        raise InputError("--manifest is that of one bundle, and several are given: verify each.")

    def images(settings: Mapping[str, Any]) -> Data:
        name = data or settings["data"]
        return datasets.load(name, data_dir=data_dir, limit=settings["images"])

    networks = [loading.load(name).to(device(accelerator)) for name in model]
    with showing(not quiet and bool(networks)) as progress:
        asked = Asked(networks, images, PASSES if passes is None else passes, progress)
        found = [verify_with(path, asked, manifest=manifest) for path in what]
    if json:
        print_json({"verified": [one.record() for one in found]})
    else:
        for one in found:
            _print(one, quiet)
    for one in found:
        if one.contradictions:
            raise ContradictionError(f"{one.path}: {one.sentence}")


def _print(found: Verification, quiet: bool) -> None:
    print(f"{found.path}: {found.sentence}")
    if found.manifest is not None:
        print(f"SHA-256 of the manifest: {found.manifest}")
    for verdict in _ORDER:
        some = found.of(verdict)
        if quiet and verdict is Verdict.HOLDS:
            continue
        if some:
            print(f"\n{verdict}:")
        for finding in some:
            print(f"  {finding.where}, {finding.what}: {finding.said}")
