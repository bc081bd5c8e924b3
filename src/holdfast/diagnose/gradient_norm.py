"""The norm of the exact gradient along an attack's iterations (SO figure 2, left)."""

import torch
from jaxtyping import Float
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.attacks.engine.attack import prepared
from holdfast.goals import cross_entropy
from holdfast.gradients import autograd
from holdfast.parameters import Seed
from holdfast.random import Stream, own_global_generator
from holdfast.tensors import norm
from holdfast.types import Goal, Images, Labels, Model, PerExample, Score, Step

__all__ = ["gradient_norms"]


def gradient_norms(
    model: Model,
    x: Images,
    y: Labels,
    attack: Attack,
    *,
    goal: Goal = cross_entropy,
    seed: Seed = 0,
    index: Tensor | None = None,
) -> tuple[Float[Tensor, "steps n"], Images]:
    """Run an attack and take ‖∇L(x_t)‖₂ of every image at every iterate.

        ‖∇L(x_t, y)‖₂ for each image and each iterate t

    The gradient is the exact one of ``goal`` at the iterate itself, whatever gradient the attack
    follows: `holdfast.attacks.Trace` records the attack's own, which for S-O is an average over
    noise. And it is over all images, as SO's sum over the batch is: one that the attack has
    dropped, because it fools already, stays where it was dropped. SO's figure shows the mean over
    images, ``gradient_norms(...)[0].mean(dim=1)``.

    When:
        To see whether an attack has anything to follow: where gradients vanish on its way, an image
        that stands is no sign of robustness.

    When not:
        As a measure of robustness by itself.

    Traps:
        It is the exact gradient of ``goal``, not the one that the attack follows, and over all
        images, also those that are fooled already: of an attack that stops early those stay where
        they fell. The cross-entropy's norm falls with confidence, whatever the shape of the loss.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, ...) images in [0, 1].
        y: (N,) true classes.
        attack: calls its callback at every iterate, before its step; restarts follow each other.
        goal: whose gradient is taken.
        seed: of all randomness. A stochastic model's gradient is that of one draw.
        index: (N,) identity of each image; 0 ... N - 1.

    Returns:
        One row for each iterate and a last one for the images that the attack returns; and those
        images.

    Reference:
        Li et al., "Second-order adversarial attack and certifiable robustness", 2019, figure 2.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.diagnose import gradient_norms
        >>> norms, x_adv = gradient_norms(model, x, y, PGD(Linf(0.3), steps=5, early_stop=False))
        >>> norms.shape  # five iterates and the result
        torch.Size([6, 4])
    """
    with prepared(model, x, y, seed, index) as (checked, x0, labels, rng):
        recorder = _Recorder(goal(checked, x0, labels), x0, rng.fold("exact"))
        x_adv = attack(model, x0, labels, seed=seed, index=index, callback=recorder)
        every = torch.arange(len(x0), device=x0.device)
        recorder.look(every, x_adv)
    return torch.stack(recorder.rows), x_adv


class _Recorder:
    """Recomputes the exact gradient's norm where an image has moved; keeps it where it has not."""

    def __init__(self, score: Score, x0: Images, rng: Stream) -> None:
        self.rows: list[PerExample] = []
        self._score, self._rng = score, rng
        self._now = torch.full((len(x0),), torch.nan, device=x0.device)

    def __call__(self, step: Step) -> None:
        self.look(step.position, step.x)

    def look(self, position: Tensor, x: Images) -> None:
        with own_global_generator(0, x.device):  # the attack's own draws stay what they were
            slope = autograd(self._score.take(position))(x, self._rng.take(position))
        self._now = self._now.clone()
        self._now[position] = norm(slope.grad, 2).to(self._now)
        self.rows.append(self._now)
