"""Goals: what an attacker wants, as scores to ascend.

`Untargeted` leaves the true class, `Toward` reaches a chosen one; both turn any loss on logits into
a score. The others are goals made of goals: `AgainstPrediction` replaces the label by the model's
own prediction, so that a training attack cannot leak the label (EAT appendix C.2); `FromClean` asks
for no label, but leaves the model's own answer on the clean image, as TRADES does; `Minus` takes a
penalty off, as R+PGD does (MALADE 2.1.2); `AverageOf` looks at several models at once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast import losses
from holdfast.checks import form_checked, try_model
from holdfast.errors import InputError
from holdfast.tensors import eval_mode
from holdfast.types import (
    Goal,
    Images,
    Labels,
    Logits,
    Loss,
    Model,
    Positions,
    Score,
    Scored,
    TargetedGoal,
)

__all__ = [
    "AgainstPrediction",
    "AverageOf",
    "Divergence",
    "FromClean",
    "LeaveToward",
    "Minus",
    "Penalty",
    "ReconstructionError",
    "Target",
    "TargetedLoss",
    "Toward",
    "Untargeted",
    "cross_entropy",
    "dlr",
    "kl_from_clean",
    "leave_toward_dlr",
    "logits_of",
    "margin",
    "reconstruction_error",
    "toward",
    "toward_least_likely",
]

#: (logits, labels, targets) -> (N,), larger is closer to the target.
TargetedLoss = Callable[[Logits, Labels, Labels], Tensor]

#: (logits, logits on the clean image) -> (N,), how far apart two answers are.
Divergence = Callable[[Logits, Logits], Tensor]

#: (model, x0, y) -> target classes (N,).
Target = Callable[[Model, Images, Labels], Labels]

#: x (N, C, H, W) -> (N,), what an attacker pays for an image.
Penalty = Callable[[Images], Tensor]


@dataclass(frozen=True, eq=False)
class _LeaveClass:
    """Score of an untargeted goal: ascend ``loss`` until the prediction is not ``y``."""

    model: Model
    loss: Loss
    y: Labels

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        return Scored(self.loss(logits, self.y), logits.argmax(dim=1) != self.y)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index])


@dataclass(frozen=True, eq=False)
class _ReachClass:
    """Score of a targeted goal: ascend ``loss`` until the prediction is ``target``."""

    model: Model
    loss: TargetedLoss
    y: Labels
    target: Labels

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        return Scored(self.loss(logits, self.y, self.target), logits.argmax(dim=1) == self.target)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index], target=self.target[index])


@dataclass(frozen=True, eq=False)
class _LeaveToward:
    """Score of `LeaveToward`: reached at any other class than ``y``."""

    model: Model
    loss: TargetedLoss
    y: Labels
    target: Labels

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        return Scored(self.loss(logits, self.y, self.target), logits.argmax(dim=1) != self.y)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index], target=self.target[index])


@dataclass(frozen=True, repr=False)
class Untargeted(Goal):
    """Leave the class ``y`` by ascending ``loss``.

    Example:
        >>> from holdfast.goals import Untargeted
        >>> from holdfast.losses import margin
        >>> value, reached = Untargeted(margin)(model, x, y)(x)
        >>> bool((value < 0).all()), reached
        (True, tensor([False, False, False, False]))
    """

    loss: Loss

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of leaving ``y``; ``x0`` plays no part."""
        return _LeaveClass(model, self.loss, y)

    def __repr__(self) -> str:
        return self.loss.__name__


