"""The names that the command line knows; inside the library nothing is chosen by a string."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

import holdfast.cli.objectives  # noqa: F401  whose objectives enter themselves
from holdfast import attacks, goals, gradients, losses, specs
from holdfast.attacks import ATTACKS, Attack
from holdfast.attacks.ead import Rule
from holdfast.attacks.external.functions import function_attack
from holdfast.attacks.external.names import library_attack
from holdfast.data import Data
from holdfast.errors import InputError, unknown
from holdfast.goals import Divergence
from holdfast.parameters import MOST, check
from holdfast.threat import BALLS
from holdfast.training.hooks import Hook
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.training.parseval import Parseval
from holdfast.training.randomized import SizeDistribution, half_normal, uniform
from holdfast.types import Goal, Gradient, Objective, Threat

NORMS: Mapping[str, Callable[[float], Threat]] = BALLS

GOALS: Mapping[str, Goal | Callable[..., Goal]] = MappingProxyType(
    {
        "cross_entropy": goals.cross_entropy,
        "clipped_cross_entropy": goals.clipped_cross_entropy,
        "margin": goals.margin,
        "top_margin": goals.TopMargin,
        "dlr": goals.dlr,
        "least_likely": goals.toward_least_likely,
        "kl_from_clean": goals.kl_from_clean,
    }
)

GRADIENTS: Mapping[str, Gradient | Callable[..., Gradient]] = MappingProxyType(
    {
        "autograd": gradients.autograd,
        "average": gradients.Average,
        "unit_draw": gradients.UnitDraw,
        "evolution": gradients.Evolution,
        "finite_differences": gradients.FiniteDifferences,
    }
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {"l1": attacks.least_l1, "elastic_net": attacks.least_elastic_net}
)

DIVERGENCES: Mapping[str, Divergence] = MappingProxyType(
    {"kl": losses.kl_divergence, "cross_entropy": losses.soft_cross_entropy}
)

SIZE_DISTRIBUTIONS: Mapping[str, SizeDistribution] = MappingProxyType(
    {"uniform": uniform, "half_normal": half_normal}
)

#: Parameters of attacks and objectives that are given by name.
CHOICES: specs.Choices = MappingProxyType(
    {
        "goal": GOALS,
        "gradient": GRADIENTS,
        "rule": RULES,
        "divergence": DIVERGENCES,
        "draw": SIZE_DISTRIBUTIONS,
    }
)


#: What attacks are called elsewhere, and what they are called here.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "cw": "carlini-wagner",
        "c&w": "carlini-wagner",
        "auto-attack": "autoattack",
        "aa": "autoattack",
        "bim": "i-fgsm",
        "ifgsm": "i-fgsm",
        "mi-fgsm": "mim",
        "apgd-ce": "apgd",
        "hsja": "hopskipjump",
        "hop-skip-jump": "hopskipjump",
    }
)


#: What acts on the weights after each step of a training.
HOOKS: Mapping[str, Callable[..., Hook]] = MappingProxyType({"parseval": Parseval})


def threat(norm: str, eps: float) -> Threat:
    """The threat model of a norm's name."""
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    return NORMS[norm](eps)


def own_name(spec: str) -> str:
    """An attack's spec by the name that it has here, where it is written otherwise.

    Example:
        >>> from holdfast.cli.registry import own_name
        >>> own_name("cw(steps=100)"), own_name("PGD")
        ('carlini-wagner(steps=100)', 'pgd')
    """
    name, bracket, rest = spec.strip().partition("(")
    lower = name.strip().lower()
    return f"{ALIASES.get(lower, lower if lower in ATTACKS else name)}{bracket}{rest}"


def attack(spec: str, within: Threat) -> Attack:
    """An attack from its name, or its name and parameters: ``pgd(steps=100, goal=margin)``.

    A goal or a gradient may have parameters of its own: ``pgd(goal=top_margin(top=5))``,
    ``r+fgsm(gradient=average(samples=10, noise=0.2))``.
    Another library's attack is named with it, ``foolbox/LinfPGD(steps=20)``, and any function by
    the module that it is in, ``mypackage.attacks:mine(steps=20)``.

    Raises:
        UnknownNameError: if no attack, parameter, goal, gradient or rule has that name.
        InputError, InputTypeError: if a parameter is wrong.
    """
    example = "pgd(steps=100, restarts=2)"
    theirs = library_attack(spec, within) or function_attack(spec, within)
    if theirs is not None:
        return theirs
    spec = own_name(spec)
    return specs.build(spec, "attack", ATTACKS, within, example=example, choices=CHOICES, most=MOST)


def hook(spec: str) -> Hook:
    """A hook from its spec: ``parseval(beta=1e-4)``.

    Raises:
        UnknownNameError: if no hook or parameter has that name.
        InputError, InputTypeError: if a parameter is missing or wrong.
    """
    return specs.build(spec, "hook", HOOKS, example="parseval(beta=1e-4)")


def objective(
    spec: str,
    data: Data,
    device: torch.device,
    *,
    norm: str | None = None,
    eps: float | None = None,
) -> Objective:
    """An objective from its name, or its name and parameters: ``trades(eps=0.3, beta=6)``.

    Args:
        spec: name and parameters.
        data: the images of the training, for objectives that make something of them beforehand.
        device: where the training computes.
        norm: of the training attack, where the spec does not say it.
        eps: its size, likewise.

    Raises:
        UnknownNameError: if no objective, parameter, goal or divergence has that name.
        InputError, InputTypeError: if a parameter is wrong, missing, or given twice.
    """
    written = specs.parse(spec, "objective", "trades(eps=0.3, beta=6)")
    make = specs.find(written, "objective", OBJECTIVES)
    known = _parameters(make)
    given = {key: value for key, value in (("norm", norm), ("eps", eps)) if value is not None}
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f"--{key} is about the training attack, and objective {written.name} has none: "
                "leave it out."
            )
        if key in written.parameters:
            raise InputError(f"{key} is given twice, as --{key} {value} and in {spec!r}.")
    if known.get("eps") and "eps" not in {**given, **written.parameters}:
        raise InputError(f"objective {written.name} needs --eps, the size of its attack.")
    both = specs.Spec(written.name, {**given, **written.parameters}, written.text)
    arguments = specs.arguments(both, "objective", make, known, choices=CHOICES, most=MOST)
    if "eps" in known:
        norm, eps = arguments.pop("norm", "linf"), arguments.pop("eps")
        check("norm", norm, str)
        check("eps", eps, float)
        arguments["threat"] = threat(norm, eps)
    takes = inspect.signature(make).parameters
    always = {"data": data, "device": device}
    return make(**arguments, **{key: value for key, value in always.items() if key in takes})


def _parameters(make: Callable[..., Objective]) -> dict[str, bool]:
    """What a user can give an objective, and whether it is required."""
    known: dict[str, bool] = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if name == "threat":
            known |= {"norm": False, "eps": True}
        elif name not in ("data", "device"):
            known[name] = parameter.default is inspect.Parameter.empty
    return known
