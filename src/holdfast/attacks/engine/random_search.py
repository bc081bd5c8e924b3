"""Random search: change the best point so far at random, keep what scores higher; no gradient.

    x ← a start
    repeat:  x' ← x, changed at random
             x ← x' if it reaches the goal, or scores higher

The first query is the clean image, the second the start.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from holdfast.attacks.engine.active import Active
from holdfast.attacks.engine.climb import Climb
from holdfast.attacks.engine.queries import query
from holdfast.attacks.engine.roles import EarlyStop
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.tensors import expand, widest
from holdfast.types import Callback, Flags, Images, PerExample, Score, Step, Threat


@dataclass(eq=False)
class Best(Active):
    """The best point so far of each example; derive from it to remember more."""

    x: Images
    x0: Images
    value: PerExample  # its score
    reached: Flags
    score: Score
    rng: Stream
    memory: Int[Tensor, "n places"] | None  # what goes with the point


B = TypeVar("B", bound=Best)


@dataclass(frozen=True, kw_only=True)
class RandomSearch(Climb, Generic[B]):
    """What derives from it has a goal and early_stop among its fields, and writes `propose`.

    Attributes:
        threat: the ball to stay in.
        queries: most forward passes for each image, at least 1.
    """

    follows_gradients: ClassVar[bool] = False

    threat: Threat
    queries: int

    if TYPE_CHECKING:  # so that each has it where its own parameters have their place
        early_stop: EarlyStop

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(queries=self.queries)

    @abstractmethod
    def begin(self, at: Best) -> B:
        """What else is remembered: ``Mine(**at.known(), ...)``."""

    @abstractmethod
    def propose(self, at: B, i: int) -> tuple[Images, Int[Tensor, "n places"] | None]:
        """The point of query ``i`` >= 1, the start or a change of ``at.x``; what goes with it."""

    def climb(
        self, score: Score, x0: Images, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Ascend a score that has been stated already; see `Climb.climb`."""
        lowest = torch.full((len(x0),), -torch.inf, dtype=widest(x0.device), device=x0.device)
        unreached = torch.zeros_like(lowest, dtype=torch.bool)
        at = self.begin(Best(x0, x0, lowest, unreached, score, rng, None))
        result = x0.clone()
        for i in range(self.queries):
            new, memory = self.propose(at, i) if i else (at.x0, at.memory)
            value, fools = query(at.score, new, at.rng.fold("query", i))
            if callback is not None:
                callback(Step(i, at.position, new, value, None, fools))
            better = (fools & ~at.reached) | ((fools == at.reached) & (value > at.value))
            if i == 1:  # the start is taken even where it scores below the image
                better |= ~at.reached
            at.x = torch.where(expand(better, at.x), new, at.x)
            if at.memory is not None and memory is not None:
                at.memory = torch.where(better[:, None], memory, at.memory)
            at.value, at.reached = torch.where(better, value, at.value), at.reached | fools
            if self.early_stop and at.reached.any():
                at.scatter(result, at.x)
                at.keep(~at.reached)
                if not len(at):
                    return result
        at.scatter(result, at.x)
        return result
