"""``holdfast certify``: a model, data and noise make certified radii."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holdfast import data as datasets
from holdfast.batch_size import BatchSize
from holdfast.certify.bounds.bound import round_down
from holdfast.certify.config import CertificationConfig
from holdfast.certify.result import Certification
from holdfast.certify.run import certify_data
from holdfast.checks import warn_of
from holdfast.cli.audit import as_json, believed, check_strict, told
from holdfast.cli.common import percent, print_json, print_table
from holdfast.cli.options import Number, Numbers, Share, Words
from holdfast.errors import InputError
from holdfast.metrics import accuracy_at
from holdfast.models import loading
from holdfast.models.external.library import read_otherwise
from holdfast.processes import Processes
from holdfast.progress import showing
from holdfast.summary import radius
from holdfast.workers import check_workers


def certify(
    *,
    model: str,
    sigma: Number,
    data: str = "digits",
    data_dir: Path | None = None,
    images: int | None = None,
    noise: str = "gaussian",
    votes: int = 100,
    selection_votes: int | None = None,
    confidence: Number = Number(0.95),
    bounds: Words = Words(("cohen",)),
    intervals: Words = Words(("two-sample",)),
    top: int = 1,
    radii: Numbers = Numbers(()),
    within: Number | None = None,
    between: Numbers | None = None,
    batch_size: BatchSize = 128,
    audit: Share = Share(0.15),
    strict: bool = False,
    seed: int = 0,
    accelerator: str = "auto",
    devices: int = 1,
    workers: int | str | None = None,
    out: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    r"""Certify a smoothed classifier, by votes over noise (Algorithm 1).

    Run the same command again after an interruption and it goes on where it stopped. Several bounds
    and intervals are read off the same votes.

    Example:
        holdfast certify --model runs/stn --sigma 0.3 --votes 1000 --out runs/cert
        holdfast certify --model runs/stn --sigma 0.3 --votes 100000 --confidence 0.999 \
            --bounds cohen,renyi --intervals sequential --radii 0.25,0.5 --out runs/early

    Args:
        model: Folder of a training run, a model.safetensors file, package.module:callable, a
            library's pretrained model such as "torchvision/resnet18(weights='DEFAULT')", or what
            builds the network with a file of its weights, "mynet:Net(weights=net.pth)" or
            "torchvision/resnet18(weights=net.pth)"; with layers in front if wanted,
            "binarise(threshold=0.5) | runs/net".
        sigma: Standard deviation of the noise, on the [0, 1] scale.
        data: Data set (`holdfast list`), with parameters if wanted, such as
            "imagenet(resize=342, crop=299)", or the path of an image folder.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        images: Number of test images, the first ones or, of a folder, evenly spaced ones.
        noise: gaussian, which certifies in l2, or laplace, in l1, both on the image;
            first-layer, Gaussian behind the network's first layer, a convolution or linear one:
            sigma is then on the scale of its output, and radii are divided by a proven bound of
            its Lipschitz constant; or sound-gaussian, Gaussian on 8-bit images and rounded to their
            levels, which is drawn without rounding errors.
        votes: Votes for each image; with --intervals sequential or input-specific, the most.
        selection_votes: Votes before those which only choose the class, for the intervals
            two-sample, two-sample-randomised, sequential and input-specific, where 500 are better;
            there 100 by default.
        confidence: Confidence of each certificate.
        bounds: How limits become a radius, specs between commas: cohen, which is tight, or the
            papers' renyi, pixeldp; laplace. The first is the one that the summary of a report
            shows.
        intervals: How votes become limits, specs between commas: two-sample, which
            corrects for nothing since its class is chosen before, two-sample-randomised, which
            certifies a little more by one draw of chance an image, clopper-pearson, hoeffding (of
            mean scores), sison-glaz and stn-2019 (for comparison only); or sequential alone, whose
            votes stop as soon as the answer is known, or input-specific alone, with as many votes
            as an image is likely to need by its selection votes.
        top: Certify that the label is among so many classes of the smoothed classifier, such as 5,
            by cohen and the intervals two-sample, by the label's votes alone, or clopper-pearson,
            by those of the other classes too, which certifies more where votes are many.
        radii: Radii of interest between commas: certified accuracy is told there, and sequential
            votes stop as soon as it is known which of them are certified.
        within: Sequential votes stop as soon as the radius is known up to this factor, such as 0.9:
            it is at least that fraction of what more votes would prove, with a confidence of its
            own that is --confidence as well.
        between: Two radii, such as 0.25,1.5, for --within: one beyond counts as the nearer of them.
        batch_size: Noisy copies in one forward pass; on a GPU more are faster. auto is as many as
            half of free memory holds.
        audit: Passes that the audit of the result may take, over those of the votes: a number, full
            for no limit, or off. It says whether the certified accuracies can be believed.
        strict: End with exit code 3 unless the audit finds the certified accuracies believable.
        seed: Of the noise.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        devices: Processes, one for each device, that share the images; they need --out.
        workers: Processes of this machine that share the images, each with a GPU if there are as
            many; or the address of a Ray cluster, ray://host:10001, whose workers do. They need
            holdfast[ray], and take more images as they are done with some.
        out: Folder to keep the run in, for holdfast report; nothing is kept without it.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    check_workers(workers)
    if devices > 1 and workers is not None:
        raise InputError("--workers and --devices both share out the images: give one of them.")
    config = CertificationConfig(
        sigma=sigma,
        noise=noise,
        votes=votes,
        **({} if selection_votes is None else {"selection_votes": selection_votes}),
        confidence=confidence,
        bounds=tuple(bounds),
        intervals=tuple(intervals),
        top=top,
        radii=tuple(radii),
        within=within,
        between=None if between is None else tuple(between),
        seed=seed,
        batch_size=batch_size,
        audit=audit,
    )
    check_strict(strict, audit)
    if selection_votes is not None and top > 1:
        raise InputError(
            "--selection-votes choose a class, and with --top that is the label: leave them out."
        )
    if selection_votes is not None and not config.chooses:
        raise InputError(
            "--selection-votes choose the class for the intervals two-sample, "
            "two-sample-randomised, sequential and input-specific, and --intervals is "
            f"{intervals}: leave them out."
        )
    if devices > 1 and out is None:
        raise InputError("several processes share one run folder: say by --out where it is.")
    pictures = datasets.load(data, data_dir=data_dir, limit=images)
    network = loading.load(model, pictures.shape)
    warn_of(read_otherwise(network, pictures))
    fabric = Processes(devices=devices).launch(accelerator, "32-true")
    network = network.to(fabric.device)
    loud = not quiet and fabric.is_global_zero
    with showing(loud) as progress:
        found = certify_data(network, pictures, config, model, out, progress, fabric, workers)
    if not fabric.is_global_zero:
        return
    if json:
        told_too = {"warnings": found.warnings, **as_json(found.audit)}
        print_json({"cells": found.cells, **told_too})
    else:
        _print(model, found, config)
    if strict:
        believed(found.audit)


