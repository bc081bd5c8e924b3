"""Defects that were published of attacks in this field, as what no attack here may do.

docs/published-defects.md says whose each was, and which tests hold the others.
"""

import math
import weakref
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from holdfast import attacks
from holdfast.counting import Counted
from holdfast.defenses import StraightThrough
from holdfast.gradients import Average
from holdfast.random import Stream
from holdfast.threat import L2, Linf
from holdfast.training import TRADES, EnsembleAdversarial, OneAtRandom
from tests.cases import ATTACKS, THREATS
from tests.toys import Wrapped, images, small_network, two_class

each_attack = pytest.mark.parametrize("case", ATTACKS, ids=str)
SIZES = {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 4.0}
#: Attacks that look for the smallest perturbation, but for the one that is made of the others.
CLOSEST = [
    (case, norm)
    for case in ATTACKS
    if case.within is not None and case.name != "Nearest"
    for norm in case.norms
]
closest = pytest.mark.parametrize(
    ("case", "norm"), CLOSEST, ids=[f"{case}-{norm}" for case, norm in CLOSEST]
)


def short(case, norm, eps):
    """An attack of few steps or queries, where it has a number of them."""
    attack = case.make(THREATS[norm](eps))
    for name, most in (("steps", 20), ("queries", 60)):
        if isinstance(getattr(attack, name, None), int):
            attack = replace(attack, **{name: min(getattr(attack, name), most)})
    return attack


def right_but_on_black(x):
    """Class 0, and class 1 of an image without light; nowhere a slope."""
    lit = x.flatten(1).abs().amax(dim=1).sign()
    return torch.stack([lit, 1 - lit], dim=1)


@closest
def test_where_nothing_is_found_no_other_image_is_given(case, norm):
    """Foolbox' C&W and EAD gave black ones, which count as fooled where black is misclassified."""
    x = images(2, margin=0.2)
    attack = short(case, norm, {"linf": 0.7, "l2": 4.0, "l1": 20.0, "l0": 30.0}[norm])
    x_adv = attack(Wrapped(right_but_on_black), x, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(x_adv, x)


@closest
def test_images_of_black_and_white_pixels_alone_can_be_attacked(case, norm):
    """Through the tanh of torchattacks' C&W no gradient comes to a pixel of exactly 0 or 1."""
    x = images(1).round()
    towards = torch.rand(36, generator=torch.Generator().manual_seed(3)) + 0.5
    normal = towards * (2 * x.flatten() - 1)  # the score falls as a pixel moves inwards
    model = two_class(normal, float(x.flatten() @ normal) - 0.3)
    x_adv = short(case, norm, math.inf)(model, x, torch.ones(1, dtype=torch.int64))
    assert model(x_adv).argmax() == 0


class Kept:
    """What a graph holds for as long as it is there."""


class Passing(torch.autograd.Function):
    """The identity, with something in its graph by which graphs can be counted."""

    held: ClassVar[weakref.WeakSet[Kept]] = weakref.WeakSet()

    @staticmethod
    def forward(ctx, x):
        ctx.kept = Kept()
        Passing.held.add(ctx.kept)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


@dataclass
class Call:
    """What a call of an attack left, and how much it held at a time."""

    model: nn.Module
    x: Tensor
    x_adv: Tensor
    graphs: int


@cache
def call(case):
    """Of two images, of which the model gets the second right; its parameters have gradients."""
    network, x, graphs = small_network(), images(2), 0
    y = network(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 4
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)

    def forward(x):
        nonlocal graphs
        passed = Passing.apply(x)
        graphs = max(graphs, len(Passing.held))
        return network(passed)

    x_adv = short(case, case.norms[0], SIZES[case.norms[0]])(Wrapped(forward), x, y)
    return Call(network, x, x_adv, graphs)


@each_attack
def test_gradients_that_were_there_stay(case):
    """Foolbox, torchattacks, CleverHans and others added theirs to those of the parameters."""
    assert all((parameter.grad == 7.0).all() for parameter in call(case).model.parameters())


@each_attack
def test_no_graph_outlives_its_step(case):
    """Advertorch's EAD kept one more at every iteration, Foolbox' EOT those of all its draws."""
    assert call(case).graphs <= 1


@each_attack
def test_what_is_returned_is_not_what_was_given(case):
    """CleverHans returned the images themselves for eps = 0: who changed one changed the other."""
    made, x = call(case), images(1)
    assert made.x_adv.untyped_storage().data_ptr() != made.x.untyped_storage().data_ptr()
    still = short(case, case.norms[0], 0.0)(small_network(), x, torch.zeros(1, dtype=torch.int64))
    assert still.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_frozen_statistics_stay_frozen_in_a_model_that_is_training():
    """Torchattacks put a model back by train(), which thaws what its user had frozen."""
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 4)
    model = nn.Sequential(*layers).train()
    model[1].eval()
    for attack in (attacks.PGD(Linf(0.1), steps=2), attacks.DeepFool(L2(1.0), steps=2)):
        with pytest.warns(UserWarning, match="training mode"):
            attack(model, images(2), torch.tensor([0, 1]))
        assert [layer.training for layer in model] == [True, False, True, True]
        assert model.training


