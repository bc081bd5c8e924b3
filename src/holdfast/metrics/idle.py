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
        f"{title(attack, norm, eps)}: it asked the model nothing and left all {len(part)} images "
        "that were right exactly as they were, so this is no robustness; if it turns or moves "
        "images, which no small ball holds, give it --eps inf."
        for (attack, norm, eps), part in idle.groupby(CELL, sort=False)
        if not part[norm].any()
    ]
