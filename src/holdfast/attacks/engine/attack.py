"""What every attack is: a frozen record of its parameters that can be called.

A new attack derives from `Attack`, as a ``@dataclass(frozen=True, kw_only=True)`` with its
parameters as fields, and writes `perturb`. It gets checked inputs, a model in evaluation mode, and
a stream of random numbers; what it returns is proved to lie within its threat model.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from holdfast.attacks.engine.roles import check_reached, parts_of, roles_of
from holdfast.checks import (
    Checked,
    check_images,
    check_index,
    check_labels,
    check_model,
    warn_if_training,
)
from holdfast.errors import AttackError, InputError, RoleError, kind_of
from holdfast.parameters import MOST, Seed, check, check_fields
from holdfast.random import Stream, drawing_from, own_global_generator
from holdfast.tensors import eval_mode, sent
from holdfast.types import Callback, Images, Labels, Model, Threat

__all__ = ["Attack"]


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """(model, x, y) -> x_adv.

    What adaptivity may change is declared by the types of the fields, see
    `holdfast.attacks.engine.roles`.

    Attributes:
        threat: what the attacker may do to an image; a field of what has a ball of its own, and a
            property of what is made of other attacks.

    Example:
        >>> from dataclasses import dataclass, field
        >>> from holdfast import Linf
        >>> from holdfast.attacks import Attack
        >>> from holdfast.types import Threat
        >>> @dataclass(frozen=True, kw_only=True)
        ... class RandomCorner(Attack):
        ...     threat: Threat = field(kw_only=False)
        ...     def perturb(self, model, x0, y, rng, callback=None):
        ...         corner = x0 + self.threat.eps * rng.normal(x0.shape[1:]).sign()
        ...         return self.threat.project(corner, x0)
        >>> RandomCorner(Linf(0.1))(model, x, y, seed=0).shape
        torch.Size([4, 1, 8, 8])
    """

    if TYPE_CHECKING:

        @property
        def threat(self) -> Threat:
            """What the attacker may do to an image."""

    _is_attack: ClassVar[bool] = True  # by which a field's type is known for one

    #: Whether it follows gradients; otherwise it sees the model's answers alone.
    follows_gradients: ClassVar[bool] = True

    #: Whether it looks for the smallest perturbation in its threat's norm, wherever the limit is.
    finds_smallest: ClassVar[bool] = False

    #: The norms that it is defined in. In ℓ0 a step has no length and a gradient no dual norm.
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __init_subclass__(cls, **options: Any) -> None:
        """Find the roles of the fields, or say at once which of them adaptivity cannot reach."""
        super().__init_subclass__(**options)
        roles_of(cls)

    def __post_init__(self) -> None:
        """Check the parameters' types; those that check more call this first."""
        if not (hasattr(type(self), "threat") or "threat" in type(self).__dataclass_fields__):
            raise RoleError(
                f"{type(self).__name__} has no threat: write `threat: Threat` among its fields, or "
                "a property that says it."
            )
        check_fields(self, most=MOST)
        check_reached(self)
        if "threat" in type(self).__dataclass_fields__:
            self._check_norm()

    def _check_norm(self) -> None:
        """Refuse a threat in a norm that the attack is not defined in.

        Raises:
            InputError: if it is.
        """
        if self.threat.name not in self.norms:
            raise InputError(
                f"{type(self).__name__} is not defined in {self.threat.name}, but in "
                f"{' and '.join(self.norms)}: choose one of these (--norm), or another attack; "
                "worst-case is defined in each."
            )

    @abstractmethod
    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """The attack itself, on checked inputs and a model in evaluation mode.

        Args:
            model: maps (N, C, H, W) in [0, 1] to logits (N, K).
            x0: (N, C, H, W) clean images in [0, 1].
            y: (N,) labels.
            rng: all randomness, keyed by example.
            callback: receives every iteration.

        Returns:
            (N, C, H, W) images within the threat model; the clean image where nothing was found,
            or the last iterate for an attack that spends a fixed budget.
        """

    @final
    def _repr_html_(self) -> str:
        """For a notebook: its parameters, line by line."""
        from holdfast.summary import Summary  # and pandas, which an attack does without

        lines = [
            {"parameter": each.name, "value": repr(getattr(self, each.name))}
            for each in fields(self)
        ]
        return Summary(type(self).__name__, lines or [{"parameter": "none"}]).html()

    @final
    def __call__(
        self,
        model: Model,
        x: Images,
        y: Labels,
        *,
        seed: Seed = 0,
        index: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Images:
        """Attack a batch and return the adversarial images.

        Whether the model is fooled is not part of the answer: an attack's own belief is not a
        result. Ask the model, or use `holdfast.evaluate`, which does.

        Randomness is a function of ``seed`` and ``index`` alone. In a training loop of your own a
        seed left out would therefore give every batch the same noise again, example by example:
        give the step's number for the seed, and the examples' places in the data set for the index,

            x_adv = attack(network, x, y, seed=step, index=index)

        Args:
            model: maps (N, C, H, W) in [0, 1] to logits (N, K); normalisation is a layer of it. Its
                mode, gradients, buffers and parameters are afterwards what they were.
            x: (N, C, H, W) clean images in [0, 1], floating point.
            y: (N,) true classes, integer.
            seed: the same seed gives the same images, whatever the batch size, but for rounding,
                which other machines do otherwise; 0 if it is left out, in every call.
            index: (N,) identity of each image, int64, such as its place in the data set, which
                keys its random numbers; 0 ... N - 1 if it is left out, in every call.
            callback: called with a `holdfast.types.Step` at every iteration, such as a
                `holdfast.attacks.Trace`.

        Returns:
            (N, C, H, W) images in [0, 1] within the threat model.

        Raises:
            InputTypeError: if images or labels have the wrong type.
            InputError: if images leave [0, 1], or labels do not fit.
            ModelError: if the model does not return finite logits (N, K).
            GradientError: if the attack needs a gradient and none reaches the images.
            AttackError: if the attack, one of your own, returns what no attack may.

        Example:
            >>> from holdfast import Linf
            >>> from holdfast.attacks import PGD
            >>> attack, index = PGD(Linf(0.1), steps=2, early_stop=False), torch.arange(4)
            >>> first = attack(model, x, y, seed=0, index=index)
            >>> alone = attack(model, x[2:], y[2:], seed=0, index=index[2:])  # has the same noise
            >>> bool(torch.allclose(first[2:], alone, atol=1e-6))
            True
            >>> second = attack(model, x, y, seed=1, index=index)  # has noise of its own
            >>> bool((first == second).all())
            False
        """
        check_model(model)
        warn_if_training(model)
        with prepared(model, x, y, seed, index) as (checked, x0, y, rng):
            x_adv = self.perturb(checked, x0, y, rng, callback)
        verify(x_adv, x, self.threat, self)
        return x_adv.detach()


@contextmanager
def prepared(
    model: Model, x: Images, y: Labels, seed: Seed, index: Tensor | None
) -> Iterator[tuple[Model, Images, Labels, Stream]]:
    """Check what an attack is given, and make all that it does repeatable and without a trace.

    Yields:
        The model, its first answer checked; images and labels; the randomness of the examples.

    Raises:
        InputTypeError, InputError: see `Attack.__call__`.

    Example:
        >>> from holdfast.attacks.engine.attack import prepared
        >>> with prepared(model, x, y, 0, None) as (checked, x0, labels, rng):
        ...     rng.index
        tensor([0, 1, 2, 3])
    """
    check_model(model)
    check_images(x)
    check_labels(y, len(x))
    check("seed", seed, Seed)
    seed = int(seed)  # NumPy's, which torch's generators do not take
    y = y.to(x.device, torch.int64)
    rng = Stream.of(seed, sent(check_index(index, len(x)), x.device))
    with eval_mode(model, images=x.dtype), own_global_generator(seed, x.device), drawing_from(rng):
        yield Checked(model, y, x.dtype), x.detach().clone(), y, rng  # who works in place may


def verify(x_adv: Tensor, x: Tensor, threat: Threat, by: object) -> None:
    """Prove that ``x_adv`` lies in the box and, recomputed in float64, in the ball.

    Args:
        x_adv: what was returned.
        x: (N, C, H, W) the clean images.
        threat: the ball.
        by: who returned it, which an error names.

    Raises:
        AttackError: if it does not, or is no such images; a defect of the attack, never of who
            calls it.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.engine.attack import verify
        >>> verify((x + 0.2).clamp(0, 1), x, Linf(0.1), by="mine")
        Traceback (most recent call last):
        holdfast.errors.AttackError: mine returned an image at distance ...
    """
    if not isinstance(x_adv, Tensor):
        raise AttackError(
            f"{by} returned {kind_of(x_adv)}, but must return the images as a tensor of "
            f"shape {tuple(x.shape)}."
        )
    for what, found, given in (
        ("shape", tuple(x_adv.shape), tuple(x.shape)),
        ("type", x_adv.dtype, x.dtype),
        ("device", x_adv.device, x.device),
    ):
        if found != given:
            raise AttackError(
                f"{by} was given images of {what} {given} and returned {what} {found}, but must "
                "return an image for each, as it was given."
            )
    x_adv, x = x_adv.detach(), x.detach()
    if not ((x_adv >= 0) & (x_adv <= 1)).all():  # also true of NaN
        raise AttackError(
            f"{by} returned images outside [0, 1], or NaN; that is a defect of the attack, "
            "which its threat's project() keeps within."
        )
    worst = float(threat.distance(x_adv, x).max())
    if worst > threat.eps * (1 + 1e-6):
        raise AttackError(
            f"{by} returned an image at distance {worst!r}, beyond its budget of "
            f"{threat.eps:g}; that is a defect of the attack, which its threat's project() keeps "
            "within."
        )


def follows_gradients(attack: Attack) -> bool:
    """Whether an attack follows gradients, or any of the attacks that it is made of.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, Square
        >>> from holdfast.attacks.engine.attack import follows_gradients
        >>> follows_gradients(PGD(Linf(0.3))), follows_gradients(Square(Linf(0.3)))
        (True, False)
    """
    parts = parts_of(attack)
    return any(map(follows_gradients, parts)) if parts else attack.follows_gradients