def _print(model: str, found: Certification, config: CertificationConfig) -> None:
    """The word of the audit, and certified accuracy over the radius.

    A table for each interval, with a column for each bound.
    """
    cells = found.cells
    print(told(found.audit))
    farthest = max(cell["curve"][-1][0] for cell in cells)
    radii = config.radii or np.unique(round_down(np.linspace(0, farthest, 9), decimals=3))
    name = f"{config.norm} radius"
    among = f" top-{config.top}" if config.top > 1 else ""
    for interval in config.intervals:
        columns = [cell for cell in cells if cell["interval"] == interval]
        print_table(
            f"{model} with {config.noise} noise of {config.sigma:g}: certified{among} accuracy, "
            f"{interval}",
            [
                {name: "abstained", **_line(columns, lambda cell: cell["abstained"])},
                {name: "any", **_line(columns, lambda cell: cell["accuracy"])},
                *(
                    {
                        name: radius(r, digits=10),
                        **_line(columns, lambda cell, r=r: accuracy_at(cell["curve"], r)),
                    }
                    for r in radii
                ),
            ],
        )
    if config.own_votes:
        votes = cells[0]["forwards"] / cells[0]["images"]
        most = config.selection_votes + config.votes
        print(f"{votes:.0f} votes for an image on average, of at most {most}")


def _line(cells: Sequence[dict[str, Any]], value: Any) -> dict[str, str]:
    return {cell["bound"]: percent(value(cell)) for cell in cells}
