"""Attacks that did nothing at all, in sentences."""

from collections.abc import Collection

import pandas as pd

from holdfast.metrics.accuracy import CELL
from holdfast.metrics.notes import title

__all__ = ["idle_attacks"]

_NOT_ASKED = (
    "it asked the model nothing and left all {} images that were right exactly as they were, so "
    "this is no robustness; if it turns or moves images, which no small ball holds, give it --eps "
    "inf."
)
_NOT_FOUND = (
    "on the model that it is crafted on it found nothing in the ball and left all {} images that "
    "were right exactly as they were, so nothing was transferred and this is no robustness; craft "
    "an attack that spends its whole budget, such as pgd, or give a larger --eps."
)


def idle_attacks(rows: pd.DataFrame, crafted: Collection[str] = ()) -> list[str]:
    """A sentence for each attack that asked the model nothing and left every image as it was.

    Such is one that turns or moves images and is held by a ball that no turned image lies in, and
    one that is crafted on another model and finds nothing there. Of images that were wrong before
    nothing is said, since an attack may leave these alone.

    Args:
        rows: of one evaluation.
        crafted: attacks that are crafted on another model (`crafted_elsewhere`).

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import idle_attacks
        >>> rows = pd.DataFrame(
        ...     {"attack": "turned", "norm": "linf", "eps": 0.01, "label": 0, "clean_prediction": 0}
        ...     | {"forwards": 0, "backwards": 0, "linf": [0.0, 0.0]}
        ... )
        >>> print(idle_attacks(rows)[0].partition(",")[0])
        turned linf 0.01: it asked the model nothing and left all 2 images that were right ...
    """
    attacked = rows[(rows["norm"] != "none") & (rows["eps"] > 0)]
    right = attacked[attacked["clean_prediction"] == attacked["label"]]
    # At any size: what one size asked may answer for the others, too.
    asked = right.assign(asked=right["forwards"] + right["backwards"])
    idle = asked[asked.groupby(["attack", "norm"])["asked"].transform("sum") == 0]
    return [
        f"{title(attack, norm, eps)}: "
        + (_NOT_FOUND if attack in crafted else _NOT_ASKED).format(len(part))
        for (attack, norm, eps), part in idle.groupby(CELL, sort=False)
        if not part[norm].any()
    ]
