"""Attacks that did nothing at all, in sentences."""

import pandas as pd

from holdfast.metrics.accuracy import CELL
from holdfast.metrics.notes import title

__all__ = ["idle_attacks"]


def idle_attacks(rows: pd.DataFrame) -> list[str]:
    """A sentence for each attack that asked the model nothing and left every image as it was.

    Such is one that turns or moves images and is held by a ball that no turned image lies in. Of
    images that were wrong before nothing is said, since an attack may leave these alone.

    Args:
        rows: of one evaluation.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import Spatial
        >>> rows = evaluate(model, x, y, {"turned": Spatial(Linf(0.01))}).rows
        >>> print(metrics.idle_attacks(rows)[0].partition(":")[0])
        turned linf 0.01
    """
    attacked = rows[(rows["norm"] != "none") & (rows["eps"] > 0)]
    right = attacked[attacked["clean_prediction"] == attacked["label"]]
    return [
        f"{title(attack, norm, eps)}: it asked the model nothing and left all {len(part)} images "
        "that were right exactly as they were, so this is no robustness; if it turns or moves "
        "images, which no small ball holds, give it --eps inf."
        for (attack, norm, eps), part in right.groupby(CELL, sort=False)
        if not part[["forwards", "backwards", norm]].any(axis=None)
    ]
