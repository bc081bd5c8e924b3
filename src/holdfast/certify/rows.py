"""Certificates as rows, with all that another bound needs; and the cells of them."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from holdfast import metrics
from holdfast.certify.config import CertificationConfig
from holdfast.certify.sampling import Sampling
from holdfast.certify.smoothing import (
    Certificates,
    certificates,
    named_bound,
)
from holdfast.certify.top import top_certificates
from holdfast.data import Data
from holdfast.statistics import Counts

#: Mean scores of so many leading classes are kept for each image.
_SCORES_KEPT = 5


def rows_of(
    data: Data,
    index: torch.Tensor,
    sampling: Sampling,
    config: CertificationConfig,
    lipschitz: float,
    bound: str,
    interval: str,
) -> pd.DataFrame:
    """A row for each image, with its certificate by one bound and interval."""
    found = proven_by(config, sampling, data.y[index].numpy(), lipschitz, bound, interval)
    columns = {
        "bound": bound,
        "interval": interval,
        **({"top": config.top} if config.top > 1 else {}),
        "index": index.numpy(),
        "label": data.y[index].numpy(),
        "prediction": found.prediction,
        "abstained": found.abstained,
        "radius": found.radius,
        "p1": found.p1,
        "p2": found.p2,
        "draws": sampling.n,
        "votes": _by_class(sampling.counts),
    }
    if sampling.scores is not None:
        columns["scores"] = _by_class(np.round(sampling.scores, 9), _SCORES_KEPT)
    if sampling.choice is not None:
        columns["choice"] = _by_class(sampling.choice)
    return pd.DataFrame(columns)


def proven_by(
    config: CertificationConfig,
    sampling: Sampling,
    label: Counts,
    lipschitz: float,
    bound: str,
    interval: str,
) -> Certificates:
    """The certificates of a sampling by one bound and interval, as the settings say.

    Args:
        config: the settings.
        sampling: votes, scores and what else they rest on.
        label: (N,) which are asked for with ``top``.
        lipschitz: Λ of what comes before the noise.
        bound: spec of the bound.
        interval: spec of the interval.
    """
    limits = config.limits(interval)
    if config.top > 1:
        return top_certificates(
            sampling, label, config.top, limits, config.sigma, lipschitz=lipschitz
        )
    radius_of = named_bound(bound, config.family, lipschitz)
    return certificates(sampling, limits, radius_of, config.sigma)


def _by_class(values: NDArray[Any], most: int | None = None) -> list[str]:
    """Rows as "class:value class:value ...", from the largest value, without the zeros."""
    return [
        " ".join(f"{k}:{row[k]}" for k in (-row).argsort(kind="stable")[:most] if row[k])
        for row in values
    ]


def cells_of(rows: pd.DataFrame, config: CertificationConfig, model: str) -> list[dict[str, Any]]:
    """What rows amount to: the cells without the time that they took."""
    cells = []
    for cell in metrics.certification_cells(rows, config.radii):
        limits = config.limits(cell["interval"])
        n0 = config.selection_votes if "choice" in rows else 0
        cells.append(
            {
                "model": model,
                "sigma": config.sigma,
                "noise": config.noise,
                "norm": config.norm,
                "votes": config.votes,
                "confidence": config.confidence,
                "guaranteed": limits.guaranteed,
                "of_votes": limits.of_votes,
                **({"top": config.top} if config.top > 1 else {}),
                **cell,
                "forwards": cell["draws"] + cell["images"] * n0,
            }
        )
    return cells
