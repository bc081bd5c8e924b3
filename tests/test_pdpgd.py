"""PDPGD: its proximal steps are what they minimise, and it is as near as the authors' own."""

import math

import pytest
import torch

from holdfast.attacks import FGSM, PDPGD, SaltAndPepper
from holdfast.attacks.pdpgd import _PROXIMAL
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.tensors import norm
from tests.cases import THREATS
from tests.digits import trained
from tests.libraries import adv_lib
from tests.toys import two_class

each_norm = pytest.mark.parametrize("name", ["linf", "l2", "l1", "l0"])


@pytest.mark.parametrize("name", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("scale", [0.01, 0.3, 30.0])
def test_a_proximal_step_minimises_what_it_says(name, scale, monkeypatch):
    """No point nearby, no shorter one, and not 0 either, has a smaller objective."""
    rng = torch.Generator().manual_seed(0)
    r = torch.randn(5, 12, generator=rng, dtype=torch.float64)
    price = scale * torch.rand(5, 12, generator=rng, dtype=torch.float64) + 1e-6
    p = THREATS[name].p

    monkeypatch.setattr("holdfast.attacks.pdpgd._STEPS_IN_L1", 10_000)

    def objective(z):
        length = z.abs().pow(2 / 3).sum(dim=1) if name == "l0" else norm(z, p)
        return ((z - r).square() / (2 * price)).sum(dim=1) + length

    z = _PROXIMAL[p](r, price)
    least = objective(z) - 1e-6
    for reach in (1e-3, 0.1, 1.0):
        for _ in range(50):
            away = reach * torch.randn(5, 12, generator=rng, dtype=torch.float64)
            assert (objective(z + away) >= least).all()
            assert (objective(torch.where(z == 0, 0, z + away)) >= least).all()
    for part in torch.linspace(0, 2, 21, dtype=torch.float64):
        assert (objective(part * r) >= least).all()
        assert (objective(part * z) >= least).all()


@each_norm
def test_as_near_as_the_authors_and_nearer_than_one_step(monkeypatch, name):
    peer = adv_lib(monkeypatch)
    model, x, y = trained(40)
    threat = THREATS[name](math.inf)
    ours = PDPGD(threat, steps=200)(model, x, y)
    theirs = peer.pdpgd(model, x, y, norm=threat.p, num_steps=200)
    assert (model(ours).argmax(dim=1) != y).all()
    here, there = (threat.distance(z, x) for z in (ours, theirs))
    there[model(theirs).argmax(dim=1) == y] = math.inf
    assert here.median() <= 1.02 * there.median()
    if name == "l0":
        random = SaltAndPepper(threat, queries=50)(model, x, y)
        assert here.mean() < threat.distance(random, x).mean()
        return
    once = FGSM(THREATS[name](float(here.median())))(model, x, y)
    assert (model(once).argmax(dim=1) != y).float().mean() < 0.5  # where PDPGD fools half


def test_the_weight_of_the_distance_rises_where_the_image_fools():
    """So that it is driven back and forth across the boundary, closer and closer."""
    model, x, y = trained(8)
    seen = []
    PDPGD(THREATS["l2"](math.inf), steps=150)(model, x, y, callback=seen.append)
    reached = torch.stack([step.reached for step in seen])
    turns = (reached[1:] != reached[:-1]).sum(dim=0)
    assert (turns >= 2).all()  # in, and out again


@each_norm
def test_an_image_that_fools_is_pushed_on(name):
    """Or its next step would be back to where it began: nothing but the distance would count."""
    model = two_class(torch.ones(36), 17.0)
    x, start = torch.full((1, 1, 6, 6), 0.5), torch.full((1, 1, 6, 6), 0.45)
    seen = []
    PDPGD(THREATS[name](math.inf), steps=2).onward(
        model, x, start, torch.tensor([1]), Stream.of(0, torch.arange(1)), seen.append
    )
    assert [bool(step.reached) for step in seen] == [True, True]
    assert float(seen[1].value) > float(seen[0].value)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"dual_step": 0.0}, {"ratio": -1.0}])
def test_parameters(wrong):
    with pytest.raises(InputError):
        PDPGD(THREATS["l1"](math.inf), **wrong)
