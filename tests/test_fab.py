import math
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from holdfast.attacks import FAB, Trace
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.threat import L1, L2, Linf
from tests.budget import last_look
from tests.digits import digits, digits_network
from tests.toys import Plateau, Saturated, images, random_linear, small_network, two_class

THREATS = {"linf": Linf(math.inf), "l2": L2(math.inf), "l1": L1(math.inf)}
each_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1"])


@pytest.fixture(scope="module")
def adv_lib():
    """Its `fab`; the package imports visdom, which is not needed for it."""
    pytest.importorskip("adv_lib", exc_type=ImportError)
    if "visdom" not in sys.modules:
        sys.modules["visdom"] = ModuleType("visdom")
        sys.modules["visdom"].Visdom = object
    return pytest.importorskip("adv_lib.attacks.fast_adaptive_boundary").fab


def plane_of(norm):
    """A two-class linear model, images in the middle of the box, and their distance to it."""
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(5, margin=0.45)
    dual = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    score = x.flatten(1) @ normal
    reach = {"linf": 0.02, "l2": 0.1, "l1": 0.05}[norm]
    model = two_class(normal, float(score.min()) - reach * float(normal.norm(dual)))
    return model, x, (score - score.min()) / normal.norm(dual) + reach


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_plane_of_a_linear_model_is_found_and_stepped_past(norm):
    model, x, best = plane_of(norm)
    y = torch.ones(5, dtype=torch.int64)
    distance = THREATS[norm].distance(FAB(THREATS[norm], steps=4)(model, x, y), x)
    past = distance / best - 1
    assert (past > 4e-5).all()  # no rounding decides
    assert (past < 1.2e-4).all()
    rough = THREATS[norm].distance(FAB(THREATS[norm], steps=1, search=0)(model, x, y), x)
    assert torch.allclose(rough.float(), 1.05 * best, rtol=1e-5)  # the extrapolation


@each_norm
def test_equal_to_adv_lib_without_the_search_and_closer_with_it(norm, adv_lib):
    model, (x, y) = digits_network(), digits(120)
    counted = Counted(model, torch.arange(120))
    expected = adv_lib(counted, x, y, norm=THREATS[norm].p, n_iter=12)
    calls = counted.forwards + counted.backwards  # 11 of our steps and the search cost less
    there = THREATS[norm].distance(expected, x)
    same = THREATS[norm].distance(FAB(THREATS[norm], steps=12, search=0)(model, x, y), x)
    # In l1 a step moves the pixel with the largest slope: on some processors rounding breaks a near
    # tie the other way, and that image's path is another one from there on.
    agreeing = torch.isclose(same, there, rtol=3e-3).double().mean()
    assert agreeing > 0.98 if norm == "l1" else agreeing == 1
    assert torch.allclose(same.median(), there.median(), rtol=1e-3)
    counted = Counted(model, torch.arange(120))
    ours = FAB(THREATS[norm], steps=11)(counted, x, y)
    assert (model(ours).argmax(dim=1) != y).all()
    distance = THREATS[norm].distance(ours, x)
    assert (distance <= there * (1 + 1e-4)).double().mean() > 0.8  # there as near as rounding lets
    assert distance.mean() < there.mean()
    assert distance.median() < there.median()
    assert (counted.forwards + counted.backwards <= calls).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_farther_than_torchattacks(norm):
    torchattacks = pytest.importorskip("torchattacks")
    model, (x, y) = digits_network(), digits(60)
    theirs = torchattacks.FAB(model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=10.0, steps=12)
    there = THREATS[norm].distance(theirs(x, y), x)
    distance = THREATS[norm].distance(FAB(THREATS[norm], steps=12)(model, x, y), x)
    assert distance.median() <= there.median()


@each_norm
def test_each_target_is_tried_and_the_closest_is_kept(norm):
    model, (x, y) = digits_network(), digits(40)
    one, three = (FAB(THREATS[norm], steps=8, targets=n)(model, x, y) for n in (1, 3))
    distance, nearer = (THREATS[norm].distance(z, x) for z in (one, three))
    assert (nearer <= distance * (1 + 1e-3)).all()
    assert nearer.mean() < 0.999 * distance.mean()


@each_norm
def test_restarts_never_lose_what_was_found(norm):
    model, (x, y) = digits_network(), digits(40)
    one, three = (FAB(THREATS[norm], steps=15, restarts=n, search=0)(model, x, y) for n in (1, 3))
    distance, nearer = (THREATS[norm].distance(z, x) for z in (one, three))
    assert (nearer <= distance).all()
    if norm == "l2":
        assert (nearer < 0.999 * distance).any()


