"""What networks were trained on, by the records of their trainings: images, and noise."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.parameters import Seed
from holdfast.random import hash_seed
from holdfast.training.validation import held_out_of
from holdfast.types import Flags


def unseen(data: Data, trained: Mapping[str, Mapping[str, Any]], count: int, seed: Seed) -> Data:
    """``count`` images of a training set that networks have not been trained on, as far as it has.

    Args:
        data: the whole training set.
        trained: what the run.json of each network's training says, by what to call the network.
        count: how many images.
        seed: of the choice.

    Raises:
        InputError: if there are not as many images.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.tuning import unseen
        >>> data = Data.of(x, y)
        >>> settings = {"data": data.name, "images": 2, "held_out": 0}
        >>> settings["data_fingerprint"] = data.take(torch.arange(2)).fingerprint()
        >>> chosen = unseen(data, {"the classifier": {"settings": settings}}, 2, seed=0)
        >>> bool((chosen.x(torch.arange(2)) == x[2:]).all())
        True
    """
    if not 1 <= count <= len(data):
        raise InputError(
            f"{count} images are asked for, but it must be at least 1 and at most {len(data)}, "
            "which the training set has."
        )
    seen = {name: _trained_on(data, about["settings"]) for name, about in trained.items()}
    fresh = ~torch.stack([*seen.values(), torch.zeros(len(data), dtype=torch.bool)]).any(dim=0)
    order = torch.randperm(
        len(data), generator=torch.Generator().manual_seed(hash_seed(seed, "tune"))
    )
    chosen = torch.cat([order[fresh[order]], order[~fresh[order]]])[:count].sort().values
    knows = [name for name, flags in seen.items() if flags[chosen].any()]
    if knows:
        warnings.warn(
            f"{' and '.join(knows)}: trained on images that are now to choose by, or by --from on "
            f"who knows which, since fewer than {count} are left of the training set; to leave "
            "some, train with --images (or, classifiers, --hold-out).",
            stacklevel=2,
        )
    return data.take(chosen)


def _trained_on(data: Data, settings: Mapping[str, Any]) -> Flags:
    """(N,) which images of ``data`` a training run has seen, by its settings."""
    everything = torch.ones(len(data), dtype=torch.bool)
    if settings.get("from") is not None:
        return everything  # what its first weights were trained on is not known
    count = min(int(settings["images"]), len(data))
    first = torch.arange(count)
    for used in (first, first * len(data) // count):  # a folder's are evenly spaced (data.load)
        same = data.take(used)
        known = (same.fingerprint(), same.fingerprint_of_some())  # the latter of runs of 0.1.0
        if settings["data_fingerprint"] in known:
            break
    else:
        # Of the same name, other ones: who knows which. One folder can be written in many ways.
        return everything if settings["data"] == data.name else ~everything
    seen = ~everything
    seen[used] = True
    if settings["held_out"]:
        seen[used] = ~held_out_of(data.y[used], int(settings["held_out"]), int(settings["seed"]))
    return seen


def noise_of_training(about: Mapping[str, Any]) -> float | None:
    """σ that a denoiser was trained with, as its run.json says in the objective; None if not.

    Example:
        >>> from holdfast.tuning import noise_of_training
        >>> noise_of_training({"settings": {"objective": "Denoising(sigma=0.2)"}})
        0.2
    """
    objective = str(about["settings"].get("objective"))
    found = re.search(r"Denoising\(sigma=(\d+\.?\d*(?:e[+-]?\d{1,2})?)", objective)
    return float(found[1]) if found else None