@dataclass(frozen=True, repr=False)
class Toward(Goal):
    """Reach the class that ``target`` chooses, by ascending a targeted ``loss``.

    Attributes:
        target: chooses the classes, once, from the clean images.
        loss: one of ``losses.towards_cross_entropy``, ``towards_margin``, ``towards_dlr``.
        name: how the goal is recorded.

    Example:
        >>> from holdfast.goals import Toward
        >>> from holdfast.losses import towards_margin
        >>> def runner_up(model, x0, y):
        ...     return model(x0).topk(2).indices[:, 1]
        >>> goal = Toward(runner_up, towards_margin, "toward_runner_up")
        >>> goal(model, x, y)(x).reached
        tensor([False, False, False, False])
    """

    target: Target
    loss: TargetedLoss
    name: str

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of reaching the target class."""
        return _ReachClass(model, self.loss, y, self.target(model, x0, y))

    def __repr__(self) -> str:
        return f"{self.name}[{self.loss.__name__}]"


@dataclass(frozen=True, repr=False)
class LeaveToward(TargetedGoal):
    """Leave the class ``y`` by way of another: reached at any other class than ``y``.

    Attributes:
        loss: one of ``losses.towards_cross_entropy``, ``towards_margin``, ``towards_dlr``.

    Example:
        >>> from holdfast.goals import LeaveToward
        >>> from holdfast.losses import towards_dlr
        >>> target = (y + 1) % 3
        >>> LeaveToward(towards_dlr)(model, x, y, target)(x).reached
        tensor([False, False, False, False])
    """

    loss: TargetedLoss

    def __call__(self, model: Model, x0: Images, y: Labels, target: Labels, /) -> Score:
        """The score of leaving ``y`` towards ``target``; ``x0`` plays no part."""
        return _LeaveToward(model, self.loss, y, target)

    def __repr__(self) -> str:
        return f"leave[{self.loss.__name__}]"


@dataclass(frozen=True)
class AgainstPrediction(Goal):
    """Another goal, with the model's prediction on the clean image in place of the label.

    Adversarial training with a single-step attack on the true label lets the network read the label
    off the perturbation ("label leaking"); see EAT appendix C.2.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.goals import AgainstPrediction, cross_entropy
        >>> attack = FGSM(Linf(0.1), goal=AgainstPrediction(cross_entropy))
        >>> wrong = (y + 1) % 3  # plays no part
        >>> bool((attack(model, x, y) == attack(model, x, wrong)).all())
        True
    """

    goal: Goal | TargetedGoal

    def __call__(self, model: Model, x0: Images, y: Labels, /, *target: Labels) -> Score:
        """The score of ``goal`` with predicted labels, and with its target if it takes one."""
        with torch.no_grad():
            return self.goal(model, x0, logits_of(model, x0).argmax(dim=1), *target)


@dataclass(frozen=True, eq=False)
class _LeaveAnswer:
    """Score of `FromClean`."""

    model: Model
    divergence: Divergence
    clean: Logits

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        reached = logits.argmax(dim=1) != self.clean.argmax(dim=1)
        return Scored(self.divergence(logits, self.clean), reached)

    def take(self, index: Positions) -> Score:
        return replace(self, clean=self.clean[index])


@dataclass(frozen=True, repr=False)
class FromClean(Goal):
    """Leave the model's own answer on the clean image: D(f(x), f(x0)), f(x0) fixed when stated.

    The label plays no part. At x0 itself the gradient of a divergence is 0, so that an ascent must
    start beside it.

    Attributes:
        divergence: D, such as `losses.kl_divergence` or `losses.soft_cross_entropy`.

    Reference:
        Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML
        2019, the inner maximisation of equation 5.

    Example:
        >>> from holdfast.goals import FromClean
        >>> from holdfast.losses import kl_divergence
        >>> score = FromClean(kl_divergence)(model, x, y)
        >>> bool((score(x).value.abs() < 1e-5).all())  # at the image itself
        True
    """

    divergence: Divergence

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of leaving the clean answer."""
        del y
        with torch.no_grad():
            return _LeaveAnswer(model, self.divergence, logits_of(model, x0))

    def __repr__(self) -> str:
        return f"from_clean[{getattr(self.divergence, '__name__', self.divergence)}]"


@dataclass(frozen=True, eq=False)
class _Penalized:
    """Score of `Minus`."""

    score: Score
    weight: float
    penalty: Penalty

    def __call__(self, x: Images) -> Scored:
        value, reached = self.score(x)
        return Scored(value - self.weight * self.penalty(x).to(value.dtype), reached)

    def take(self, index: Positions) -> Score:
        return replace(self, score=self.score.take(index))


@dataclass(frozen=True)
class Minus(Goal):
    """Another goal minus a penalty on the image: L(x) - λ · penalty(x), reached as L is.

    With `reconstruction_error` this is R+PGD, or R with any attack that ascends a goal: it looks
    for a fooling point that the defence's denoiser leaves where it is.

    Attributes:
        goal: what the attacker wants.
        weight: λ, at least 0.
        penalty: (N, C, H, W) -> (N,), differentiable; each number depends on its own image alone.

    Raises:
        InputError: if the weight is not a number of at least 0.

    Reference:
        MALADE section 2.1.2, R regularization, after Frosst et al., "DARCCC: Detecting adversaries
        by reconstruction from class conditional capsules", 2018. Both name no weight; their plain
        sum of the two losses is λ = 1.

    Example:
        >>> from holdfast.goals import Minus, margin, reconstruction_error
        >>> penalty = reconstruction_error(lambda x: x)  # of a denoiser that changes nothing
        >>> with_penalty, plain = Minus(margin, 1.0, penalty)(model, x, y), margin(model, x, y)
        >>> bool((with_penalty(x).value == plain(x).value).all())
        True
    """

    goal: Goal | TargetedGoal
    weight: float
    penalty: Penalty

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"the weight is {self.weight}, but a penalty's is at least 0.")

    def __call__(self, model: Model, x0: Images, y: Labels, /, *target: Labels) -> Score:
        """The score of ``goal``, with its target if it takes one, minus the penalty."""
        return _Penalized(self.goal(model, x0, y, *target), self.weight, self.penalty)


