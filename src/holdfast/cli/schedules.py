"""Optimisers and learning rates by the names that ``holdfast train`` gives them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from holdfast import training
from holdfast.errors import InputError
from holdfast.training.optimizers import OptimizerSpec
from holdfast.training.rates import Rate

OptimizerName: TypeAlias = Literal["adam", "adamw", "sgd", "rmsprop"]
DecayName: TypeAlias = Literal["constant", "cosine", "step", "multi-step", "one-cycle"]


def optimizer(
    name: OptimizerName,
    *,
    momentum: float,
    nesterov: bool,
    beta1: float,
    beta2: float,
    alpha: float,
) -> OptimizerSpec:
    """An optimiser from its name and the options that it reads."""
    made: Mapping[OptimizerName, Callable[[], OptimizerSpec]] = MappingProxyType(
        {
            "adam": lambda: training.Adam(beta1=beta1, beta2=beta2),
            "adamw": lambda: training.AdamW(beta1=beta1, beta2=beta2),
            "sgd": lambda: training.SGD(momentum=momentum, nesterov=nesterov),
            "rmsprop": lambda: training.RMSProp(alpha=alpha),
        }
    )
    return made[name]()


def rate(
    name: DecayName, *, at: Sequence[float], factor: float, peak: float, warm_up: float
) -> Rate:
    """A learning rate over time from its name and the options that it reads.

    Raises:
        InputError: if the epochs of its falls are missing.
    """
    if name == "step" and len(at) != 1:
        raise InputError("decay step needs --decay-at: one number, the epochs between two falls.")
    if name == "multi-step" and not at:
        raise InputError("decay multi-step needs --decay-at: the epochs of the falls, 30,60,90.")
    made: Mapping[DecayName, Callable[[], Rate]] = MappingProxyType(
        {
            "constant": training.Constant,
            "cosine": training.Cosine,
            "step": lambda: training.StepDecay(every=at[0], factor=factor),
            "multi-step": lambda: training.MultiStep(at=tuple(at), factor=factor),
            "one-cycle": lambda: training.OneCycle(peak=peak),
        }
    )
    found = made[name]()
    return training.WarmUp(rate=found, epochs=warm_up) if warm_up else found
