"""Deep Defense's measures (section 4.1 and the supplement), read off rows.

ρ₂ has two. The authors' code: DeepFool without a box, at most five steps, from the predicted class
also for misclassified images, over ‖x - mean image‖ (`holdfast diagnose margin`). As an attack:
in the box, until it succeeds, 0 for misclassified images, over ‖x‖ (`holdfast evaluate`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from holdfast.reproduce import Computed, Mean, Measured, Scale, Step, diagnose, evaluate
from holdfast.reproduce.rows import rows_of
from holdfast.results import CLEAN

from ._networks import Network, data

_NORMAL = 1.959964  # 97.5 % quantile


def images_of(scale: Scale, network: Network, *, whole: bool = False) -> int:
    """How many test images; all of MNIST's where ``whole``, at the cpu scale too."""
    few = {"MLP": 10_000, "NIN": 200}.get(network.name, 2_000)
    cpu = 10_000 if whole and network.data == "mnist" else few
    return scale(f"test images, {network.name}", quick=100, cpu=cpu, paper=10_000)


def sizes(scale: Scale) -> list[float]:
    """Sizes of FGS, close enough to go in a straight line from one to the next."""
    step, count = scale(
        "FGS' sizes, step and number", quick=(0.08, 7), cpu=(0.02, 25), paper=(0.01, 60)
    )
    return [round(step * (place + 1), 4) for place in range(count)]


def fgs(net: Step, network: Network, scale: Scale) -> Step:
    """FGS from the true label, in the box, at all sizes."""
    images = images_of(scale, network, whole=True)
    return fgs_of(net, sizes(scale), data(network, scale), images)


def fgs_of(net: Step | str, eps: Sequence[float], images: str, count: int) -> Step:
    """The same of any network on any images."""
    return evaluate(
        f"{_named(net)}-fgs",
        model=net,
        attacks="fgsm",
        norm="linf",
        eps=list(eps),
        data=images,
        images=count,
        keep_images=0,
    )


def deepfool(net: Step, network: Network, scale: Scale) -> Step:
    """DeepFool as an attack, without a limit."""
    return evaluate(
        f"{net.name}-deepfool",
        model=net,
        attacks="deepfool",
        norm="l2",
        eps=math.inf,
        data=data(network, scale),
        images=images_of(scale, network, whole=True),
        keep_images=0,
    )


def margin(net: Step, network: Network, scale: Scale, *, whole: bool = False) -> Step:
    """DeepFool as the authors measure."""
    return margin_of(net, data(network, scale), images_of(scale, network, whole=whole))


def margin_of(net: Step | str, images: str, count: int) -> Step:
    """The same of any network on any images."""
    return diagnose("margin", f"{_named(net)}-margin", model=net, data=images, images=count)


def _named(net: Step | str) -> str:
    return net if isinstance(net, str) else net.name


def accuracy(margins: Step) -> Mean:
    """On the clean images."""
    return Mean((margins,), lambda rows: rows.set_index("index")["right"], fraction=True)


def rho(margins: Step) -> Mean:
    """ρ₂ of the authors' code."""
    return Mean((margins,), lambda rows: rows.set_index("index")["relative"])


def rho_as_attack(attacked: Step) -> Mean:
    """ρ₂ of DeepFool as an attack."""

    def relative(rows: pd.DataFrame) -> "pd.Series[float]":
        part = rows[rows["attack"] != CLEAN].set_index("index")
        return part["l2"] / part["x_l2"]

    return Mean((attacked,), relative)


