"""Diagnose into a run folder: what a chain does to an attacked image, as a table and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.data import Data
from holdfast.diagnose.purification import purification
from holdfast.errors import DamagedFileError, InputError
from holdfast.files import StrPath, read_tensors, write_table, write_tensors
from holdfast.models.identity import identify
from holdfast.parameters import Seed, check_arguments, check_title
from holdfast.progress import Progress, silent
from holdfast.results import Run, kept_or_temporary
from holdfast.results.reading import read_csv
from holdfast.tensors import device_of
from holdfast.threads import suited_threads
from holdfast.types import Model

__all__ = ["Traces", "trace_purification"]

_TABLE, _IMAGES = "traces.csv", "traces.safetensors"


class Traces(NamedTuple):
    """What `holdfast.diagnose.purification` found, one line and one picture for each step.

    Attributes:
        table: see there.
        pictures: (lines, C, H, W).

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.defenses import MALADE
        >>> from holdfast.diagnose import trace_purification
        >>> layer = MALADE(nn.Identity(), steps=4, alpha=0.01, delta=0.01, sigma=0.5)
        >>> models = {"malade": nn.Sequential(layer, model).eval()}
        >>> attacks = {"malade": {"pgd": PGD(Linf(0.3), steps=3)}}
        >>> traces = trace_purification(models, Data.of(x, y), 0, attacks, [0, 4])
        >>> len(traces.table) == len(traces.pictures)
        True
    """

    table: pd.DataFrame
    pictures: Tensor


def trace_purification(
    models: Mapping[str, Model],
    data: Data,
    image: int,
    attacks: Mapping[str, Mapping[str, Attack]],
    steps: Sequence[int],
    *,
    seed: Seed = 0,
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Traces:
    """Attack an image of a data set, and follow the chain that is to undo it.

        x_0 = attack(x),  x_{t+1} of `MALADE`,  softmax f(x_t) at each of ``steps``

    When:
        For `purification` into a run folder.

    When not:
        For arrays alone: `purification`.

    Traps:
        One image by its number in the test set, not a sample; step 0, the attacked image, is always
        looked at.

    Args:
        models: by name, on the device that is to do the work; each begins with a `MALADE`.
        data: the test set.
        image: number of the image, from 0.
        attacks: for each model the attacks on it, by what to call them.
        steps: of the chain, to look at; 0, the attacked image, is always looked at, and first.
        seed: of all randomness.
        out: folder to keep the run in; a finished one is read.
        progress: told if there is nothing to do.

    Raises:
        InputError: if there is no such image, no model, or a chain has fewer steps.
        ModelError: if a model does not begin with a `MALADE`.
        OutputError: if ``out`` cannot be written or holds another run.

    Reference:
        Srinivasan et al., "Robustifying models against adversarial attacks by Langevin dynamics",
        2021, figures 2 and 17 to 20.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.defenses import MALADE
        >>> from holdfast.diagnose import trace_purification
        >>> layer = MALADE(nn.Identity(), steps=4, alpha=0.01, delta=0.01, sigma=0.5)
        >>> models = {"malade": nn.Sequential(layer, model).eval()}
        >>> attacks = {"malade": {"pgd": PGD(Linf(0.3), steps=3)}}
        >>> table, pictures = trace_purification(models, Data.of(x, y), 0, attacks, [0, 4])
        >>> table["step"].tolist(), pictures.shape  # the clean image, then the attacked one
        ([-1, 0, 4], torch.Size([3, 1, 8, 8]))
    """
    check_arguments(trace_purification, locals())
    if not 0 <= image < len(data):
        raise InputError(
            f"image is {image}, but the images of {data.name} are numbered from 0 to "
            f"{len(data) - 1}."
        )
    if not models:
        raise InputError("there is no model; give at least one by name.")
    for name in models:
        check_title("a model", name)
    steps = list(dict.fromkeys((0, *steps)))
    identities = [identify(model, data) for model in models.values()]
    record = {
        "model": list(models),
        **{name: [of[name] for of in identities] for name in identities[0]},
        "data": data.name,
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        "image": image,
        "attacks": {k: {n: repr(a) for n, a in named.items()} for k, named in attacks.items()},
        "steps": steps,
        "seed": seed,
    }

    def work(run: Run) -> None:
        x = data.x(torch.tensor([image])).to(device_of(next(iter(models.values()))))
        label = int(data.y[image])
        table, pictures = purification(models, x, label, attacks, steps, index=image, seed=seed)
        run.check()
        write_table(run.path / _TABLE, table)
        write_tensors(run.path / _IMAGES, {"images": pictures}, {})

    def results(_: Run, __: object) -> dict[str, Any]:
        return {"classes": list(data.classes)}

    threads = suited_threads(data.shape, *models.values(), progress=progress)
    with threads, kept_or_temporary(out) as folder:
        Run.resume_or(folder, "diagnose", record, work, results, progress=progress)
        pictures = read_tensors(folder / _IMAGES)[0].get("images")
        if pictures is None:
            raise DamagedFileError(f"{folder / _IMAGES} holds no images; put its copy back.")
        return Traces(read_csv(folder / _TABLE), pictures)
