"""Top-5 accuracy: whether the label is among the five classes that a model likes best.

Most attacks aim at the top class. What they leave of top-5 is therefore an upper limit of top-5
robust accuracy, and a loose one: an attack that aims below the fifth class, by the goal
`holdfast.goals.TopMargin` of 5, may leave far less.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from holdfast.results import CLEAN
from holdfast.statistics import proportion_interval

__all__ = ["TOP5", "aimed_at_five", "among_five", "ranked", "top5", "with_clean_rank"]

#: What cells say of five classes after an attack.
TOP5 = ("robust_top5", "top5_low", "top5_high")

#: Of data of so few classes, to be among five says little.
_FEW = 10


def ranked(rows: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Rows with ``clean_rank``, the rank of the unattacked image's label, by which `top5` counts.

    Rows of data of at most ten classes, and those of earlier versions, which have no ranks, are
    left as they are, and nothing is said of their top-5 accuracy.

    Args:
        rows: of one evaluation, with those of the unattacked images.
        classes: of the data.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import FGSM
        >>> rows = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}).rows
        >>> "clean_rank" in metrics.ranked(rows, 100), "clean_rank" in metrics.ranked(rows, 10)
        (True, False)
    """
    if classes <= _FEW or "rank" not in rows:
        return rows
    return with_clean_rank(rows)


def with_clean_rank(rows: pd.DataFrame) -> pd.DataFrame:
    """As `ranked`, of data that are known to have many classes, and of rows with ranks.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import FGSM
        >>> rows = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}).rows
        >>> metrics.with_clean_rank(rows)["clean_rank"].tolist() == [*rows["rank"][:len(y)]] * 2
        True
    """
    clean = rows[rows["attack"] == CLEAN].set_index("index")["rank"]
    return rows.assign(clean_rank=rows["index"].map(clean))


def among_five(rows: pd.DataFrame) -> pd.DataFrame | None:
    """The same rows where an image counts as right while its label is among five classes.

    Whatever counts who is right at the top counts by these who is right among five: an image whose
    label was not among five before is wrong before, and so after.

    Args:
        rows: out of `ranked`, of any attacks.

    Returns:
        The rows with another ``clean_prediction`` and ``fooled``; None if nothing is known of five
        classes.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import among_five
        >>> rows = pd.DataFrame(
        ...     {"label": 0, "clean_prediction": 0, "fooled": True, "linf": 0.1}
        ...     | {"clean_rank": [0, 0], "rank": [2, 5]}
        ... )
        >>> among_five(rows)["fooled"].tolist()
        [False, True]
    """
    if "clean_rank" not in rows or rows["clean_rank"].isna().any():
        return None
    # Ranks by votes may leave more than five classes level: who is right at the top is among them.
    right = rows["clean_prediction"] == rows["label"]
    before = right | (rows["clean_rank"] < 5)
    # An image that was left alone was ranked before; fresh noise must not rank it again.
    alone = ~right & (rows["linf"] == 0)
    left = before & (~rows["fooled"] | alone | (rows["rank"] < 5))
    clean = rows["label"].where(before, rows["clean_prediction"])
    return rows.assign(clean_prediction=clean, fooled=~left)


def aimed_at_five(cell: Mapping[str, Any]) -> bool:
    """Whether an attack pushed the label out of five classes, as its cell says, not of the first.

    Example:
        >>> from holdfast.metrics import aimed_at_five
        >>> aimed_at_five({"attack": "pgd", "top": 5}), aimed_at_five({"attack": "pgd"})
        (True, False)
    """
    return cell.get("top") == 5


def top5(rows: pd.DataFrame) -> dict[str, float]:
    """How often the label is among five classes, before an attack and after it.

    What an attack on the top class leaves is an upper limit of top-5 robust accuracy. It counts the
    images whose label was among five before; one that was wrong at the top already and that the
    attack left alone keeps what it was.

    Args:
        rows: of one attack at one size, out of `ranked`.

    Returns:
        ``clean_top5`` and ``robust_top5``, fractions of all n images, the latter with its 95 %
        Clopper-Pearson interval ``top5_low``, ``top5_high``. Nothing if the rows have no ranks;
        NaN if some of them have none.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import top5
        >>> rows = pd.DataFrame(
        ...     {"label": 0, "clean_prediction": 0, "fooled": True, "linf": 0.1}
        ...     | {"clean_rank": [0, 0], "rank": [2, 5]}
        ... )
        >>> found = top5(rows)
        >>> found["clean_top5"], found["robust_top5"]
        (1.0, 0.5)
    """
    if "clean_rank" not in rows:
        return {}
    five = among_five(rows)
    if five is None:
        return dict.fromkeys(("clean_top5", *TOP5), float("nan"))
    before, left = five["clean_prediction"] == five["label"], ~five["fooled"]
    low, high = proportion_interval(int(left.sum()), len(left))
    values = (float(left.mean()), float(low), float(high))
    return {"clean_top5": float(before.mean()), **dict(zip(TOP5, values, strict=True))}
