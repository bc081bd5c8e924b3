"""How near a single-step attack comes to a multi-step one (EAT section 4 and table 6).

A model on which one step finds much less loss than many has learnt to degrade the gradient, not to
resist: gradient masking.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.attacks import Attack
from holdfast.attacks.engine.attack import prepared
from holdfast.attacks.engine.roles import stops_early
from holdfast.errors import InputError
from holdfast.goals import Untargeted
from holdfast.gradients import autograd
from holdfast.parameters import Seed
from holdfast.random import drawing_from
from holdfast.tensors import norm, unit
from holdfast.types import Images, Labels, Loss, Model, PerExample

__all__ = ["linearity"]


@dataclass(frozen=True, eq=False)
class Linearity:
    """Loss and perturbation of one step beside those of many; each field (N,), one per image.

    Attributes:
        clean_loss: on the image.
        single_loss: after the single-step attack.
        best_loss: the larger of the losses after the two attacks, a lower bound for the largest
            within reach. EAT takes the multi-step attack's alone, which may lie below the single
            step's; then its ratio exceeds 1.
        cosine: between the two perturbations; NaN where an attack did not move the image.
        gradient_norm: ‖∇L(x)‖₂ over all of C·H·W: whether the loss is merely flat (EAT section 4).

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, IFGSM
        >>> from holdfast.diagnose import linearity
        >>> found = linearity(model, x, y, FGSM(Linf(0.1)), IFGSM(Linf(0.1), early_stop=False))
        >>> bool((found.best_loss >= found.single_loss).all())
        True
    """

    clean_loss: PerExample
    single_loss: PerExample
    best_loss: PerExample
    cosine: PerExample
    gradient_norm: PerExample

    @property
    def ratio(self) -> PerExample:
        """L(single) / L(best), from 0 to 1; NaN where both are 0 and nothing can be said."""
        return self.single_loss / self.best_loss

    @property
    def mean_of_ratios(self) -> float:
        """The mean over images of L(single) / L(best): every image counts alike.

        EAT says "within 19 % of the optimum loss on average" and does not say which mean; this is
        the nearer reading.
        """
        return float(self.ratio.nanmean())

    @property
    def ratio_of_means(self) -> float:
        """Mean L(single) / mean L(best): images whose loss can be driven high count most."""
        return float(self.single_loss.mean() / self.best_loss.mean())

    @property
    def mean_cosine(self) -> float:
        """The mean cosine, over the images that both attacks moved."""
        return float(self.cosine.nanmean())


def linearity(
    model: Model,
    x: Images,
    y: Labels,
    single: Attack,
    multi: Attack,
    *,
    loss: Loss = losses.cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> Linearity:
    """Attack the same images by one step and by many, and compare.

        L(x_single) / max(L(x_single), L(x_multi)),  cos(x_single - x, x_multi - x)

    When:
        After single-step adversarial training: a ratio far below that of a plain network is
        gradient masking.

    When not:
        Alone: a network whose loss is steep for honest reasons has a low ratio too. Look at what
        `RFGSM` and transfer find.

    Traps:
        Mean of ratios and ratio of means are two numbers, and EAT does not say which; both are
        given. Many steps must not stop early, or the first image that fools passes for the worst;
        that is refused.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, ...) images in [0, 1].
        y: (N,) true classes.
        single: such as ``FGSM(threat)`` or ``StepLL(threat)``.
        multi: such as ``IFGSM(threat, early_stop=False)``: the first image that fools is not the
            one of the largest loss.
        loss: what is compared, the loss of the inner maximisation (EAT equation 1), whatever the
            attacks ascend.
        seed: of all randomness.
        index: (N,) identity of each image; 0 ... N - 1.

    Raises:
        InputError: if ``multi`` stops early, the steps are not one and many, or the attacks' balls
            differ.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, section 4 and table 6.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, IFGSM
        >>> from holdfast.diagnose import linearity
        >>> found = linearity(model, x, y, FGSM(Linf(0.01)), IFGSM(Linf(0.01), early_stop=False))
        >>> bool((found.cosine > 0.9).all())  # the loss is nearly linear there
        True
    """
    check_steps(single, multi)
    if single.threat != multi.threat:
        raise InputError(
            f"the attacks have different balls, {single.threat} and {multi.threat}; "
            "losses compare within one."
        )
    by_one = single(model, x, y, seed=seed, index=index)
    by_many = multi(model, x, y, seed=seed, index=index)
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng), torch.no_grad():
        score = Untargeted(loss)(checked, x0, labels)
        slope = autograd(score)(x0, rng.fold("gradient"))
        found = []
        for image in (by_one, by_many):
            with drawing_from(rng.fold("look")):
                found.append(score(image).value)
    steps = [unit(image - x0, 2).flatten(1) for image in (by_one, by_many)]
    cosine = (steps[0] * steps[1]).sum(dim=1)
    moved = steps[0].any(dim=1) & steps[1].any(dim=1)
    return Linearity(
        clean_loss=slope.value,
        single_loss=found[0],
        best_loss=torch.maximum(*found),
        cosine=torch.where(moved, cosine, torch.nan),
        gradient_norm=norm(slope.grad, 2),
    )


def check_steps(single: Attack, multi: Attack) -> None:
    """See that one attack takes one step and the other many, none of them stopping early.

    Raises:
        InputError: if not.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, PGD
        >>> from holdfast.diagnose.single_step import check_steps
        >>> check_steps(PGD(Linf(0.1), steps=40), PGD(Linf(0.1), early_stop=False))
        Traceback (most recent call last):
        holdfast.errors.InputError: the single-step attack takes 40 steps; ...
    """
    if stops_early(multi):
        raise InputError(
            "the multi-step attack stops at the first image that fools, short of the largest loss; "
            "give it early_stop=False."
        )
    if (steps := _steps_of(single)) > 1:
        raise InputError(
            f"the single-step attack takes {steps} steps; give one that takes one, such as FGSM."
        )
    if _steps_of(multi) == 1:
        raise InputError(
            "the multi-step attack takes one step; give one that takes many, such as I-FGSM."
        )


class _Stubborn(nn.Module):
    """Answers 0, whatever an attack does."""

    def forward(self, x: Tensor) -> Tensor:
        lean = 1e-3 * x.flatten(1).sum(dim=1)
        return torch.stack([5 + lean, -lean], dim=1)


def _steps_of(attack: Attack) -> int:
    """How many steps an attack takes where none of them fools."""
    seen: set[int] = set()
    x, y = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, dtype=torch.int64)
    attack(_Stubborn().eval(), x, y, callback=lambda step: seen.add(step.step))
    return len(seen)