def test_random_starts_lie_at_half_the_distance_found_or_half_of_eps():
    """Steps without a gradient do not move, so the trace shows where a run begins."""
    model, x, y = Saturated(small_network(), 0.0), images(4, margin=0.4), torch.tensor([0] * 4)
    for threat in (Linf(0.1), L2(0.1), L1(0.1)):
        seen = []
        FAB(threat, steps=1, restarts=2)(model, x, y, callback=seen.append)
        assert torch.equal(seen[0].x, x)
        assert torch.allclose(threat.distance(seen[1].x, x), torch.tensor(0.05).double(), rtol=1e-4)


@pytest.mark.parametrize(("targets", "backwards"), [(None, 9), (1, 1), (4, 4)])
def test_calls(targets, backwards):
    model, (x, y) = digits_network(), digits(30)
    counted = Counted(model, torch.arange(30))
    FAB(L2(math.inf), steps=6, restarts=2, targets=targets, search=3)(counted, x, y)
    right = model(x).argmax(dim=1) == y
    runs = 2 * (targets or 1)
    assert last_look(counted.forwards - torch.where(right, 1 + runs * 12 + 3, 1), right)
    assert torch.equal(counted.backwards, torch.where(right, 2 * 6 * backwards, 0))


@each_norm
def test_early_stop_fools_the_same_images_for_less(norm):
    model, (x, y) = digits_network(), digits(60)
    free = THREATS[norm].distance(FAB(THREATS[norm], steps=10)(model, x, y), x)
    threat = type(THREATS[norm])(float(free.median()) * 1.05)
    counts = [Counted(model, torch.arange(60)) for _ in range(2)]
    full, early = (
        FAB(threat, steps=10, targets=3, early_stop=stop)(count, x, y)
        for stop, count in zip((False, True), counts, strict=True)
    )
    fooled, fooled_early = (model(z).argmax(dim=1) != y for z in (full, early))
    assert torch.equal(fooled, fooled_early)
    assert fooled.float().mean() > 0.4
    assert torch.equal(full[~fooled], x[~fooled])
    assert (counts[1].forwards <= counts[0].forwards).all()
    assert counts[1].forwards[fooled].sum() < 0.7 * counts[0].forwards[fooled].sum()


def test_early_stop_without_a_limit_stops_at_the_first_point():
    model, (x, y) = digits_network(), digits(20)
    trace = Trace()
    FAB(L2(math.inf), steps=10, early_stop=True)(model, x, y, callback=trace)
    right = model(x).argmax(dim=1) == y
    first = trace.fooled[:, : len(x)].float()
    assert first[-1][right[: first.shape[1]]].all()
    after = (trace.loss.isfinite().sum(dim=0) - (first == 0).sum(dim=0))[right[: first.shape[1]]]
    assert (after == 1).all()


def test_a_point_just_beyond_eps_is_searched_back_into_it():
    model, x, best = plane_of("l2")
    y = torch.ones(5, dtype=torch.int64)
    eps = float(best[0]) * 1.001  # one extrapolated step goes beyond, by 5 %
    x_adv = FAB(L2(eps), steps=1)(model, x, y)
    assert model(x_adv[:1]).argmax() == 0
    assert torch.equal(FAB(L2(eps), steps=1, search=0)(model, x, y)[0], x[0])


def test_no_gradient_no_point_and_no_nan():
    x, y = torch.full((4, 1, 1, 2), 0.5), torch.zeros(4, dtype=torch.int64)
    for threat in THREATS.values():
        assert torch.equal(FAB(threat, steps=5)(Plateau(torch.tensor(0.5), 0.1), x, y), x)
        restarted = FAB(threat, steps=5, restarts=4)(Plateau(torch.tensor(0.5), 0.1), x, y)
        assert restarted.isfinite().all()
        assert not torch.equal(restarted, x)  # a random start sees past the plateau


@each_norm
def test_a_stochastic_model_gives_the_same_result_in_any_batch(norm):
    model = nn.Sequential(GaussianNoise(0.2), small_network())
    x, y = images(6), torch.zeros(6, dtype=torch.int64)
    attack = FAB(THREATS[norm], steps=4, restarts=2)
    whole = attack(model, x, y)
    part = attack(model, x[2:4], y[2:4], index=torch.tensor([2, 3]))
    assert torch.allclose(part, whole[2:4], atol=1e-5)
    assert not torch.equal(whole, attack(model, x, y, seed=1))


@each_norm
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images(norm, dtype):
    x = images(4).to(dtype)
    model = random_linear(3, 36)
    y = model(x.float()).argmax(dim=1)
    x_adv = FAB(THREATS[norm], steps=8)(model, x, y)
    assert x_adv.dtype == dtype
    assert (model(x_adv).argmax(dim=1) != y).all()


def test_parameters_are_checked():
    for wrong in (
        {"steps": 0},
        {"restarts": 0},
        {"targets": 0},
        {"search": -1},
        {"alpha_max": 1.1},
        {"eta": 0.9},
        {"beta": 1.0},
        {"beta": 0.0},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            FAB(L2(1.0), **wrong)
