"""Accuracy and ρ₂ after each epoch of a training (DD figures 2 and 8)."""

import math
from collections.abc import Mapping

import pandas as pd

from holdfast.attacks import Attack, DeepFool
from holdfast.errors import InputError
from holdfast.evaluation import EvaluationConfig, evaluate
from holdfast.metrics import rho
from holdfast.results import CLEAN
from holdfast.threat import L2
from holdfast.types import Images, Labels, Model

__all__ = ["convergence"]


def convergence(
    epochs: Mapping[int, Model],
    x: Images,
    y: Labels,
    *,
    attack: Attack | None = None,
    seed: int = 0,
    batch_size: int = 128,
) -> pd.DataFrame:
    """How accuracy and robustness come about.

    Args:
        epochs: the network after each epoch, by its number; 0 is where the training began. A
            mapping that loads on access keeps one network in memory at a time.
        x: (N, ...) test images in [0, 1].
        y: (N,) true classes.
        attack: looks for the smallest perturbation in ℓ2; DeepFool, as in the paper, if none is
            given.
        seed: of all randomness.
        batch_size: images at once.

    Returns:
        epoch, accuracy, rho2, in the order of the epochs; `holdfast.metrics.rho` says how ρ₂
        counts misclassified images.

    Raises:
        InputError: if there is no epoch.

    Example:
        >>> from torch import nn
        >>> from holdfast.diagnose import convergence
        >>> before = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
        >>> list(convergence({0: before, 1: model}, x, y).columns)
        ['epoch', 'accuracy', 'rho2']
    """
    if not epochs:
        raise InputError("there is no epoch; give at least one network by the number of its epoch.")
    search = DeepFool(threat=L2(math.inf)) if attack is None else attack
    config = EvaluationConfig(seed=seed, batch_size=batch_size, keep_images=0)
    lines = []
    for epoch in sorted(epochs):
        rows = evaluate(epochs[epoch], x, y, [search], config=config).rows
        rows = rows[rows["attack"] != CLEAN]
        right = rows["clean_prediction"] == rows["label"]
        lines.append({"epoch": epoch, "accuracy": float(right.mean()), "rho2": rho(rows)})
    return pd.DataFrame(lines)
