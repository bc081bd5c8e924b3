"""Who is robust: accuracy of each class without attack, in the worst case, and as certified."""

import pandas as pd

from holdfast.metrics.accuracy import broken_by_size
from holdfast.metrics.certificates import certified
from holdfast.statistics import proportion_interval

__all__ = ["by_class", "certified_by_class"]


def by_class(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each class without attack, and in the worst case over attacks at every size.

    Args:
        rows: of attacks of one norm, at finite sizes.

    Returns:
        eps, label, n, clean_accuracy, robust_accuracy, low, high (95 % Clopper-Pearson); over the
        images that every attack met at every size.

    Example:
        >>> from holdfast import Linf, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=5)}).rows
        >>> table = metrics.by_class(rows[rows["attack"] == "pgd"])
        >>> table["n"].sum().item(), table["robust_accuracy"].max().item()
        (4, 0.0)
    """
    right = ~broken_by_size(rows)
    labels = rows.drop_duplicates("index").set_index("index")["label"].reindex(right.index)
    images = labels.value_counts().sort_index()
    by_size = right.groupby(labels).sum()
    found = []
    for eps in sorted(rows["eps"].unique()):
        count, n = by_size[eps].to_numpy(), images.to_numpy()
        low, high = proportion_interval(count, n)
        columns = {
            "eps": eps,
            "label": images.index,
            "n": n,
            "clean_accuracy": by_size[0.0].to_numpy() / n,
            "robust_accuracy": count / n,
            "low": low,
            "high": high,
        }
        found.append(pd.DataFrame(columns))
    return pd.concat(found, ignore_index=True)


def certified_by_class(rows: pd.DataFrame, radius: float) -> pd.DataFrame:
    """Certified accuracy of each class at a radius.

    Returns:
        label, n, robust_accuracy, low, high (95 % Clopper-Pearson).

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import certified_by_class
        >>> rows = pd.DataFrame({"label": [0, 1], "prediction": [0, 1], "radius": [0.2, 0.5]})
        >>> certified_by_class(rows, 0.3)["robust_accuracy"].tolist()
        [0.0, 1.0]
    """
    parts = [
        certified(part, [radius]).assign(label=int(str(label)))
        for label, part in rows.groupby("label")
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["label", "n", "robust_accuracy", "low", "high"]]
