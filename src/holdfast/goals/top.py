"""Push the label out of the first k classes."""

from dataclasses import dataclass, replace

from holdfast import losses
from holdfast.goals.logits import logits_of
from holdfast.parameters import check_fields, check_top
from holdfast.tensors import rank_of
from holdfast.types import Goal, Images, Labels, Model, Positions, Score, Scored

__all__ = ["TopMargin"]


@dataclass(frozen=True, eq=False)
class _LeaveTop:
    """Score of `TopMargin`."""

    model: Model
    top: int
    y: Labels

    def __call__(self, x: Images) -> Scored:
        logits = logits_of(self.model, x)
        check_top(self.top, logits.shape[1])
        reached = rank_of(logits, self.y) >= self.top
        return Scored(losses.top_margin(logits, self.y, top=self.top), reached)

    def take(self, index: Positions) -> Score:
        return replace(self, y=self.y[index])


@dataclass(frozen=True, repr=False)
class TopMargin(Goal):
    """Push the label out of the first k classes, by ascending ``losses.top_margin``.

    On the command line ``goal=top_margin(top=5)``. It is reached, and above 0, where at least k
    classes are liked more than the label, which is where top-k accuracy counts an error; a class
    that is level with the label is not liked more. With k = 1 the score is that of `margin`.

    When:
        For top-k robust accuracy: `margin` and the others leave it to chance where behind the first
        class the label ends, and so give an upper limit that may be far too high.

    When not:
        For robust accuracy itself: what raises k classes may leave the label first where `margin`,
        which raises one, would have reached it.

    Attributes:
        top: k, at least 1 and below the number of classes.

    Raises:
        InputTypeError: if k is no whole number.
        InputError: if it is below 1; at the attack, if the model has no more classes.

    Reference:
        Tursynbek, Petiushko and Oseledets, "Geometry-inspired top-k adversarial perturbations",
        WACV 2022, state this aim.

    Example:
        >>> from holdfast.goals import TopMargin
        >>> value, reached = TopMargin(2)(model, x, y)(x)
        >>> bool((value < 0).all()), reached
        (True, tensor([False, False, False, False]))
    """

    top: int

    def __post_init__(self) -> None:
        check_fields(self)
        check_top(self.top)

    def __call__(self, model: Model, x0: Images, y: Labels) -> Score:
        """The score of leaving the first k classes; ``x0`` plays no part."""
        return _LeaveTop(model, self.top, y)

    def __repr__(self) -> str:
        return f"top_margin(top={self.top})"
