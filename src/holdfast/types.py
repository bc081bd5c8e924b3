"""The vocabulary of Holdfast: six callables and the small values that pass between them.

Conventions, everywhere: images ``x`` lie in [0, 1] and have shape (N, C, H, W), or (N, ...) where
nothing looks at the axes; a model maps them to logits (N, K); a loss is per example, (N,).
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from holdfast.random import Stream

__all__ = [
    "Balls",
    "Callback",
    "Flags",
    "Goal",
    "Gradient",
    "Images",
    "Labels",
    "Logits",
    "Loss",
    "Model",
    "Objective",
    "PerExample",
    "Positions",
    "Score",
    "Scored",
    "Slope",
    "SlopeAt",
    "Step",
    "TargetedGoal",
    "Threat",
]

Images: TypeAlias = Float[Tensor, "n *image"]
Labels: TypeAlias = Int[Tensor, " n"]
Logits: TypeAlias = Float[Tensor, "n k"]
PerExample: TypeAlias = Float[Tensor, " n"]
Flags: TypeAlias = Bool[Tensor, " n"]
Positions: TypeAlias = Int[Tensor, " m"]

#: x (N, C, H, W) in [0, 1] -> logits (N, K). Normalisation and inference-time defences are layers.
Model: TypeAlias = nn.Module

#: (logits (N, K), labels (N,)) -> (N,), larger is worse for the model.
Loss: TypeAlias = Callable[[Logits, Labels], PerExample]


class Scored(NamedTuple):
    """What one look at ``x`` tells an attacker.

    The two come together because they come from one forward pass: an attack that stops at the
    first fooling point would otherwise pay for a second.

    Example:
        >>> from holdfast.goals import margin
        >>> scored = margin(model, x, y)(x)
        >>> scored.reached
        tensor([False, False, False, False])
    """

    value: PerExample  # what is ascended
    reached: Flags  # whether the attacker's aim is reached at this very x


@runtime_checkable
class Score(Protocol):
    """What an attacker ascends; always ascended, never descended.

    Example:
        >>> from holdfast.goals import margin
        >>> from holdfast.types import Score
        >>> score = margin(model, x, y)
        >>> isinstance(score, Score), score.take(torch.tensor([0, 0, 2]))(x[[0, 0, 2]]).value.shape
        (True, torch.Size([3]))
    """

    def __call__(self, x: Images) -> Scored:
        """Score every image of the batch."""
        ...

    def take(self, index: Positions) -> "Score":
        """The same score on the chosen examples, repeats allowed, recomputing nothing."""
        ...


@runtime_checkable
class Goal(Protocol):
    """What an attacker wants, stated before the attack: (model, x0, y) -> Score.

    Example:
        >>> from holdfast.goals import cross_entropy
        >>> from holdfast.types import Goal
        >>> isinstance(cross_entropy, Goal)
        True
    """

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """Fix what depends on the clean images, such as a target class."""
        ...


@runtime_checkable
class TargetedGoal(Protocol):
    """A goal that is told the class to go to: (model, x0, y, target) -> Score.

    Example:
        >>> from holdfast.goals import leave_toward_dlr
        >>> from holdfast.types import TargetedGoal
        >>> isinstance(leave_toward_dlr, TargetedGoal)
        True
    """

    def __call__(self, model: Model, x0: Images, y: Labels, target: Labels, /) -> Score:
        """Fix what depends on the clean images."""
        ...


class Slope(NamedTuple):
    """Value, gradient and success of a score at ``x``, in true scale and sign.

    Example:
        >>> from holdfast.goals import margin
        >>> from holdfast.gradients import autograd
        >>> from holdfast.random import Stream
        >>> slope = autograd(margin(model, x, y))(x, Stream.of(0, torch.arange(4)))
        >>> slope.grad.shape
        torch.Size([4, 1, 8, 8])
    """

    value: PerExample
    grad: Images
    reached: Flags


@runtime_checkable
class SlopeAt(Protocol):
    """The slope of one score, anywhere: (x, stream, progress) -> Slope.

    The stream keys whatever randomness the estimate needs. ``progress``, from 0 to 1, is how far
    the attack has come, for estimates that grow finer as it goes.

    Example:
        >>> from holdfast.goals import margin
        >>> from holdfast.gradients import autograd
        >>> from holdfast.types import SlopeAt
        >>> isinstance(autograd(margin(model, x, y)), SlopeAt)
        True
    """

    def __call__(self, x: Tensor, rng: Stream, progress: float = 1.0, /) -> Slope:
        """Estimate at ``x``."""
        ...


@runtime_checkable
class Gradient(Protocol):
    """A gradient estimator: Score -> ((x, stream, progress) -> Slope).

    Example:
        >>> from holdfast.gradients import Average, autograd
        >>> from holdfast.types import Gradient
        >>> isinstance(autograd, Gradient), isinstance(Average(samples=4), Gradient)
        (True, True)
    """

    def __call__(self, score: Score) -> SlopeAt:
        """Bind the estimator to a score."""
        ...


@runtime_checkable
class Balls(Protocol):
    """The balls of a threat around N images, one of its own for each.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.types import Balls
        >>> balls = Linf(0.1).around(x)
        >>> isinstance(balls, Balls), bool((balls.project(x) == x).all())
        (True, True)
    """

    def project(self, x: Images) -> Images:
        """Bring every image into its ball and into the box."""
        ...

    def take(self, index: Positions) -> "Balls":
        """The balls of the chosen examples."""
        ...


@runtime_checkable
class Threat(Protocol):
    """What an attacker may do to an image: a ball of size ``eps``, cut by the box [0, 1].

    Example:
        >>> from holdfast import L2
        >>> from holdfast.types import Threat
        >>> isinstance(L2(0.5), Threat), L2(0.5).name, L2(0.5).p
        (True, 'l2', 2.0)
    """

    name: ClassVar[str]  # of the norm: "linf", "l2", "l1" or "l0"
    p: ClassVar[float]  # of the norm: infinity, 2, 1 or 0

    @property
    def eps(self) -> float:
        """Size of the ball."""
        ...

    def unlimited(self) -> "Threat":
        """The same norm without a limit."""
        ...

    def diameter(self, x0: Images) -> float:
        """Of the box that the images lie in."""
        ...

    def reach(self, x0: Images) -> float:
        """``eps``, or the box's diameter if that is smaller."""
        ...

    def project(self, x: Images, x0: Images) -> Images:
        """Bring ``x`` into the ball around ``x0`` and into the box."""
        ...

    def project_each(self, x: Images, x0: Images, radius: PerExample) -> Images:
        """As `project`, but every image into its own ball, of size ``radius`` (N,)."""
        ...

    def steepest(self, grad: Images) -> Images:
        """The direction of norm 1 along which ``grad`` rises fastest; 0 where ``grad`` is 0."""
        ...

    def around(self, x0: Images) -> "Balls":
        """The balls around ``x0``, to project into them again and again."""
        ...

    def sample(self, x0: Images, rng: Stream) -> Images:
        """A random point of the ball, cut by the box."""
        ...

    def distance(self, x: Images, x0: Images) -> PerExample:
        """Distance between images, in float64."""
        ...


class Step(NamedTuple):
    """One iteration of an attack, as a callback sees it; tensors hold the active examples.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> def watch(step):  # a callback is given one at every iteration
        ...     print(step.step, step.position.tolist())
        >>> x_adv = PGD(Linf(0.1), steps=2, early_stop=False)(model, x, y, callback=watch)
        0 [0, 1, 2, 3]
        1 [0, 1, 2, 3]
    """

    step: int
    position: Positions  # which examples of the batch are still active
    x: Images
    value: PerExample
    grad: Images | None  # None for an attack that takes no gradient
    reached: Flags
    stage: str = ""  # of an attack made of several: which one this is


#: Receives every iteration of an attack.
Callback: TypeAlias = Callable[[Step], None]


@runtime_checkable
class Objective(Protocol):
    """A training loss: (model, x, y, stream) -> (scalar loss, its terms for the log).

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Standard
        >>> from holdfast.types import Objective
        >>> isinstance(Standard(), Objective)
        True
        >>> loss, terms = Standard()(model, x, y, Stream.of(0, torch.arange(4)))
    """

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Float[Tensor, ""], Mapping[str, Tensor]]:
        """The loss of one batch, averaged over its examples."""
        ...
