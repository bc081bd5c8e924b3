"""How far apart shown and proven are, over the images that both sides have."""

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from holdfast import metrics
from holdfast.report.folders import CertifiedRun
from holdfast.report.implied import floor


class Gap(NamedTuple):
    """Worst case minus certified accuracy, both over the same images."""

    fraction: float
    n: int


def gap(attacked: pd.DataFrame, run: CertifiedRun, norm: str) -> dict[float, Gap]:
    """The gap between shown and proven at every size, over the images that both sides have.

    Args:
        attacked: rows of all attacks of one norm on the classifier, at finite sizes.
        run: its certificates.
        norm: of the attacks.
    """
    same = on_same_images(attacked, run)
    if same is None:
        return {}
    rows, both = same
    worst = metrics.worst_case(rows)
    proven = floor(both, norm, worst["eps"].to_numpy())["robust_accuracy"]
    fractions = worst["robust_accuracy"] - proven
    return {
        eps: Gap(fraction, len(both.rows))
        for eps, fraction in zip(worst["eps"], fractions, strict=True)
    }


def on_same_images(
    attacked: pd.DataFrame, run: CertifiedRun
) -> tuple[pd.DataFrame, CertifiedRun] | None:
    """Rows of attacks and certificates, of the images that every attack met and that are certified.

    Returns:
        None if there is no such image.
    """
    rows = metrics.met_by_all(attacked)
    rows = rows[rows["index"].isin(run.rows["index"])]
    if not len(rows):
        return None
    return rows, replace(run, rows=run.rows[run.rows["index"].isin(rows["index"])])
