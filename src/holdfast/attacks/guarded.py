"""Any function (model, x, y) -> x_adv as an attack, held to what it may do.

    Guarded(Linf(8 / 255), my_attack)

A stranger's attack may return the wrong shape, NaN, images beyond its budget, or a model that it
has changed. Each has skewed a published number. What cannot be mended is an error in a sentence;
images that left the ball or the box are brought back, which is told. Whether an image fooled the
model is asked of the model, as always.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.skips import note
from holdfast.errors import AttackError, HoldfastError, InputTypeError, kind_of
from holdfast.parameters import at_least_one
from holdfast.random import Stream, own_global_generator
from holdfast.recorded import recorded
from holdfast.tensors import expand
from holdfast.types import Callback, Images, Labels, Model, Threat

__all__ = ["Guarded"]


@dataclass(frozen=True, kw_only=True)
class Guarded(Attack):
    """A function (model, x, y) -> x_adv, whose result is proved to be what an attack may return.

    The function is given the model in evaluation mode, with its parameters' gradients left as they
    are found, and may ask it any number of times; passes are counted, evenly over the images of the
    batch. What it draws from torch's, NumPy's or Python's generators is a function of the seed and
    of the batch, so that, other than of Holdfast's attacks, its result may hang on the batch size.

    - Not a tensor of the images' shape, or an exception: `AttackError`.
    - NaN: the image stays as it is, and that is told.
    - Beyond the ball or the box: the image is projected, and that is told.
    - Weights or buffers that are others afterwards: `AttackError`.

    Attributes:
        threat: what the attack may do to an image.
        function: of the model, the images and the labels.
        name: of the function, for the record; module:function by default.
        samples: draws of a stochastic model that each answer averages over, 1 for another: the mean
            of the probabilities, through which gradients go (EOT).

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import Guarded
        >>> def mine(model, x, y):
        ...     x = x.clone().requires_grad_()
        ...     (slope,) = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)
        ...     return (x + 0.3 * slope.sign()).detach().clamp(0, 1)
        >>> result = evaluate(model, x, y, {"mine": Guarded(Linf(0.3), mine)})
        >>> result.cells[0]["forwards"], result.cells[0]["backwards"]
        (4, 4)
    """

    #: Whatever it steps by, its result is held to the ball.
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0")

    threat: Threat = field(kw_only=False)
    function: Callable[[Model, Images, Labels], Tensor] = field(kw_only=False, repr=False)
    name: str = ""
    samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise InputTypeError(
                f"the attack is {kind_of(self.function)}, but must be a function "
                "(model, x, y) -> x_adv."
            )
        at_least_one(samples=self.samples)

    def __repr__(self) -> str:
        samples = f", samples={self.samples}" if self.samples > 1 else ""
        return f"Guarded({self.threat!r}, {self.called!r}{samples}, {recorded(self.function)})"

    @property
    def called(self) -> str:
        """What the function is called."""
        made = getattr(self.function, "func", self.function)  # of a partial
        where = getattr(made, "__module__", None) or type(made).__module__
        return self.name or f"{where}:{getattr(made, '__qualname__', type(made).__qualname__)}"

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Call the function and hold its result to the threat; see `Attack.perturb`."""
        del callback  # it tells nothing of its steps
        asked = _Mean(model, self.samples) if self.samples > 1 else model
        seed = rng.fold("function", int(rng.index[0])).key  # batches share the key
        with self._unchanged(model), own_global_generator(seed, x0.device), torch.enable_grad():
            try:
                found = self.function(asked.eval(), x0.clone(), y.clone())
            except HoldfastError:
                raise
            except Exception as error:  # a stranger's code may raise anything
                raise AttackError(
                    f"{self.called} failed on images of shape {tuple(x0.shape)} with "
                    f"{type(error).__name__}: {' '.join(str(error).split())}"
                ) from error
        return self._held(found, x0)

    def _held(self, found: Any, x0: Images) -> Images:
        """What the function returned, as far as it is an attack's; each image within the threat."""
        if not isinstance(found, Tensor) or found.shape != x0.shape:
            given = (
                f"shape {tuple(found.shape)}"
                if isinstance(found, Tensor)
                else "a " + (type(found).__name__)
            )
            raise AttackError(
                f"{self.called} returned {given}, but an attack returns the adversarial images as "
                f"a tensor of the shape of the images, {tuple(x0.shape)}."
            )
        found = found.detach().to(x0)
        broken = found.isnan().flatten(1).any(dim=1)
        found = torch.where(expand(broken, found), x0, found)
        held = self.threat.project(found, x0)
        far = self.threat.distance(found, x0) > self.threat.eps * (1 + 1e-6)
        beyond = far | ((found < 0) | (found > 1)).flatten(1).any(dim=1)
        note(f"{self.called} returned NaN: these images stay as they were", int(broken.sum()))
        note(
            f"{self.called} left the ball or [0, 1]: these images were projected into it, so "
            "another size may have been meant",
            int(beyond.sum()),
        )
        return torch.where(expand(beyond, found), held, found)

    @contextmanager
    def _unchanged(self, model: Model) -> Iterator[None]:
        """The model's gradients and modes put back, and its weights proved to be what they were."""
        before = _state(model)
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        requires = {name: p.requires_grad for name, p in model.named_parameters()}
        modes = [(layer, layer.training) for layer in model.modules()]
        try:
            yield
        finally:
            for layer, training in modes:
                layer.training = training
            for name, parameter in model.named_parameters():
                parameter.grad = grads.get(name)
                parameter.requires_grad_(requires.get(name, parameter.requires_grad))
        changed = [name for name, state in _state(model).items() if before.get(name) != state]
        if changed:
            raise AttackError(
                f"{self.called} changed the model: {changed[0]} is another than before; an attack "
                "must leave weights and buffers as they are, batch normalisation among them."
            )


def _state(model: Model) -> dict[str, tuple[int, str]]:
    """Of each weight and buffer, how often it was written to, and its sum.

    What is written through ``.data`` is not counted by torch.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    with torch.no_grad():
        return {name: (one._version, str(float(one.double().sum()))) for name, one in named}


class _Mean(nn.Module):
    """A stochastic model by the mean of its probabilities, whose gradient is the mean's."""

    def __init__(self, model: Model, samples: int) -> None:
        super().__init__()
        self.model, self.samples = model, samples

    def forward(self, x: Images) -> Tensor:
        """(N, K) log of the mean probability."""
        logits = self.model(x.repeat(self.samples, *[1] * (x.dim() - 1)))
        each = logits.log_softmax(dim=1).view(self.samples, len(x), -1)
        mean: Tensor = each.logsumexp(dim=0) - math.log(self.samples)
        return mean
