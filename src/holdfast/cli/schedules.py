"""Optimizers and learning rates by the names that ``holdfast train`` gives them.

An optimizer's spec holds its learning rate and weight decay, which the library keeps in the
`Schedule`; a learning rate's spec holds its warm-up.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from holdfast import specs, training
from holdfast.training.optimizers import OptimizerSpec
from holdfast.training.rates import Rate


class Optimizer(NamedTuple):
    """What a step is made by."""

    kind: OptimizerSpec
    lr: float
    weight_decay: float


def sgd(
    *,
    lr: float = 1e-3,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with momentum, or Nesterov's."""
    return Optimizer(training.SGD(momentum=momentum, nesterov=nesterov), lr, weight_decay)


def adam(
    *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0
) -> Optimizer:
    """Adam; beta1 and beta2 are the decays of the gradient's mean and of its square's."""
    return Optimizer(training.Adam(beta1=beta1, beta2=beta2), lr, weight_decay)


def adamw(
    *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0
) -> Optimizer:
    """Adam whose weight decay shrinks the weights themselves."""
    return Optimizer(training.AdamW(beta1=beta1, beta2=beta2), lr, weight_decay)


def rmsprop(
    *,
    lr: float = 1e-3,
    alpha: float = 0.99,
    momentum: float = 0.0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """RMSProp; alpha is the decay of the gradient's mean square, eps is added to its root."""
    return Optimizer(training.RMSProp(alpha=alpha, momentum=momentum, eps=eps), lr, weight_decay)


def constant(*, warm_up: float = 0.0) -> Rate:
    """The same learning rate throughout."""
    return _warmed(training.Constant(), warm_up)


def cosine(*, warm_up: float = 0.0) -> Rate:
    """Half a cosine down to 0."""
    return _warmed(training.Cosine(), warm_up)


def step(*, every: float, factor: float = 0.1, warm_up: float = 0.0) -> Rate:
    """A fall by a factor every so many epochs, as in ``step(every=30)``."""
    return _warmed(training.StepDecay(every=float(every), factor=float(factor)), warm_up)


def multi_step(*, at: tuple[float, ...], factor: float = 0.1, warm_up: float = 0.0) -> Rate:
    """A fall by a factor at certain epochs, as in ``multi-step(at=[30, 60])``."""
    falls = tuple(float(epoch) for epoch in at)
    return _warmed(training.MultiStep(at=falls, factor=float(factor)), warm_up)


def one_cycle(*, peak: float = 0.3, warm_up: float = 0.0) -> Rate:
    """Up to the learning rate until a fraction ``peak`` of the epochs, then down to nearly 0."""
    return _warmed(training.OneCycle(peak=peak), warm_up)


OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = MappingProxyType(
    {"adam": adam, "adamw": adamw, "sgd": sgd, "rmsprop": rmsprop}
)

SCHEDULES: Mapping[str, Callable[..., Rate]] = MappingProxyType(
    {
        "constant": constant,
        "cosine": cosine,
        "step": step,
        "multi-step": multi_step,
        "one-cycle": one_cycle,
    }
)


def optimizer(spec: str) -> Optimizer:
    """An optimizer from its spec: ``sgd(lr=0.1, momentum=0.9)``.

    Raises:
        UnknownNameError: if there is no such optimizer or parameter.
        InputError, InputTypeError: if a parameter is wrong.
    """
    found = specs.build(spec, "optimizer", OPTIMIZERS, example="sgd(lr=0.1, momentum=0.9)")
    return Optimizer(found.kind, float(found.lr), float(found.weight_decay))


def rate(spec: str) -> Rate:
    """A learning rate over time from its spec: ``cosine(warm_up=2)``.

    Raises:
        UnknownNameError: if there is no such schedule or parameter.
        InputError, InputTypeError: if a parameter is missing or wrong.
    """
    return specs.build(spec, "schedule", SCHEDULES, example="cosine(warm_up=2)")


def _warmed(rate: Rate, epochs: float) -> Rate:
    """The same after a rise from a tenth over so many epochs, which may be a fraction."""
    return training.WarmUp(rate=rate, epochs=float(epochs)) if epochs else rate
