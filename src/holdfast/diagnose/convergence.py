"""Accuracy and ρ₂ after each epoch of a training (DD figures 2 and 8)."""

from collections.abc import Mapping

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.diagnose.margin import margins
from holdfast.errors import InputError
from holdfast.parameters import Seed
from holdfast.types import Images, Labels, Model

__all__ = ["convergence"]


def convergence(
    epochs: Mapping[int, Model],
    x: Images,
    y: Labels,
    *,
    mean: Float[Tensor, "c h w"] | None = None,
    steps: int = 5,
    seed: Seed = 0,
    batch_size: int = 128,
) -> pd.DataFrame:
    """How accuracy and robustness come about.

        1/N Σ 1[f_e(x) = y],  ρ₂ = 1/N Σ ‖Δ‖₂ / ‖x - mean‖₂  (`margins`),  for each epoch e

    When:
        To see whether a longer training would pay, of runs that kept a checkpoint of each epoch.

    When not:
        To choose an epoch: on test images that is fitting to them.

    Traps:
        ρ₂ is that of `margins`, which counts distances that crossed no boundary too. It may rise
        while robust accuracy does not.

    Args:
        epochs: the network after each epoch, by its number; 0 is where the training began. A
            mapping that loads on access keeps one network in memory at a time.
        x: (N, ...) test images in [0, 1].
        y: (N,) true classes.
        mean: of the training images, for ρ₂; 0 if none is given.
        steps: of DeepFool; see `margins`, whose mean ρ₂ is.
        seed: of all randomness.
        batch_size: images at once.

    Returns:
        epoch, accuracy, rho2, in the order of the epochs.

    Raises:
        InputError: if there is no epoch.

    Reference:
        Yan, Guo and Zhang, "Deep Defense", NeurIPS 2018, figures 2 and 8.

    Example:
        >>> from torch import nn
        >>> from holdfast.diagnose import convergence
        >>> before = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
        >>> list(convergence({0: before, 1: model}, x, y).columns)
        ['epoch', 'accuracy', 'rho2']
    """
    if not epochs:
        raise InputError("there is no epoch; give at least one network by the number of its epoch.")
    lines = []
    for epoch in sorted(epochs):
        found = [
            margins(epochs[epoch], x[part], y[part], mean=mean, steps=steps, seed=seed, index=part)
            for part in torch.arange(len(x)).split(batch_size)
        ]
        right, relative = (
            torch.cat([getattr(of, name) for of in found]) for name in ("right", "relative")
        )
        lines.append(
            {
                "epoch": epoch,
                "accuracy": float(right.float().mean()),
                "rho2": float(relative.nanmean()),
            }
        )
    return pd.DataFrame(lines)
