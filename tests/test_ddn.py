import math
import sys
import types
from itertools import pairwise

import pytest
import torch

from holdfast import goals, losses
from holdfast.attacks import DDN, against_randomness
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.gradients import Average
from holdfast.tensors import norm
from holdfast.threat import L2, Linf
from tests.budget import last_look
from tests.digits import trained
from tests.toys import Plateau, images, small_network

FREE = L2(math.inf)


def test_ddn_finds_what_foolbox_finds():
    foolbox = pytest.importorskip("foolbox")
    model, x, y = trained()
    theirs, *_ = foolbox.attacks.DDNAttack(steps=60)(
        foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None
    )
    assert torch.allclose(DDN(FREE, steps=60)(model, x, y), theirs, atol=1e-3)


def test_ddn_finds_what_its_authors_code_finds(monkeypatch):
    monkeypatch.setitem(sys.modules, "visdom", types.ModuleType("visdom"))
    adv_lib = pytest.importorskip("adv_lib.attacks")
    model, x, y = trained()
    theirs = adv_lib.ddn(model, x, y, steps=100, levels=None)
    ours = DDN(FREE, steps=100)(model, x, y)
    assert (model(ours).argmax(dim=1) != y).all()
    assert FREE.distance(ours, x).median() <= FREE.distance(theirs, x).median() * (1 + 1e-4)


def test_the_radius_falls_by_gamma_after_a_fooling_point_and_grows_otherwise():
    model, x = small_network(), images(6, margin=0.45)
    y = model(x).argmax(dim=1)
    seen = []
    DDN(FREE, steps=12, gamma=0.1, initial_radius=0.02)(model, x, y, callback=seen.append)
    for before, after in pairwise(seen[1:]):  # the box does not bind so near the image
        ratio = norm(after.x - x, 2) / norm(before.x - x, 2)
        assert torch.allclose(ratio, torch.where(before.reached, 0.9, 1.1), atol=1e-4)


def test_a_finite_budget_is_not_overstepped_and_not_wasted():
    model, x, y = trained()
    best = FREE.distance(DDN(FREE)(model, x, y), x)
    eps = float(best.median())
    x_adv = DDN(L2(eps))(model, x, y)
    fooled = model(x_adv).argmax(dim=1) != y
    assert torch.equal(fooled, best <= eps)  # a point beyond the budget may lead to one within
    assert torch.equal(x_adv[~fooled], x[~fooled])


def test_early_stop_saves_calls_and_fools_the_same_images():
    model, x, y = trained()
    threat, results = L2(0.4), []
    for early_stop in (False, True):
        counted = Counted(model, torch.arange(len(x)))
        x_adv = DDN(threat, steps=40, early_stop=early_stop)(counted, x, y)
        results.append((model(x_adv).argmax(dim=1) != y, counted.forwards, counted.backwards))
    (all_fooled, every, back), (fooled, few, _) = results
    assert torch.equal(fooled, all_fooled)
    assert 0 < int(fooled.sum()) < len(x)
    assert last_look(every - 40, fooled)
    assert (back == 40).all()
    assert (few[~fooled] == 40).all()
    assert (few[fooled] < 40).all()


def test_a_wrong_image_costs_one_call_and_stays():
    model, x, y = trained()
    counted = Counted(model, torch.arange(len(x)))
    assert torch.equal(DDN(FREE)(counted, x, (y + 1) % 10), x)
    assert (counted.forwards == 1).all()


def test_targets_are_reached():
    model, x, y = trained()
    goal = goals.toward((y + 1) % 10, losses.towards_margin)
    x_adv = DDN(FREE, goal=goal)(model, x, y)
    assert (model(x_adv).argmax(dim=1) == (y + 1) % 10).all()


def test_a_plateau_is_left_by_a_random_step():
    """A planted weakness: the gradient at the image is exactly 0."""
    x = torch.full((8, 1, 1, 2), 0.5)
    model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
    x_adv = DDN(FREE, steps=60)(model, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    assert FREE.distance(x_adv, x).median() < 0.25  # the boundary is at 0.2


def test_averaged_gradients_plug_in():
    model, x, y = trained()
    attack = against_randomness(DDN(FREE, steps=20, early_stop=True), 3)
    assert attack == DDN(FREE, steps=20, gradient=Average(samples=3))
    smooth = DDN(FREE, steps=40, gradient=Average(samples=4, noise=0.1))
    assert (model(smooth(model, x, y)).argmax(dim=1) != y).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: DDN(Linf(0.1)),
        lambda: DDN(FREE, steps=0),
        lambda: DDN(FREE, gamma=1.0),
        lambda: DDN(FREE, initial_radius=0.0),
        lambda: DDN(FREE, step_size=math.nan),
    ],
)
def test_parameters(make):
    with pytest.raises(InputError):
        make()


def test_early_stop_without_a_limit_stops_at_the_first_point():
    model, x, y = trained()
    counted = Counted(model, torch.arange(len(x)))
    x_adv = DDN(FREE, early_stop=True)(counted, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    assert (counted.forwards < 100).all()
