"""One goal on several source models at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from holdfast.errors import InputError
from holdfast.goals.untargeted import cross_entropy
from holdfast.recorded import recorded
from holdfast.tensors import eval_mode
from holdfast.types import Goal, Images, Labels, Model, Positions, Score, Scored

__all__ = ["AverageOf"]


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
        >>> attack = PGD(Linf(0.3), goal=AverageOf({"one": model, "other": other}))
        >>> attack(model, x, y).shape
        torch.Size([4, 1, 8, 8])
    """

    sources: Mapping[str, Model]
    goal: Goal = cross_entropy

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
        sources = (f"{name}={recorded(source)}" for name, source in self.sources.items())
        return f"AverageOf({', '.join(sources)}; {self.goal})"
