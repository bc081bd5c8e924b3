"""``holdfast certify``: a model, data and noise make certified radii."""

import tempfile
from pathlib import Path

import numpy as np

from holdfast import data as datasets
from holdfast.certification import Certification, certify_data
from holdfast.certify.bound import round_down
from holdfast.cli.common import device, percent, print_json, print_table
from holdfast.metrics import accuracy_at
from holdfast.models import loading
from holdfast.progress import showing


def certify(
    *,
    model: str,
    sigma: float,
    data: str = "digits",
    data_dir: Path | None = None,
    limit: int | None = None,
    n: int = 100,
    confidence: float = 0.95,
    bound: str = "renyi",
    interval: str = "clopper-pearson",
    batch_size: int = 128,
    seed: int = 0,
    accelerator: str = "auto",
    out: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Certify a model's vote over Gaussian noise (Algorithm 1).

    Run the same command again after an interruption and it goes on where it stopped.

    Args:
        model: Folder of a training run, a model.safetensors file, package.module:callable, or a
            library's pretrained model such as "torchvision/resnet18(weights='DEFAULT')".
        sigma: Standard deviation of the noise, on the [0, 1] scale.
        data: Data set by name (`holdfast list`), or the path of an image folder.
        data_dir: Folder with the files of named data sets; else HOLDFAST_DATA.
        limit: Number of test images, the first ones or, of a folder, evenly spaced ones.
        n: Votes for each image.
        confidence: Confidence of each certificate.
        bound: How votes become a radius: renyi, cohen or pixeldp.
        interval: How votes become confidence limits: clopper-pearson.
        batch_size: Noisy images in one forward pass; on a GPU more are faster.
        seed: Of the noise.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        out: Folder to keep the run in, for holdfast report; nothing is kept without it.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    how = Certification(
        sigma=sigma,
        n=n,
        confidence=confidence,
        bound=bound,
        interval=interval,
        seed=seed,
        batch_size=batch_size,
    )
    images = datasets.load(data, data_dir=data_dir, limit=limit)
    network = loading.load(model).to(device(accelerator))
    settings = {"model": model, "data": data, "limit": limit}
    with tempfile.TemporaryDirectory() as temporary, showing(not quiet) as progress:
        folder = out or Path(temporary) / "run"
        cells = certify_data(network, images, how, settings, folder, progress)
    if json:
        print_json({"cells": cells})
        return
    for cell in cells:
        farthest = cell["curve"][-1][0]
        radii = round_down(np.linspace(0, farthest, 9), decimals=3)
        print_table(
            f"{model} with noise of {sigma:g}: accuracy {percent(cell['accuracy'])}, abstained "
            f"{percent(cell['abstained'])}",
            [
                {
                    "l2 radius": f"{radius:.3f}",
                    "certified accuracy": percent(accuracy_at(cell["curve"], radius)),
                }
                for radius in radii
            ],
        )
