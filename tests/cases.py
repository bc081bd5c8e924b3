"""The one table of all that is added by a file and a case, with what each promises."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import attacks, certify, defenses, diagnose, training
from holdfast.attacks import Attack
from holdfast.certify.bounds.bound import Bound
from holdfast.goals import cross_entropy
from holdfast.random import Stream
from holdfast.threat import L0, L1, L2, Linf
from holdfast.types import Objective, Threat
from tests import formulas

THREATS = {"linf": Linf, "l2": L2, "l1": L1, "l0": L0}

#: The norms in which a step has a length.
METRIC = ("linf", "l2", "l1")


@dataclass(frozen=True)
class AttackCase:
    """An attack, by the name of its export.

    Attributes:
        name: in `holdfast.attacks`.
        make: threat -> attack.
        deterministic: draws no random numbers, so equal inputs give equal outputs for any seed.
        exact_on_linear: reaches the largest loss that the ball allows on a two-class linear model.
        targeted: aims at a class instead of leaving one.
        norms: in which it is defined.
        limited: stays within the threat that it is given; a rotation does not.
        within: for an attack that looks for the smallest perturbation, how far it may exceed the
            distance of the plane on a two-class linear model, relatively, but in ℓ0, where it is
            no distance; None for an attack that spends a fixed budget.
    """

    name: str
    make: Callable[[Threat], Attack]
    deterministic: bool = False
    exact_on_linear: bool = True
    targeted: bool = False
    norms: tuple[str, ...] = METRIC
    limited: bool = True
    within: float | None = None

    def __str__(self) -> str:
        return self.name


ATTACKS = [
    AttackCase("FGSM", attacks.FGSM, deterministic=True),
    AttackCase("RFGSM", attacks.RFGSM, exact_on_linear=False),
    AttackCase("StepLL", attacks.StepLL, deterministic=True, targeted=True),
    AttackCase("RStepLL", attacks.RStepLL, exact_on_linear=False, targeted=True),
    AttackCase("IFGSM", lambda t: attacks.IFGSM(t, early_stop=False), deterministic=True),
    AttackCase(
        "IterLL", lambda t: attacks.IterLL(t, early_stop=False), deterministic=True, targeted=True
    ),
    AttackCase("MIM", lambda t: attacks.MIM(t, early_stop=False), deterministic=True),
    AttackCase("PGD", lambda t: attacks.PGD(t, steps=20, early_stop=False)),
    AttackCase(
        "AdamPGD",
        lambda t: attacks.AdamPGD(t, steps=20, early_stop=False),
        exact_on_linear=False,
    ),
    AttackCase("APGD", lambda t: attacks.APGD(t, steps=20, early_stop=False)),
    AttackCase("APGDT", lambda t: attacks.APGDT(t, targets=2, steps=20)),
    AttackCase("MALT", lambda t: attacks.MALT(t, targets=2, steps=20)),
    AttackCase("ODI", lambda t: attacks.ODI(t, steps=20, restarts=2, early_stop=False)),
    AttackCase("EachTarget", lambda t: attacks.EachTarget(attack=attacks.PGD(t, steps=10))),
    AttackCase(
        "SecondOrder",
        lambda t: attacks.SecondOrder(t, steps=20, sigma=0.1, samples=4, early_stop=False),
    ),
    AttackCase(
        "SecondOrderUnitDraw",
        lambda t: attacks.SecondOrderUnitDraw(t, steps=20, early_stop=False),
    ),
    AttackCase(
        "NES",
        lambda t: attacks.NES(t, steps=10, samples=20, early_stop=False),
        exact_on_linear=False,
    ),
    AttackCase(
        "SaltAndPepper",
        lambda t: attacks.SaltAndPepper(t, queries=25),
        norms=("linf", "l2", "l1", "l0"),
        within=11.0,
    ),
    AttackCase(
        "SigmaZero",
        lambda t: attacks.SigmaZero(t, steps=60),
        deterministic=True,
        norms=("l0",),
        within=0.1,
    ),
    AttackCase(
        "Spatial",
        lambda t: attacks.Spatial(type(t)(math.inf), angles=(-30.0, 0.0, 20.0), flips=2),
        limited=False,
    ),
    AttackCase(
        "SpatialIFGSM",
        lambda t: attacks.SpatialIFGSM(t, steps=5, early_stop=False),
        limited=False,
    ),
    AttackCase(
        "Square",
        lambda t: attacks.Square(t, queries=24, early_stop=False),
        exact_on_linear=False,
        norms=("linf", "l2"),
    ),
    AttackCase(
        "SparseRS",
        lambda t: attacks.SparseRS(t, queries=24, early_stop=False),
        exact_on_linear=False,
        norms=("l0",),
    ),
    AttackCase(
        "Then",
        lambda t: attacks.Then(
            first=attacks.PGD(type(t)(0.25 * t.eps), steps=3),
            second=attacks.IFGSM(type(t)(0.75 * t.eps), steps=3, early_stop=False),
        ),
    ),
    AttackCase(
        "DeepFool",
        lambda t: attacks.DeepFool(t, steps=10),
        deterministic=True,
        norms=("linf", "l2"),
        within=0.0201,
    ),
    AttackCase(
        "SuperDeepFool",
        lambda t: attacks.SuperDeepFool(t, deepfool_steps=10),
        deterministic=True,
        norms=("l2",),
        within=0.01,
    ),
    AttackCase("FAB", lambda t: attacks.FAB(t, steps=8), deterministic=True, within=0.015),
    AttackCase("DDN", attacks.DDN, deterministic=True, norms=("l2",), within=0.05),
    AttackCase(
        "CarliniWagner",
        lambda t: attacks.CarliniWagner(t, steps=40, searches=4),
        deterministic=True,
        norms=("l2",),
        within=0.03,
    ),
    AttackCase("FMN", lambda t: attacks.FMN(t, steps=60), deterministic=True, within=0.02),
    AttackCase(
        "Greedy", lambda t: attacks.Greedy(t, steps=80), deterministic=True, norms=("l0",), within=0
    ),
    AttackCase(
        "Nearest",
        lambda t: attacks.Nearest(t, steps=600),
        norms=("linf", "l2", "l1", "l0"),
        deterministic=True,
        within=0.05,
    ),
    AttackCase(
        "PDPGD",
        lambda t: attacks.PDPGD(t, steps=200),
        deterministic=True,
        norms=("linf", "l2", "l1", "l0"),
        within=0.1,
    ),
    AttackCase(
        "ALMA",
        lambda t: attacks.ALMA(t, steps=200),
        deterministic=True,
        norms=("l2", "l1"),
        within=0.05,
    ),
    AttackCase(
        "Boundary",
        lambda t: attacks.Boundary(t, queries=1000, draws=20),
        norms=("linf", "l2"),
        within=0.2,
    ),
    AttackCase(
        "HopSkipJump",
        lambda t: attacks.HopSkipJump(t, queries=1500, draws=20, evaluations=50),
        norms=("linf", "l2"),
        within=0.15,
    ),
    AttackCase(
        "EAD",
        lambda t: attacks.EAD(t, steps=60, searches=5),
        deterministic=True,
        norms=("l1",),
        within=0.05,
    ),
    AttackCase("Restarts", lambda t: attacks.PGD(t, steps=5, restarts=3)),
    AttackCase(
        "Worst", lambda t: attacks.Worst((attacks.FGSM(t), attacks.IFGSM(t))), deterministic=True
    ),
    AttackCase(
        "WorstCase",
        lambda t: attacks.WorstCase(t, steps=4, targets=2, queries=6),
        exact_on_linear=False,
        norms=("linf", "l2", "l1", "l0"),
    ),
    AttackCase(
        "Standard",
        lambda t: attacks.Standard(t, steps=4, targets=2, queries=6),
        exact_on_linear=False,
        norms=("linf", "l2", "l1", "l0"),
    ),
    AttackCase(
        "AutoAttack",
        lambda t: attacks.AutoAttack(t, steps=4, targets=2, queries=6),
        exact_on_linear=False,
        norms=("linf", "l2"),
    ),
    AttackCase(
        "OnMeanScore",
        lambda t: attacks.OnMeanScore(attacks.Square(t, queries=24, early_stop=False), samples=2),
        exact_on_linear=False,
        norms=("linf", "l2"),
    ),
    AttackCase("BPDA", lambda t: attacks.BPDA(attacks.PGD(t, steps=20, early_stop=False))),
]

EACH_NORM = [(case, norm) for case in ATTACKS for norm in case.norms]
LIMITED = [(case, norm) for case, norm in EACH_NORM if case.limited]
FIXED_BUDGET = [(case, norm) for case, norm in LIMITED if case.within is None and norm != "l0"]
MINIMUM_NORM = [
    (case, norm) for case, norm in EACH_NORM if case.within is not None and norm != "l0"
]

#: Attacks that are the engine behind others, or need more than a threat.
NOT_ATTACKS = {
    "AdaptiveAscent",
    "Guarded",  # of any function: tests/test_guarded.py
    "AdaptiveRadius",
    "Ascent",
    "Attack",
    "Climb",
    "ClosestOf",  # of any: tests/test_nearest.py
    "Composed",
    "Onward",
    "On",  # needs a source that fits the target: tests/test_transfer.py
    "PenaltySearch",
    "Preset",
    "SparseSearch",
    "SquareSearch",
}

_PGD = attacks.PGD(Linf(0.1), steps=3, early_stop=False)

OBJECTIVES: dict[str, Objective] = {
    "Standard": training.Standard(),
    "Adversarial": training.Adversarial(attack=_PGD, weight=0.5),
    "AdvTrainII": training.AdvTrainII(Linf(0.1)),
    "TRADES": training.TRADES(threat=Linf(0.1), steps=3),
    "LogitPairing": training.LogitPairing(attack=_PGD),
    "IBP": training.IBP(Linf(0.01)),
    "Stability": training.Stability(sigma=0.3),
    "NoiseAugmentation": training.NoiseAugmentation(sigma=0.3),
    "DeepDefense": training.DeepDefense(weight=0.1, d=1.0, steps=2),
    "Total": training.Total((training.Standard(), training.Stability(sigma=0.3))),
}

#: Objectives that need a trained network besides.
WITH_NETWORK: dict[str, Callable[[nn.Module], Objective]] = {
    "EnsembleAdversarial": lambda network: training.EnsembleAdversarial(
        attacks.FGSM(Linf(0.1)), [attacks.On(network, attacks.FGSM(Linf(0.1)), name="other")]
    ),
    "Distillation": lambda network: training.Distillation(
        teacher=training.Frozen(network, "teacher"), temperature=2.0
    ),
}

#: Objectives of a network that maps images to images.
DENOISERS: dict[str, Callable[[nn.Module], Objective]] = {
    "Denoising": lambda network: training.Denoising(sigma=0.4),
    "SupervisedDenoising": lambda network: training.SupervisedDenoising(
        sigma=0.4, classifier=training.Frozen(network, "classifier")
    ),
}


@dataclass(frozen=True)
class BoundCase:
    """A bound.

    Attributes:
        radius: the bound.
        formula: the same for sigma = 1, written apart from it: (mp, p1, p2) -> radius, where mp is
            mpmath, and p1 > p2 are numbers of 50 digits.
    """

    radius: Bound
    formula: Callable[[Any, Any, Any], Any]


#: By the name on the command line.
BOUNDS = {
    "renyi": BoundCase(certify.renyi_radius, formulas.renyi),
    "cohen": BoundCase(certify.cohen_radius, formulas.cohen),
    "pixeldp": BoundCase(certify.pixeldp_radius, formulas.pixeldp),
    "laplace": BoundCase(certify.laplace_radius, formulas.laplace),
}

#: A defended classifier made around a network of images (1, 6, 6), by the defence's export.
DEFENCES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "Binarise": lambda network: nn.Sequential(defenses.Binarise(), network),
    "FirstLayerNoise": lambda network: defenses.FirstLayerNoise(network, 0.2, (1, 6, 6)),
    "GaussianNoise": lambda network: nn.Sequential(defenses.GaussianNoise(0.2), network),
    "LaplaceNoise": lambda network: nn.Sequential(defenses.LaplaceNoise(0.2), network),
    "MALADE": lambda network: nn.Sequential(
        defenses.MALADE(nn.AvgPool2d(3, 1, 1), steps=4, alpha=0.05, delta=0.1, sigma=1.0), network
    ),
    "SoundGaussianNoise": lambda network: nn.Sequential(defenses.SoundGaussianNoise(0.2), network),
    "StraightThrough": lambda network: nn.Sequential(
        defenses.StraightThrough(defenses.Binarise()), network
    ),
}

#: What looks at a classifier: (model, x, y) -> what is found, by its export.
DIAGNOSES: dict[str, Callable[[nn.Module, Tensor, Tensor], Any]] = {
    "adversarial_directions": lambda model, x, y: diagnose.adversarial_directions(
        model, x, y, L2(1.0), (1, 4)
    ),
    "convergence": lambda model, x, y: diagnose.convergence({0: model}, x, y),
    "gradient_norms": lambda model, x, y: diagnose.gradient_norms(model, x, y, _PGD),
    "leading_eigenvector": lambda model, x, y: diagnose.leading_eigenvector(
        cross_entropy(model, x, y), x, Stream.of(0, torch.arange(len(x)))
    ),
    "linearity": lambda model, x, y: diagnose.linearity(model, x, y, attacks.FGSM(Linf(0.1)), _PGD),
    "margins": lambda model, x, y: diagnose.margins(model, x, y, mean=torch.full(x.shape[1:], 0.5)),
    "loss_surface": lambda model, x, y: diagnose.loss_surface(
        model, x, y, torch.ones_like(x), -torch.ones_like(x), 0.1, points=3
    ),
    "predictions": lambda model, x, y: diagnose.predictions({"one": model}, x),
    "second_order_cosines": lambda model, x, y: diagnose.second_order_cosines(model, x, y),
    "signed_directions": lambda model, x, y: diagnose.signed_directions(model, model, x, y),
}

#: Exports of diagnose that look at images, matrices or run folders, and are tested by themselves.
NOT_DIAGNOSES = {
    "diagnose_data",  # of any diagnosis: tests/test_diagnose_commands.py
    "discrepancy",  # of predictions
    "interval_bounds",  # of networks that draw nothing: tests/test_interval_bounds.py
    "live_filters",  # of networks with ReLUs: tests/test_diagnose_commands.py
    "perceptual_similarity",
    "purification",  # of chains: tests/test_diagnose.py
    "regular_hadamard",
    "fraction_with_at_least",
    "trace_purification",
}
