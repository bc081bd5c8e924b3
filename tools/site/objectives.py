"""What an objective makes of a small network: its regions, beside the borders of plain training."""

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import nn

from holdfast.attacks import FGSM, PGD, RFGSM, On
from holdfast.data import Data
from holdfast.threat import Linf
from holdfast.training import (
    IBP,
    OBJECTIVES,
    TRADES,
    Adversarial,
    AdvTrainII,
    DeepDefense,
    Denoising,
    Distillation,
    EnsembleAdversarial,
    Frozen,
    LogitPairing,
    NoiseAugmentation,
    Stability,
    Standard,
    SupervisedDenoising,
    adversarial_training_1,
    against_prediction,
)
from tools.site import canvas, plane

_BALL = Linf(plane.ROOM)
_SIGMA = 0.07
_PGD = PGD(_BALL, steps=3, early_stop=False)

_BALLS = ("adv-train-2", "alp", "ensemble", "fgsm", "pgd", "r+fgsm", "trades")
_NOISY = ("noise", "stability", "dae", "sdae")
_PROVEN = Linf(plane.ROOM / 2)


def _teacher() -> Frozen:
    return Frozen(plane.plain(), "plain")


#: Each as its page's command makes it, on this scale.
_MADE: Mapping[str, Callable[[], Any]] = {
    "adv-train-1": lambda: adversarial_training_1(plane.plain(), Data.of(*plane.points())),
    "adv-train-2": lambda: AdvTrainII(_BALL),
    "alp": lambda: LogitPairing(_PGD, weight=0.5),
    "dae": lambda: Denoising(sigma=_SIGMA),
    "deep-defense": lambda: DeepDefense(weight=2.0, c=10.0, d=5.0, steps=2),
    "distillation": lambda: Distillation(teacher=_teacher(), temperature=5.0),
    "ensemble": lambda: EnsembleAdversarial(
        FGSM(_BALL), [On(plane.plain(1), FGSM(_BALL), name="other")]
    ),
    "fgsm": lambda: Adversarial(against_prediction(FGSM(_BALL)), weight=0.5),
    "ibp": lambda: IBP(_PROVEN),
    "noise": lambda: NoiseAugmentation(sigma=_SIGMA),
    "pgd": lambda: Adversarial(_PGD),
    "r+fgsm": lambda: Adversarial(against_prediction(RFGSM(_BALL))),
    "sdae": lambda: SupervisedDenoising(sigma=_SIGMA, classifier=_teacher(), weight=0.1),
    "stability": lambda: Stability(sigma=_SIGMA),
    "standard": Standard,
    "trades": lambda: TRADES(threat=_BALL, steps=3, beta=6.0),
}


class _Denoiser(nn.Module):
    """Points to points, by way of what is to be added to them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plane.network(outputs=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images to images of the same shape."""
        residual: torch.Tensor = self.body(x)
        return x + 0.1 * residual.view_as(x)


def draw(name: str) -> bytes | None:
    """The picture of an objective; None of one that calls for more than a ball."""
    objective = _MADE[name]() if name in _MADE else _by_default(OBJECTIVES[name])
    if objective is None:
        return None
    figure, axes = canvas.square()
    if name in ("dae", "sdae"):
        _arrows(axes, plane.learn(_Denoiser(), objective, steps=200))
    else:
        fresh = deepcopy(plane.plain()) if name in ("adv-train-1", "deep-defense") else None
        canvas.regions(axes, plane.learn(fresh or plane.network(), objective))
    canvas.borders(axes, plane.plain())
    _around(axes, name)
    plane.scatter(axes)
    return canvas.svg(figure, name)


def _by_default(make: Callable[..., Any]) -> Any:
    takes = inspect.signature(make).parameters.values()
    needed = {each.name for each in takes if each.default is each.empty}
    if needed - {"threat"}:
        return None
    return make(_BALL) if needed else make()


def _arrows(axes: Axes, denoiser: nn.Module) -> None:
    """From where in the square the denoiser leads where."""
    across, up, right = canvas.on_grid(lambda x: (denoiser(x) - x)[:, 0, 0, 0], ticks=17)
    _, _, upward = canvas.on_grid(lambda x: (denoiser(x) - x)[:, 0, 0, 1], ticks=17)
    axes.quiver(
        across, up, right, upward, color=canvas.MAIN, angles="xy", scale_units="xy", scale=1.6
    )


def _around(axes: Axes, name: str) -> None:
    """What is to be answered alike around each point."""
    look: dict[str, Any] = {"fill": False, "edgecolor": canvas.BESIDE, "lw": 0.8}
    eps = (_PROVEN if name == "ibp" else _BALL).eps
    for x, y in plane.points()[0].flatten(1).tolist():
        if name in _NOISY:
            axes.add_patch(Circle((x, y), _SIGMA, ls=":", **look))
        elif name in (*_BALLS, "ibp"):
            axes.add_patch(Rectangle((x - eps, y - eps), 2 * eps, 2 * eps, **look))
