"""The names that the command line knows; inside the library nothing is chosen by a string."""

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from holdfast import attacks, goals, losses, training
from holdfast.attacks import ATTACKS, Attack
from holdfast.attacks.ead import Rule
from holdfast.cli import objectives
from holdfast.data import Data
from holdfast.errors import InputError, unknown
from holdfast.goals import Divergence
from holdfast.parameters import MOST, check, check_arguments
from holdfast.threat import L1, L2, Linf
from holdfast.training.randomized import Share, half_normal, uniform
from holdfast.types import Goal, Objective, Threat

NORMS: Mapping[str, Callable[[float], Threat]] = MappingProxyType(
    {"linf": Linf, "l2": L2, "l1": L1}
)

GOALS: Mapping[str, Goal] = MappingProxyType(
    {
        "cross_entropy": goals.cross_entropy,
        "margin": goals.margin,
        "dlr": goals.dlr,
        "least_likely": goals.toward_least_likely,
        "kl_from_clean": goals.kl_from_clean,
    }
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {"l1": attacks.least_l1, "elastic_net": attacks.least_elastic_net}
)

DIVERGENCES: Mapping[str, Divergence] = MappingProxyType(
    {"kl": losses.kl_divergence, "cross_entropy": losses.soft_cross_entropy}
)

SHARES: Mapping[str, Share] = MappingProxyType({"uniform": uniform, "half_normal": half_normal})

#: Parameters of attacks and objectives that are given by name.
NAMED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "goal": GOALS,
        "rule": RULES,
        "divergence": DIVERGENCES,
        "draw": SHARES,
        "p": MappingProxyType({"inf": math.inf}),
    }
)

OBJECTIVES: Mapping[str, Callable[..., Objective]] = MappingProxyType(
    {
        "standard": training.Standard,
        "fgsm": objectives.fgsm,
        "r+fgsm": objectives.r_fgsm,
        "pgd": objectives.pgd,
        "ensemble": objectives.ensemble,
        "deep-defense": objectives.deep_defense,
        "adv-train-1": objectives.adv_train_1,
        "adv-train-2": training.AdvTrainII,
        "trades": objectives.trades,
        "alp": objectives.alp,
        "stability": training.Stability,
        "noise": training.NoiseAugmentation,
        "dae": training.Denoising,
        "sdae": objectives.sdae,
        "distillation": objectives.distillation,
    }
)


def threat(norm: str, eps: float) -> Threat:
    """The threat model of a norm's name."""
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    return NORMS[norm](eps)


def attack(spec: str, within: Threat) -> Attack:
    """An attack from its name, or its name and parameters: ``pgd(steps=100, goal=margin)``.

    Raises:
        UnknownNameError: if no attack, goal or rule has that name.
        InputError, InputTypeError: if a parameter is wrong.
    """
    name, parameters = _parsed(spec, "attack", "pgd(steps=100, restarts=2)")
    if name not in ATTACKS:
        raise unknown("attack", name, ATTACKS)
    preset = ATTACKS[name]
    known = [key for key in inspect.signature(preset).parameters if key != "threat"]
    for key in parameters:
        if key not in known:
            raise unknown(f"parameter of {name}", key, known)
    check_arguments(preset, parameters, most=MOST)
    return preset(within, **parameters)


def objective(
    spec: str,
    flags: Mapping[str, Any],
    data: Data,
    device: torch.device,
) -> Objective:
    """A training objective from its name and parameters: ``trades(eps=0.3, beta=6)``.

    Args:
        spec: the name, with parameters in parentheses if wanted.
        flags: options of the command line that fill parameters of the same name; None if an option
            was not given.
        data: the training set, for objectives that compute something for all of it.
        device: where other networks than the one in training go.

    Raises:
        UnknownNameError: if no objective has that name.
        InputError, InputTypeError: if a parameter is missing, wrong, or none of the objective's.
    """
    name, parameters = _parsed(spec, "objective", "trades(eps=0.3, steps=10)")
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    make = OBJECTIVES[name]
    given = {key: value for key, value in flags.items() if value is not None}
    known = _parameters(make)
    for key, value in [*given.items(), *parameters.items()]:
        if key not in known:
            has = ", ".join(known) or "none at all"
            raise InputError(f"objective {name} has no parameter {key}; it has {has}.")
        if key in given and key in parameters:
            raise InputError(
                f"{key} is given twice, as --{key.replace('_', '-')} {value} and in {spec!r}."
            )
    arguments = {"data": data, "device": device, **given, **parameters}
    for key, required in known.items():
        if required and key not in arguments:
            option = f"--{key}" if key in flags else f"{key}, as in {name}({key}=...)"
            raise InputError(f"objective {name} needs {option}.")
    check_arguments(make, arguments, most=MOST)
    if "eps" in known:
        norm, eps = arguments.get("norm", "linf"), arguments["eps"]
        check("norm", norm, str)
        check("eps", eps, float)
        arguments["threat"] = threat(norm, eps)
    takes = inspect.signature(make).parameters
    return make(**{key: value for key, value in arguments.items() if key in takes})


def _parameters(make: Callable[..., Objective]) -> dict[str, bool]:
    """What a user can give an objective, and whether it is required."""
    known: dict[str, bool] = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if name == "threat":
            known |= {"norm": False, "eps": True}
        elif name not in ("data", "device"):
            known[name] = parameter.default is inspect.Parameter.empty
    return known


def _parsed(spec: str, kind: str, example: str) -> tuple[str, dict[str, Any]]:
    """Name and keyword arguments, as Python writes them, or by the names in `NAMED`."""
    match = re.fullmatch(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", spec)
    if match is None:
        raise InputError(f"{spec!r} names no {kind}; write a name, or {example}.")
    try:
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("parameters are given as name=value")
        found: dict[str, Any] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                raise ValueError("parameters are given as name=value")
            if keyword.arg in found:
                raise ValueError(f"{keyword.arg} is given twice")
            found[keyword.arg] = _value(keyword.arg, keyword.value)
    # Python's parser gives up on deep nesting with errors of its own.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"the parameters of {spec!r} cannot be read ({error}); write {example}."
        ) from error
    return match[1], found


def _value(name: str, written: ast.expr) -> Any:
    """A parameter's value: one of the names in `NAMED`, or what Python writes so."""
    if isinstance(written, ast.Name):
        if name not in NAMED:
            raise ValueError(f"{written.id} is no value for {name}; text stands in quotes")
        if written.id not in NAMED[name]:
            raise unknown(name, written.id, NAMED[name])
        return NAMED[name][written.id]
    value = ast.literal_eval(written)
    if name in NAMED and isinstance(value, str):
        raise ValueError(f"the name of a {name} stands without quotes")
    return value
