"""σ-zero: the fewest components where they are known, and no more than its peer finds."""

import math
import sys
from types import ModuleType

import pytest
import torch

from holdfast.attacks import SaltAndPepper, SigmaZero
from holdfast.errors import InputError
from holdfast.threat import L0, L2
from tests.digits import digits_network, trained
from tests.toys import images, two_class

FREE = L0(math.inf)


def fewest(score, normal, x):
    """How many components a plane's side takes at least: those that lower the score most."""
    room = torch.where(normal > 0, x.flatten(1), 1 - x.flatten(1))
    falls = (normal.abs() * room).sort(dim=1, descending=True).values.cumsum(dim=1)
    return (falls <= score[:, None]).sum(dim=1) + 1


def test_the_fewest_components_of_a_linear_model_are_found():
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(8, margin=0.2)
    offset = float((x.flatten(1) @ normal).min()) - 1.5
    x_adv = SigmaZero(FREE, steps=300)(two_class(normal, offset), x, torch.ones(8).long())
    best = fewest(x.flatten(1) @ normal - offset, normal, x)
    assert (two_class(normal, offset)(x_adv).argmax(dim=1) == 0).all()
    assert (FREE.distance(x_adv, x) >= best).all()
    assert FREE.distance(x_adv, x).mean() <= 1.1 * best.double().mean()


def test_no_weaker_than_adv_lib_and_sparser_than_noise(monkeypatch):
    pytest.importorskip("adv_lib", exc_type=ImportError)
    if "visdom" not in sys.modules:  # which the package imports, and its attack does not need
        monkeypatch.setitem(sys.modules, "visdom", ModuleType("visdom"))
        sys.modules["visdom"].Visdom = object
    peer = pytest.importorskip("adv_lib.attacks.sigma_zero").sigma_zero
    model, x, y = trained(60)
    theirs = peer(model, x, y, num_steps=100)
    ours, noise = SigmaZero(FREE, steps=100)(model, x, y), SaltAndPepper(FREE)(model, x, y)
    assert (model(ours).argmax(dim=1) != y).all()
    distance, there, drawn = (FREE.distance(z, x) for z in (ours, theirs, noise))
    assert distance.median() <= there.median()
    assert distance.mean() <= 1.02 * there.mean()
    assert distance.mean() < drawn.mean()


def test_what_is_small_is_undone_and_the_more_the_longer_the_image_fools():
    """No change is smaller than τ, which is 0.3 at first and follows η where the image fools."""
    model, x, y = trained(10)
    seen = []
    SigmaZero(FREE, steps=40)(model, x, y, callback=seen.append)
    least = {step.step: (step.x - x[step.position]).abs() for step in seen}
    assert not least[0].any()
    first = least[1][least[1] > 0]
    assert float(first.min()) >= 0.29
    fooled = torch.stack([step.reached[:1] for step in seen]).float()
    assert 0 < float(fooled.mean()) < 1  # the threshold drives the image back and forth


def test_a_limit_is_kept():
    model, x, y = trained(20)
    free = FREE.distance(SigmaZero(FREE, steps=60)(model, x, y), x)
    limit = float(free.median())
    x_adv = SigmaZero(L0(limit), steps=60)(model, x, y)
    moved = FREE.distance(x_adv, x)
    assert torch.equal(moved[free <= limit], free[free <= limit])
    assert not moved[free > limit].any()


def test_what_is_wrong_already_stays_where_it_is():
    model, (x, y) = digits_network(), trained(4)[1:]
    assert torch.equal(SigmaZero(FREE, steps=5)(model, x, (y + 1) % 10), x)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"step_size": 0.0},
        {"sigma": -1.0},
        {"threshold": 1.5},
        {"threshold_step": -0.1},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        SigmaZero(FREE, **wrong)


def test_it_is_about_l0_alone():
    with pytest.raises(InputError, match="not defined in l2, but in l0"):
        SigmaZero(L2(1.0))
