"""ALMA: as near as the authors' own, whatever the scale of the logits."""

import math

import pytest
import torch

from holdfast.attacks import ALMA, FGSM
from holdfast.attacks.alma import _reach, _slope_of_penalty
from holdfast.errors import InputError
from tests.cases import THREATS
from tests.digits import trained
from tests.libraries import adv_lib
from tests.toys import Wrapped, two_class

each_norm = pytest.mark.parametrize("name", ["l2", "l1"])


@each_norm
def test_as_near_as_the_authors_and_nearer_than_one_step(monkeypatch, name):
    peer = adv_lib(monkeypatch)
    model, x, y = trained(40)
    threat = THREATS[name](math.inf)
    ours = ALMA(threat, steps=200)(model, x, y)
    theirs = peer.alma(model, x, y, distance=name, num_steps=200, init_lr_distance=1)
    assert (model(ours).argmax(dim=1) != y).all()
    here, there = (threat.distance(z, x) for z in (ours, theirs))
    there[model(theirs).argmax(dim=1) == y] = math.inf
    assert here.median() <= 1.02 * there.median()
    once = FGSM(THREATS[name](float(here.median())))(model, x, y)
    assert (model(once).argmax(dim=1) != y).float().mean() < 0.5  # where ALMA fools half


def test_the_scale_of_the_logits_changes_nothing():
    model, x, y = trained(8)
    loud = Wrapped(lambda z: 256 * model(z))  # exact in floating point
    attack = ALMA(THREATS["l2"](math.inf), steps=60)
    assert torch.allclose(attack(model, x, y), attack(loud, x, y), atol=1e-4)


def test_the_slope_is_that_of_the_penalty():
    v = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    rho, mu = torch.full_like(v, 1.7), torch.full_like(v, 0.6)
    above = mu * v + mu * rho * v**2 + rho**2 * v**3 / 6
    below = mu * v / (1 - rho * v.clamp(max=0))
    (slope,) = torch.autograd.grad(torch.where(v >= 0, above, below).sum(), v)
    assert torch.allclose(_slope_of_penalty(v.detach(), rho, mu), slope)


@each_norm
@pytest.mark.parametrize("length", [0.01, 1.0])
def test_the_first_step_goes_as_far_as_asked_though_the_box_cuts_it(name, length):
    _, x, _ = trained(8)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    threat = THREATS[name](math.inf)
    eta = _reach(x, grad, threat, length)
    moved = (x - eta.view(-1, 1, 1, 1) * grad).clamp(0, 1)
    assert torch.allclose(threat.distance(moved, x).float(), torch.tensor(length), rtol=1e-3)


@each_norm
def test_two_pixels_hold_no_step_of_length_one(name):
    """Which went from corner to corner of the box, and found nothing but those."""
    model = two_class(torch.tensor([2.0, 1.0]), 1.2)
    x, y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([1])
    threat = THREATS[name](math.inf)
    x_adv = ALMA(threat, steps=200)(model, x, y)
    nearest = {"l2": 0.3 / math.sqrt(5), "l1": 0.15}[name]
    assert nearest < float(threat.distance(x_adv, x)) <= 1.1 * nearest


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"alpha": 1.0}, {"step_size": math.inf}])
def test_parameters(wrong):
    with pytest.raises(InputError):
        ALMA(THREATS["l2"](math.inf), **wrong)


def test_a_norm_without_a_gradient_is_refused():
    with pytest.raises(InputError, match="linf"):
        ALMA(THREATS["linf"](math.inf))
