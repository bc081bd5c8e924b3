"""Evaluations in ℓ1 and ℓ0, which no limit of the audit was chosen on, for `audit_rates.py`.

The networks are those of `audit_cases.py`, and what hides in them is too; what is sound is attacked
by the suite, or in ℓ0 by many steps of two attacks, what is broken by the norm's usual attack or by
too little of one. In ℓ1 a long ascent of one loss is too little by itself on many networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from audit_cases import ARCHITECTURES, Case, Forgetful, Rounded, broken, network, suite
from torch import nn

from holdfast.attacks import (
    APGD,
    FGSM,
    FMN,
    PGD,
    Attack,
    Greedy,
    Nearest,
    On,
    SaltAndPepper,
    SigmaZero,
    SparseRS,
    Worst,
)
from holdfast.defenses import GaussianNoise
from holdfast.evaluation import EvaluationConfig
from holdfast.models import Ensemble
from holdfast.threat import L0, L1
from holdfast.types import Threat

#: Of each norm, the ball in which a network is attacked that is sound, and one that is broken.
_BALLS: Mapping[str, tuple[Threat, Threat]] = {"ℓ1": (L1(1.0), L1(4.0)), "ℓ0": (L0(2), L0(6))}


def sound() -> list[Case]:
    """Evaluations that can be believed."""
    cases = []
    for norm, (ball, _) in _BALLS.items():
        for architecture in ARCHITECTURES:
            for training in ("standard", "adversarial", "noisy"):

                def make(architecture: str = architecture, training: str = training) -> nn.Module:
                    return network(architecture, training)

                title = f"{architecture}, {training}"
                cases.append(Case(f"{title}, suite, {norm}", make, {"worst-case": suite(ball)}))
                if norm == "ℓ0":
                    cases.append(Case(f"{title}, σ-zero and greedy", make, {"both": _both(ball)}))
        cases += [
            Case(
                f"ensemble, suite, {norm}",
                lambda: Ensemble(network("conv", "adversarial"), network("mlp", "adversarial")),
                {"worst-case": suite(ball)},
            ),
            Case(
                f"fewer levels, suite, {norm}",
                lambda: nn.Sequential(Rounded(), network("conv", "adversarial")),
                {"worst-case": suite(ball)},
            ),
        ]
    cases.append(
        Case(
            "smoothed, ℓ0",
            lambda: nn.Sequential(GaussianNoise(0.2), network("mlp", "noisy")),
            {"both": _both(_BALLS["ℓ0"][0])},
            config=EvaluationConfig(samples=4, votes=20),
            count=40,
        )
    )
    for norm, (ball, _) in _BALLS.items():
        nearest = {"nearest": Nearest(ball.unlimited(), steps=600)}
        title = f"nearest, without a limit, {norm}"
        cases.append(Case(title, lambda: network("conv", "adversarial"), nearest))
    return cases


def _both(ball: Threat) -> Attack:
    """The usual attack in ℓ0, and another."""
    parts = SigmaZero(ball, steps=150, early_stop=True), Greedy(ball, steps=100, early_stop=True)
    return Worst(parts, called=("sigma-zero", "greedy"))


def overstated() -> list[Case]:
    """Evaluations that report more than there is."""
    cases = []
    hiding = [case for case in broken() if case.honest is not None and "pgd" in case.attacks]
    for norm, (_, ball) in _BALLS.items():
        usual: Attack = PGD(ball) if ball.p == 1 else SigmaZero(ball, steps=100, early_stop=True)
        cases += [
            replace(case, name=f"{case.name}, {norm}", attacks={"usual": usual}) for case in hiding
        ]
        cases += [
            Case(f"{name}, {norm}", model, {"weak": attack}) for name, model, attack in _weak(norm)
        ]
    for architecture in ARCHITECTURES:
        for training in ("standard", "adversarial", "noisy"):

            def make(architecture: str = architecture, training: str = training) -> nn.Module:
                return network(architecture, training)

            title = f"{architecture}, {training}, APGD-100 alone, ℓ1"
            cases.append(Case(title, make, {"apgd": APGD(_BALLS["ℓ1"][0], steps=100)}))
    return cases


def _weak(norm: str) -> list[tuple[str, Callable[[], nn.Module], Attack]]:
    """Attacks that are too weak, on networks that hide nothing."""

    def base() -> nn.Module:
        return network("conv", "standard")

    def trained() -> nn.Module:
        return network("conv", "adversarial")

    def distilled() -> nn.Module:
        return network("conv", "distilled")

    ball: Threat
    if norm == "ℓ1":
        ball = L1(2.0)
        return [
            ("FGSM alone", trained, FGSM(ball)),
            ("PGD of 3 steps", trained, PGD(ball, steps=3)),
            ("FMN of 5 steps", trained, FMN(ball, steps=5)),
            ("steps too short", base, PGD(ball, step_size=1e-3)),
            ("the last point of too long steps", trained, Forgetful(ball)),
            ("distilled at T = 100", distilled, PGD(ball)),
            ("transfer alone", trained, On(network("mlp", "standard"), PGD(ball), name="mlp")),
        ]
    ball = L0(3)
    return [
        ("σ-zero of 5 steps", trained, SigmaZero(ball, steps=5)),
        ("greedy search of 2 steps", base, Greedy(ball, steps=2)),
        ("salt and pepper of 20 queries", trained, SaltAndPepper(ball, queries=20)),
        ("Sparse-RS of 10 queries", base, SparseRS(ball, queries=10)),
        ("distilled at T = 100", distilled, SigmaZero(ball, steps=100)),
        (
            "transfer alone",
            trained,
            On(network("mlp", "standard"), SigmaZero(ball, steps=60), name="mlp"),
        ),
    ]
