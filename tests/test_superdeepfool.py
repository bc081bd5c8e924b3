"""SuperDeepFool: the boundary's nearest point where it is known, and no farther than its peer's."""

import math
import sys
from types import ModuleType

import pytest
import torch

from holdfast.attacks import DeepFool, SuperDeepFool
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.threat import L1, L2, Linf
from tests.digits import digits, digits_network
from tests.toys import Wrapped, images

FREE = L2(math.inf)


def ellipsoid(axes):
    """Class 1 outside of Σ a (x - ½)² = 0.04, class 0 within: a curved boundary."""
    return Wrapped(
        lambda x: torch.stack(
            [torch.zeros(len(x)), ((x.flatten(1) - 0.5) ** 2 * axes).sum(dim=1) - 0.04], dim=1
        )
    )


def test_the_nearest_point_of_an_ellipsoid_is_found_where_deepfool_misses_it():
    axes = torch.tensor([1.0, 6.0])
    model, x, y = ellipsoid(axes), torch.tensor([[[[0.56, 0.51]]]]), torch.tensor([0])
    angle = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)
    rim = 0.5 + 0.2 * torch.stack([angle.cos(), angle.sin()], dim=1) / axes.double().sqrt()
    nearest = (rim - x.double().flatten()).norm(dim=1).min()
    first, further = (
        FREE.distance(attack(FREE, search=12)(model, x, y), x).item()
        for attack in (DeepFool, SuperDeepFool)
    )
    assert nearest <= further < 1.01 * nearest
    assert first > 1.1 * nearest


def test_the_perturbation_lies_along_the_boundary_s_normal():
    model, (x, y) = digits_network(), digits(30)
    y = model(x).argmax(dim=1)  # or an image that is wrong stays where it is
    seen = []
    SuperDeepFool(FREE, steps=1, search=0)(model, x, y, callback=seen.append)
    last = seen[-1]  # the projection; its gradient is the normal that it lies along
    delta = (last.x - x[last.position]).flatten(1)
    inside = ((last.x > 0) & (last.x < 1)).flatten(1)  # where the box has cut nothing off
    normal = last.grad.flatten(1)
    ratio = (delta * inside).norm(dim=1) * (normal * inside).norm(dim=1)
    along = (delta * normal * inside).sum(dim=1) / ratio
    assert along.min() > 0.999


def test_no_weaker_than_adv_lib_and_closer_than_deepfool(monkeypatch):
    pytest.importorskip("adv_lib", exc_type=ImportError)
    if "visdom" not in sys.modules:  # which the package imports, and its attack does not need
        monkeypatch.setitem(sys.modules, "visdom", ModuleType("visdom"))
        sys.modules["visdom"].Visdom = object
    sdf = pytest.importorskip("adv_lib.attacks.superdeepfool").sdf
    model, (x, y) = digits_network(), digits(80)
    theirs = sdf(model, x, y, steps=10, df_steps=50, search_iter=10)
    ours, plain = SuperDeepFool(FREE)(model, x, y), DeepFool(FREE, search=10)(model, x, y)
    assert (model(ours).argmax(dim=1) != y).all()
    distance, there, before = (FREE.distance(z, x) for z in (ours, theirs, plain))
    assert distance.mean() <= 1.001 * there.mean()
    assert distance.median() <= 1.001 * there.median()
    assert distance.mean() < before.mean()


def test_callbacks_count_on_and_name_places_in_the_whole_batch():
    model, (x, y) = digits_network(), digits(20)
    y = torch.where(torch.arange(20) < 5, (y + 1) % 10, y)  # the first are wrong from the start
    seen = []
    SuperDeepFool(FREE, steps=3)(model, x, y, callback=seen.append)
    numbers = [step.step for step in seen]
    assert numbers == sorted(set(numbers))
    for step in seen:
        assert torch.equal(step.x[step.position < 5], x[step.position[step.position < 5]])


def test_an_image_without_a_gradient_is_asked_for_little_and_left():
    flat = Wrapped(lambda x: torch.tensor([1.0, 0.0]).expand(len(x), 2) + 0 * x.sum())
    counted = Counted(flat, torch.arange(3))
    x = images(3)
    assert torch.equal(SuperDeepFool(FREE, deepfool_steps=4)(counted, x, torch.zeros(3).long()), x)
    assert counted.forwards.max() <= 4 + 1 + 2 + 4


@pytest.mark.parametrize("threat", [Linf(0.1), L1(1.0)])
def test_only_l2_has_its_projection(threat):
    with pytest.raises(InputError, match="in l2"):
        SuperDeepFool(threat)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"deepfool_steps": 0}, {"search": -1}, {"overshoot": -0.1}]
)
def test_bad_numbers_are_told(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SuperDeepFool(FREE, **wrong)
