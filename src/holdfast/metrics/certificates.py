"""Certified accuracy, and what attacks say of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from holdfast.metrics.accuracy import met_by_all, worst_case
from holdfast.statistics import Array, beyond_chance, proportion_interval

__all__ = [
    "accuracy_at",
    "broken_certificates",
    "certification_cells",
    "certified",
    "certified_curve",
    "overclaimed",
    "telling",
]

#: Votes of a class that the label has none of, from which on it is ahead by more than chance.
_FEWEST = 10


def certified_curve(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """Certified accuracy against radius, as the corners of its steps.

    The accuracy at r is the fraction of all images that are classified rightly with a certified
    radius of at least r; an abstention counts as an error. The first corner is at radius 0.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import certified_curve
        >>> rows = pd.DataFrame({"label": [0, 1], "prediction": [0, 1], "radius": [0.2, 0.5]})
        >>> certified_curve(rows)
        [(0.0, 1.0), (0.2, 1.0), (0.5, 0.5)]
    """
    right = rows["prediction"] == rows["label"]
    radii = sorted({0.0, *rows["radius"][right]})
    return [(r, float((right & (rows["radius"] >= r)).mean())) for r in radii]


def certification_cells(rows: pd.DataFrame, radii: Sequence[float] = ()) -> list[dict[str, Any]]:
    """One record for each bound with each interval: what it certifies of the images.

    Args:
        rows: of a certification.
        radii: of interest.

    Returns:
        bound, interval, images, ``draws`` of votes in all, ``accuracy`` of the smoothed
        classifier, the fraction that it ``abstained`` from, the ``curve`` of certified accuracy,
        and the same ``at`` the radii, with its interval over the images.

    Example:
        >>> from holdfast import metrics
        >>> from holdfast.certify import CertificationConfig, certify
        >>> rows = certify(model, x, y, config=CertificationConfig(sigma=0.1)).rows
        >>> (cell,) = metrics.certification_cells(rows, radii=[0.05])
        >>> cell["images"], cell["draws"], len(cell["at"])
        (4, 400, 1)
    """
    return [
        {
            "bound": bound,
            "interval": interval,
            "images": len(part),
            "draws": int(part["draws"].sum()),
            "accuracy": float((part["prediction"] == part["label"]).mean()),
            "abstained": float(part["abstained"].mean()),
            "curve": certified_curve(part),
            "at": [
                {
                    "radius": float(line.eps),
                    "accuracy": float(line.robust_accuracy),
                    "low": float(line.low),
                    "high": float(line.high),
                }
                for line in certified(part, list(radii)).itertuples()
            ],
        }
        for (bound, interval), part in rows.groupby(["bound", "interval"], sort=False)
    ]


def accuracy_at(curve: Sequence[Sequence[float]], radius: float) -> float:
    """The value of a curve from `certified_curve` at one radius: that of the next corner.

    Example:
        >>> from holdfast.metrics import accuracy_at
        >>> curve = [(0.0, 1.0), (0.2, 1.0), (0.5, 0.5)]
        >>> accuracy_at(curve, 0.3), accuracy_at(curve, 0.6)
        (0.5, 0.0)
    """
    return next((accuracy for corner, accuracy in curve if corner >= radius), 0.0)


def certified(rows: pd.DataFrame, radii: Sequence[float] | Array) -> pd.DataFrame:
    """Certified accuracy at some radii, each with its 95 % Clopper-Pearson interval over images.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import certified
        >>> rows = pd.DataFrame({"label": [0, 1], "prediction": [0, 1], "radius": [0.2, 0.5]})
        >>> certified(rows, [0.1, 0.3])["robust_accuracy"].tolist()
        [1.0, 0.5]
    """
    right = np.sort(rows.loc[rows["prediction"] == rows["label"], "radius"])
    certified = len(right) - np.searchsorted(right, radii)
    low, high = proportion_interval(certified, len(rows))
    accuracy = certified / len(rows)
    return pd.DataFrame(
        {"eps": radii, "n": len(rows), "robust_accuracy": accuracy, "low": low, "high": high}
    )


def broken_certificates(
    attacked: pd.DataFrame, proven: pd.DataFrame, norm: str = "l2"
) -> tuple[int, int]:
    """How many right certificates an attack contradicts, of how many it put to the test.

    A certificate is tested by every adversarial image within its radius. It is contradicted if the
    smoothed classifier there prefers another class by more than chance: if both were equally
    likely, such votes would come once in a thousand times. A certificate that the label is among
    the first k classes, whose rows say ``top``, is contradicted if k other classes are so
    preferred, whatever the attack aimed at, and not if fewer are. Both tables must be of one
    smoothed classifier.

    Args:
        attacked: rows of an evaluation of the smoothed classifier; of certificates of more than the
            first class those out of `telling` count.
        proven: rows of its certification, on the same test set.
        norm: of the certified radii.

    Example:
        >>> from torch import nn
        >>> from holdfast import L2, EvaluationConfig, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> from holdfast.certify import CertificationConfig, certify
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.1), model)
        >>> proven = certify(model, x, y, config=CertificationConfig(sigma=0.1)).rows
        >>> attacks, config = [PGD(L2(0.01), steps=2)], EvaluationConfig(samples=2)
        >>> attacked = evaluate(noisy, x, y, attacks, config=config).rows
        >>> contradicted, tested = metrics.broken_certificates(attacked, proven)
        >>> contradicted
        0
    """
    right = proven.loc[proven["prediction"] == proven["label"], ["index", "radius"]]
    top = _top(proven)
    both = telling(attacked[attacked["attack"] != "clean"], top).merge(right, on="index")
    tested = both[(both[norm] > 0) & (both[norm] <= both["radius"])]
    broken = tested[_refuted(tested, top)]
    return broken["index"].nunique(), tested["index"].nunique()


def telling(attacked: pd.DataFrame, top: int) -> pd.DataFrame:
    """The rows that can tell that a label is not among so many classes.

    Each of so many others needs ten votes at least, to have more than the label by more than
    chance. Rows of earlier versions, which do not say ``ahead``, tell of the first class alone.

    Args:
        attacked: rows of an evaluation.
        top: k, of certificates that a label is among the first k classes.

    Example:
        >>> import pandas as pd
        >>> from holdfast.metrics import telling
        >>> rows = pd.DataFrame({"votes": [10, 100], "ahead": [1, 5]})
        >>> telling(rows, top=5)["votes"].tolist()
        [100]
    """
    if top == 1:
        return attacked
    if "ahead" not in attacked:
        return attacked[:0].assign(ahead=0)
    return attacked[attacked["ahead"].notna() & (attacked["votes"] >= _FEWEST * top)]


def overclaimed(attacked: pd.DataFrame, proven: pd.DataFrame, norm: str = "l2") -> pd.DataFrame:
    """The sizes at which more images are certified than an attack left robust, which cannot be.

    An image counts as fooled if the smoothed classifier prefers another class by more than chance;
    where labels are certified among the first k classes, if it so prefers k others.

    Args:
        attacked: rows of attacks on the smoothed classifier, at finite sizes; see
            `broken_certificates`.
        proven: rows of its certification.
        norm: of the certified radii.

    Returns:
        eps, n, certified, robust_accuracy, over the images of both tables; empty if all is well.

    Example:
        >>> from torch import nn
        >>> from holdfast import L2, EvaluationConfig, evaluate, metrics
        >>> from holdfast.attacks import PGD
        >>> from holdfast.certify import CertificationConfig, certify
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.1), model)
        >>> proven = certify(model, x, y, config=CertificationConfig(sigma=0.1)).rows
        >>> attacks, config = [PGD(L2(0.01), steps=2)], EvaluationConfig(samples=2)
        >>> attacked = evaluate(noisy, x, y, attacks, config=config).rows
        >>> len(metrics.overclaimed(attacked, proven))  # no size at which a certificate is refuted
        0
    """
    top = _top(proven)
    shown = attacked[(attacked["norm"] == norm) & attacked["index"].isin(proven["index"])]
    shown = met_by_all(telling(shown, top))
    if not len(shown):
        return pd.DataFrame(columns=["eps", "n", "certified", "robust_accuracy"])
    shown = shown.assign(fooled=_refuted(shown, top), clean_prediction=shown["label"])
    ceiling = worst_case(shown).query("eps > 0").reset_index(drop=True)
    floor = certified(proven[proven["index"].isin(shown["index"])], ceiling["eps"].to_numpy())
    ceiling["certified"] = floor["robust_accuracy"]
    wrong = ceiling[ceiling["certified"] > ceiling["robust_accuracy"]]
    return wrong[["eps", "n", "certified", "robust_accuracy"]].reset_index(drop=True)


def _top(proven: pd.DataFrame) -> int:
    """Among how many first classes the labels of these rows are certified to be."""
    return int(proven["top"].max()) if "top" in proven and len(proven) else 1


def _refuted(rows: pd.DataFrame, top: int) -> "pd.Series[bool]":
    """Whether so many other classes have more votes than the label, by more than chance."""
    if top > 1:
        return rows["fooled"] & (rows["ahead"] >= top)
    return rows["fooled"] & beyond_chance(rows["votes_for_prediction"], rows["votes_for_label"])
