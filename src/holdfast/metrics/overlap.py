"""Who broke what: the images that each attack of several made wrong, and those it alone did."""

import numpy as np
import pandas as pd

from holdfast.metrics.accuracy import met_by_all

__all__ = ["broken_within", "contributions", "first_broken", "overlap", "times_broken"]


def broken_within(rows: pd.DataFrame, eps: float) -> pd.DataFrame:
    """Whether each attack of one norm broke each image at a size or a smaller one.

    It is over the images that every attack met at every size and that were right before.

    Returns:
        True and False; one line for each image by its index, one column for each attack.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import FGSM, PGD
        >>> attacks = {"fgsm": FGSM(Linf(0.3)), "pgd": PGD(Linf(0.3), steps=5)}
        >>> rows = evaluate(model, x, y, attacks).rows
        >>> broken = metrics.broken_within(rows[rows["attack"] != "clean"], 0.3)
        >>> list(broken.columns), bool(broken["pgd"].all())
        (['fgsm', 'pgd'], True)
    """
    met = met_by_all(rows)
    right = met[met["clean_prediction"] == met["label"]]
    images, names = np.unique(right["index"]), rows["attack"].unique()
    broken = np.zeros((len(images), len(names)), dtype=bool)
    lost = right[right["fooled"] & (right["eps"] <= eps)]
    places = pd.Index(names).get_indexer(lost["attack"])
    broken[np.searchsorted(images, lost["index"]), places] = True
    return pd.DataFrame(broken, index=pd.Index(images, name="index"), columns=names)


def first_broken(rows: pd.DataFrame) -> "pd.Series[float]":
    """The smallest size at which any attack of one norm broke each image.

    Returns:
        The size by the image's index: 0 if it was wrong before, NaN if nothing broke it.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> sizes = {f"pgd {eps}": PGD(Linf(eps), steps=5) for eps in (0.0, 0.3)}
        >>> rows = evaluate(model, x, y, sizes).rows
        >>> metrics.first_broken(rows[rows["attack"] != "clean"]).max().item()
        0.3
    """
    right = rows["clean_prediction"] == rows["label"]
    sizes = rows["eps"].where(right, 0.0).where(rows["fooled"] | ~right)
    return sizes.groupby(rows["index"]).min()


def contributions(broken: pd.DataFrame) -> pd.DataFrame:
    """What each attack broke, what no other did, and what it added to those before it.

    The order is that in which each adds the most to those before it.

    Args:
        broken: from `broken_within`.

    Returns:
        attack, broke, alone, added (numbers of images), in that order; the sum of ``added`` is the
        number of images that the worst case lost.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import contributions
        >>> broken = pd.DataFrame({"a": [True, False, False], "b": [True, True, False]})
        >>> contributions(broken).to_numpy().tolist()
        [['b', 2, 1, 2], ['a', 1, 0, 0]]
    """
    values = broken.to_numpy()
    alone = values & (values.sum(axis=1, keepdims=True) == 1)
    left = np.ones(len(values), dtype=bool)
    places, found = list(range(values.shape[1])), []
    while places:
        best = max(places, key=lambda place: (values[left, place].sum(), values[:, place].sum()))
        added = values[:, best] & left
        found.append(
            (broken.columns[best], values[:, best].sum(), alone[:, best].sum(), added.sum())
        )
        left &= ~added
        places.remove(best)
    table = pd.DataFrame(found, columns=["attack", "broke", "alone", "added"])
    return table.astype(dict.fromkeys(("broke", "alone", "added"), int))


def overlap(broken: pd.DataFrame) -> pd.DataFrame:
    """Of the images that the attack of a line broke, the fraction that the column's broke too.

    Args:
        broken: from `broken_within`.

    Returns:
        A square table of attacks; NaN in the line of one that broke none.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import overlap
        >>> broken = pd.DataFrame({"a": [True, False, False], "b": [True, True, False]})
        >>> overlap(broken).to_numpy().tolist()
        [[1.0, 1.0], [0.5, 1.0]]
    """
    values = broken.to_numpy().astype(float)
    both, each = values.T @ values, values.sum(axis=0)
    fractions = both / np.where(each > 0, each, np.nan)[:, None]
    return pd.DataFrame(fractions, index=broken.columns, columns=broken.columns)


def times_broken(broken: pd.DataFrame) -> list[int]:
    """How many images no attack broke, how many one attack did, and so on.

    Args:
        broken: from `broken_within`.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import times_broken
        >>> times_broken(pd.DataFrame({"a": [True, False, False], "b": [True, True, False]}))
        [1, 1, 1]
    """
    counts = np.bincount(broken.to_numpy().sum(axis=1), minlength=broken.shape[1] + 1)
    return [int(count) for count in counts]