@dataclass(frozen=True)
class Times:
    """How many times larger one mean is than another, over the same images.

    Its interval is the delta method's: that of the mean of a - r b, over the mean of b.

    Args:
        one: mean a, of one network.
        reference: mean b, of one network.
    """

    one: Mean
    reference: Mean

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `holdfast.reproduce.Measure`."""
        return (*self.one.steps, *self.reference.steps)

    def read(self, root: Path) -> Measured:
        """See `holdfast.reproduce.Measure`."""
        (a,), (b,) = self.one.by_image(root), self.reference.by_image(root)
        ratio = float(a.mean() / b.mean())
        half = _NORMAL * float((a - ratio * b).std()) / math.sqrt(len(a)) / float(b.mean())
        return Measured(ratio, ratio - half, ratio + half, len(a), 1)


def _right(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether each image (line) is right at each size (column), 0 first."""
    attacked = rows[rows["attack"] != CLEAN].pivot(index="index", columns="eps", values="fooled")
    clean = rows[rows["attack"] == CLEAN].set_index("index")["fooled"]
    return 1.0 - pd.concat([clean.rename(0.0), attacked], axis=1).astype(float)


def halving(rows: pd.DataFrame) -> float:
    """ε_ref: the smallest size at which half of the images are wrong.

    NaN if no size that was run leaves so few, or if half are wrong without an attack.
    """
    right = _right(rows).mean()
    below = np.flatnonzero(right.to_numpy() <= 0.5)
    if not len(below) or below[0] == 0:
        return math.nan
    last = int(below[0])
    (a, b), (high, low) = right.index[last - 1 : last + 1], right.iloc[last - 1 : last + 1]
    return float(a + (b - a) * (high - 0.5) / (high - low))


@dataclass(frozen=True)
class AtReference:
    """Accuracy under FGS at a fraction of ε_ref, that of Deep Defense's network (section 4.1).

    Between two sizes that were run it goes in a straight line.

    Args:
        of: FGS at all sizes on a network.
        reference: the same on Deep Defense's network.
        fraction: of ε_ref.
    """

    of: Step
    reference: Step
    fraction: float

    @property
    def steps(self) -> tuple[Step, ...]:
        """See `holdfast.reproduce.Measure`."""
        return (self.of, self.reference)

    def read(self, root: Path) -> Measured:
        """See `holdfast.reproduce.Measure`."""
        size = self.fraction * halving(rows_of(root / self.reference.folder))
        right = _right(rows_of(root / self.of.folder))
        if math.isnan(size):
            return Measured(math.nan, math.nan, math.nan, len(right), 1)
        place = int(np.clip(np.searchsorted(right.columns, size), 1, right.shape[1] - 1))
        a, b = right.columns[place - 1 : place + 1]
        share = min((size - a) / (b - a), 1.0)
        each = (1 - share) * right[a] + share * right[b]
        value = float(each.mean())
        half = _NORMAL * float(each.std()) / math.sqrt(len(each))
        return Measured(value, value - half, value + half, len(each), 1)


def at_reference(of: Step, reference: Step) -> Sequence[tuple[str, AtReference]]:
    """Table 1's last three columns."""
    return [
        (f"at {fraction:g} ε_ref", AtReference(of, reference, fraction))
        for fraction in (0.2, 0.5, 1.0)
    ]


def both(margins: Step) -> tuple[Mean, Mean]:
    """A point of figures 3, 4 and 6: accuracy and ρ₂."""
    return accuracy(margins), rho(margins)


def length(margins: Step) -> Mean:
    """‖Δ‖₂ of the authors' DeepFool (supplement, equation 1), on the [0, 1] scale."""
    return Mean((margins,), lambda rows: rows.set_index("index")["l2"])


def rho_inf(attacked: Step) -> Computed:
    """ρ∞ of FGS, at the size that fools half of the images (supplement, equation 2)."""

    def relative(rows: pd.DataFrame) -> float:
        clean = rows[rows["attack"] == CLEAN]
        return halving(rows) * float((1 / clean["x_linf"]).mean())

    return Computed((attacked,), relative)


def alike(scored: Step) -> Mean:
    """PASS of the images that DeepFool fools the network with."""
    return Mean((scored,), lambda rows: rows[rows["fooled"] == 1].set_index("index")["score"])