@pytest.mark.parametrize(
    "attack",
    [
        attacks.Boundary(L2(0.5), queries=40, draws=5),
        attacks.HopSkipJump(L2(0.5), queries=100, draws=5, evaluations=20),
        attacks.Square(L2(0.5), queries=20, early_stop=False),
        attacks.CarliniWagner(L2(math.inf), steps=10, searches=2, abort_early=False),
        attacks.DeepFool(L2(math.inf), steps=10),
        attacks.PGD(Linf(0.1), steps=10, gradient=Average(samples=3), early_stop=False),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_images_are_asked_about_together(attack):
    """ART's decision attacks asked one at a time; so did torchattacks' DeepFool."""
    network, x, calls = small_network().double(), images(6).double(), 0
    y = network(x).argmax(dim=1)

    def forward(x):
        nonlocal calls
        calls += 1
        return network(x)

    attack(Wrapped(forward), x, y)
    together, calls = calls, 0
    for i in range(6):
        attack(Wrapped(forward), x[i : i + 1], y[i : i + 1], index=torch.tensor([i]))
    assert together < calls / 2


def test_restarts_cost_what_is_still_robust():
    """PGD-40 of 5 restarts on 64 images, half of them wrong: ART makes 13,440 forward passes."""
    model, x = small_network(), images(64)
    y = model(x).argmax(dim=1)
    y[32:] = (y[32:] + 1) % 4
    counted = Counted(model, torch.arange(64))
    x_adv = attacks.PGD(Linf(0.3), steps=40, restarts=5)(counted, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    assert (counted.forwards[32:] <= 2).all()
    assert int(counted.forwards.sum()) < 13_440 / 10


def test_a_step_may_be_longer_than_the_ball_is_wide():
    """CleverHans refused it, though in ℓ2 it is usual."""
    x, y = images(4, margin=0.4), torch.ones(4, dtype=torch.int64)
    model = two_class(torch.ones(36) / 36, 0.0)
    x_adv = attacks.PGD(L2(0.3), steps=5, step_size=1.0, random_start=False)(model, x, y)
    assert torch.allclose((x - x_adv).flatten(1), torch.full((4, 36), 0.05), atol=1e-5)


def test_each_constant_of_a_search_begins_afresh():
    """CleverHans' C&W took its optimiser and its last point along to the next constant."""
    model, x, points = small_network(), images(3), []
    y = model(x).argmax(dim=1)
    attack = attacks.CarliniWagner(L2(math.inf), steps=3, searches=2, step_size=1e-3, c=1.0)
    x_adv = attack(model, x, y, callback=lambda step: points.append(step.x - x))
    assert torch.equal(x_adv, x)  # nothing is found, so that the second constant is ten times it
    assert points[0].any()
    assert torch.allclose(points[0], points[3], atol=1e-5)  # Adam's first step has one length


def test_defaults_are_those_of_the_papers():
    """Torchattacks' APGD took 10 steps where AutoAttack takes 100."""
    assert attacks.APGD(Linf(0.1)).steps == attacks.APGDT(Linf(0.1)).steps == 100
    assert attacks.APGDT(Linf(0.1)).targets == 9
    assert attacks.CarliniWagner(L2(1.0)).searches == 9
    assert attacks.Square(Linf(0.1)).queries == 5000


def test_gradients_pass_two_layers_one_behind_the_other():
    """ART's chain of preprocessors gave wrong ones."""

    def twice(x):
        return 2 * x

    def thrice(x):
        return 3 * x

    chain = nn.Sequential(
        StraightThrough(Wrapped(torch.round), Wrapped(twice)),
        StraightThrough(Wrapped(torch.ceil), Wrapped(thrice)),
    )
    x = images(1).requires_grad_()
    chain(x).sum().backward()
    assert torch.equal(chain(x), x.round().ceil())
    assert torch.equal(x.grad, torch.full_like(x, 6.0))


def test_adversarial_training_updates_statistics_by_what_it_trains_on_alone():
    """The code of TRADES lets the statistics of its inner steps into the network."""
    layers = nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)
    model, x, y = nn.Sequential(*layers).train(), images(8), torch.arange(8) % 4
    for steps in (1, 5):
        before = int(model[2].num_batches_tracked)
        TRADES(threat=Linf(0.1), steps=steps)(model, x, y, Stream.of(0, torch.arange(8)))
        assert int(model[2].num_batches_tracked) - before <= 2


def test_ensemble_training_makes_its_examples_afresh(monkeypatch):
    """ART made those of the other networks once, for all epochs."""
    model, other, x, seen = small_network(), small_network(seed=4), images(8), []
    y = other(x).argmax(dim=1)
    attack = attacks.PGD(Linf(0.1), steps=1)
    objective = EnsembleAdversarial(attack, [attacks.On(other, attack, name="other")])
    monkeypatch.setattr(OneAtRandom, "chosen", lambda self, rng: 1)
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    for step in (0, 0, 1):
        objective(model, x, y, Stream.of(0, torch.arange(8)).fold("train", step))
    first, again, later = seen
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
