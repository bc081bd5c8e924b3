import math
import sys
import types
from dataclasses import replace

import pytest
import torch

from holdfast import goals, losses
from holdfast.attacks import FMN, against_randomness
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.gradients import Average
from tests.budget import last_look
from tests.cases import METRIC, THREATS
from tests.digits import trained
from tests.toys import Plateau, images

each_norm = pytest.mark.parametrize("norm", METRIC)


def free(norm, **parameters):
    return FMN(THREATS[norm](math.inf), **parameters)


def distances(model, x, y, x_adv, threat):
    """Infinite where the point does not fool."""
    return torch.where(model(x_adv).argmax(dim=1) != y, threat.distance(x_adv, x), torch.inf)


@each_norm
@pytest.mark.parametrize("steps", [30, 100])
def test_nothing_closer_is_found_by_the_peers_with_as_many_calls(monkeypatch, norm, steps):
    foolbox = pytest.importorskip("foolbox")
    monkeypatch.setitem(sys.modules, "visdom", types.ModuleType("visdom"))
    adv_lib = pytest.importorskip("adv_lib.attacks")
    model, x, y = trained()
    attack = free(norm, steps=steps)
    ours = distances(model, x, y, attack(model, x, y), attack.threat)
    name = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack"}[norm]
    theirs, *_ = getattr(foolbox.attacks, name)(steps=steps)(
        foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None
    )
    authors = adv_lib.fmn(model, x, y, norm=attack.threat.p, steps=steps)
    assert ours.isfinite().all()
    for peer in (theirs, authors):
        peer = distances(model, x, y, peer, attack.threat)
        assert ours.median() <= peer.median() * (1 + 1e-3)


@each_norm
def test_a_finite_budget_is_not_wasted(norm):
    model, x, y = trained()
    attack = free(norm, steps=60)
    best = attack.threat.distance(attack(model, x, y), x)
    eps = float(best.median())
    x_adv = replace(attack, threat=THREATS[norm](eps))(model, x, y)
    fooled = model(x_adv).argmax(dim=1) != y
    assert torch.equal(fooled, best <= eps)  # a point beyond the budget may lead to one within
    assert torch.equal(x_adv[~fooled], x[~fooled])


@each_norm
def test_early_stop_saves_calls_and_fools_the_same_images(norm):
    model, x, y = trained()
    attack = FMN(THREATS[norm]({"linf": 0.07, "l2": 0.4, "l1": 1.0}[norm]), steps=40)
    every, few = (Counted(model, torch.arange(len(x))) for _ in range(2))
    fooled = model(attack(every, x, y)).argmax(dim=1) != y
    stopped = replace(attack, early_stop=True)(few, x, y)
    assert torch.equal(model(stopped).argmax(dim=1) != y, fooled)
    assert 0 < int(fooled.sum()) < len(x)
    assert last_look(every.forwards - 40, fooled)
    assert (every.backwards == 40).all()
    assert (few.forwards[fooled] < 40).all()
    assert (few.forwards[~fooled] == 40).all()


@each_norm
def test_a_wrong_image_costs_one_call_and_stays(norm):
    model, x, y = trained()
    counted = Counted(model, torch.arange(len(x)))
    assert torch.equal(free(norm)(counted, x, (y + 1) % 10), x)
    assert (counted.forwards == 1).all()


@each_norm
def test_targets_are_reached(norm):
    model, x, y = trained()
    goal = goals.toward((y + 3) % 10, losses.towards_margin)
    x_adv = free(norm, goal=goal)(model, x, y)
    assert (model(x_adv).argmax(dim=1) == (y + 3) % 10).all()


@each_norm
def test_a_plateau_is_left_by_a_random_step(norm):
    """A planted weakness: the gradient at the image is exactly 0; the boundary is at 0.2."""
    x = torch.full((8, 1, 1, 2), 0.5)
    model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
    attack = free(norm)
    x_adv = attack(model, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    assert attack.threat.distance(x_adv, x).median() < 0.21


def test_averaged_gradients_plug_in():
    attack = against_randomness(free("linf", steps=20, early_stop=True), 3)
    assert attack == free("linf", steps=20, gradient=Average(samples=3))
    model, x, y = trained()
    smooth = free("linf", steps=40, gradient=Average(samples=4, noise=0.05))
    assert (model(smooth(model, x, y)).argmax(dim=1) != y).all()


@each_norm
def test_every_image_is_projected_into_its_own_ball(norm):
    """As the threat's projection does, one image and one size at a time."""
    threat = THREATS[norm]
    x0 = images(5, margin=0.1).double()
    x = x0 + torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    radius = torch.tensor([0.0, 0.05, 0.4, 2.0, math.inf], dtype=torch.float64)
    together = threat(1.0).project_each(x, x0, radius)
    for i, eps in enumerate(radius.tolist()):
        alone = threat(eps).project(x[i : i + 1], x0[i : i + 1])
        assert torch.allclose(together[i : i + 1], alone, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"gamma": 0.0}, {"step_size": math.inf}])
def test_parameters(wrong):
    with pytest.raises(InputError):
        free("l2", **wrong)