@dataclass(frozen=True, repr=False)
class ReconstructionError:
    """‖r(x) - x‖², summed over all of C·H·W.

    Attributes:
        reconstruct: r, images -> images of the same shape, such as a denoising autoencoder in
            evaluation mode.

    Example:
        >>> from holdfast.goals import ReconstructionError
        >>> ReconstructionError(lambda x: x / 2)(torch.ones(1, 1, 2, 2))
        tensor([1.])
    """

    reconstruct: Callable[[Images], Images]

    def __call__(self, x: Images) -> Tensor:
        """(N,) the error of each image."""
        return (self.reconstruct(x) - x).flatten(1).square().sum(dim=1)

    def __repr__(self) -> str:
        r = self.reconstruct
        return f"reconstruction_error({getattr(r, '__name__', type(r).__name__)})"


def reconstruction_error(reconstruct: Callable[[Images], Images]) -> ReconstructionError:
    """The penalty ‖r(x) - x‖² of R+PGD (MALADE 2.1.2).

    Example:
        >>> from holdfast.goals import reconstruction_error
        >>> reconstruction_error(lambda x: x)(x)
        tensor([0., 0., 0., 0.])
    """
    return ReconstructionError(reconstruct)


@dataclass(frozen=True, eq=False)
class _Mean:
    """Score of `AverageOf`."""

    models: tuple[Model, ...]
    scores: tuple[Score, ...]

    def __call__(self, x: Images) -> Scored:
        with eval_mode(*self.models):
            values, reached = zip(*(score(x) for score in self.scores), strict=True)
        return Scored(torch.stack(values).mean(dim=0), torch.stack(reached).all(dim=0))

    def take(self, index: Positions) -> Score:
        return replace(self, scores=tuple(score.take(index) for score in self.scores))


@dataclass(frozen=True, repr=False)
class AverageOf(Goal):
    """The mean of one goal's scores over several source models; reached when all of them are.

    The model that is attacked is not looked at: the sources stand in for it, as in a transfer
    attack from an ensemble. All their gradients come from one backward pass. Liu et al. average the
    sources' probabilities instead of their losses: `holdfast.models.Ensemble`.

    Attributes:
        sources: by name, at least one, on the device of the images; run in evaluation mode.
        goal: what to want of each.

    Raises:
        InputError: if there is no source.

    Reference:
        Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018: the
        ensemble in loss, with equal weights.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.goals import AverageOf
        >>> other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        >>> PGD(Linf(0.3), goal=AverageOf({"one": model, "other": other})).goal
        AverageOf(one, other; cross_entropy)
    """

    sources: Mapping[str, Model]
    goal: Goal = Untargeted(losses.cross_entropy)

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("there is no source; give at least one model by its name.")

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The mean of the sources' scores; ``model`` plays no part."""
        del model
        sources = tuple(self.sources.values())
        with eval_mode(*sources):
            return _Mean(sources, tuple(self.goal(source, x0, y) for source in sources))

    def __repr__(self) -> str:
        return f"AverageOf({', '.join(self.sources)}; {self.goal})"


cross_entropy = Untargeted(losses.cross_entropy)
margin = Untargeted(losses.margin)
dlr = Untargeted(losses.dlr)
kl_from_clean = FromClean(losses.kl_divergence)
leave_toward_dlr = LeaveToward(losses.towards_dlr)


def toward(target: int | Labels, loss: TargetedLoss = losses.towards_cross_entropy) -> Toward:
    """Reach ``target``: one class for all examples, or one per example of the batch attacked.

    Raises:
        InputError: at the attack, if there are not as many targets as examples.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.goals import toward
        >>> x_adv = PGD(Linf(0.5), goal=toward(2))(model, x, y, seed=0)
        >>> model(x_adv).argmax(dim=1)
        tensor([2, 2, 2, 2])
    """

    def chosen(model: Model, x0: Images, y: Labels) -> Labels:
        del model, x0
        targets = torch.as_tensor(target, device=y.device, dtype=y.dtype)
        if targets.dim() and targets.shape != y.shape:
            raise InputError(
                f"there are {targets.numel()} targets for {len(y)} images; "
                "give one class for all, or one for each image."
            )
        return targets.expand_as(y)

    name = f"toward({target})" if isinstance(target, int) else "toward(given)"
    return Toward(chosen, loss, name)


def _least_likely(model: Model, x0: Images, y: Labels) -> Labels:
    del y
    with torch.no_grad():
        return logits_of(model, x0).argmin(dim=1)


#: y_LL = argmin of the logits on the clean image, fixed once (EAT 3.2, equation 3).
toward_least_likely = Toward(_least_likely, losses.towards_cross_entropy, "toward_least_likely")


def logits_of(model: Model, x: Images) -> Logits:
    """The model's logits, in float32 at least: bfloat16 cannot tell a small margin from none.

    Raises:
        ModelError: if the model raises anything, or returns no (N, K) floating-point numbers.

    Example:
        >>> from holdfast.goals import logits_of
        >>> logits_of(model, x).shape  # (N, K)
        torch.Size([4, 3])
    """
    logits = form_checked(try_model(model, x), len(x))
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
