import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.attacks import DeepFool, Trace, deepfool_perturbation
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.threat import L1, L2, Linf
from tests.budget import last_look
from tests.digits import digits, digits_network
from tests.toys import (
    Saturated,
    Wrapped,
    images,
    random_linear,
    small_network,
    smooth,
    two_class,
)

THREATS = {"linf": Linf(math.inf), "l2": L2(math.inf)}
each_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def streams(count):
    return Stream.of(0, torch.arange(count))


@each_norm
def test_a_linear_model_is_fooled_in_one_step_by_the_overshoot_exactly(norm):
    model, x = random_linear(5, 36), images(8, margin=0.45)
    model.bias.data = -0.5 * model.weight.data.sum(dim=1)  # all boundaries near the middle
    y = model(x).argmax(dim=1)
    dual = {"linf": 1, "l2": 2}[norm]
    logits, weight = model(x).detach(), model.weight.detach()
    away = torch.stack([weight - weight[k] for k in y]).norm(dual, dim=2)
    far = ((logits - logits.gather(1, y[:, None])).abs() / away).nan_to_num(math.inf)
    near = far.amin(dim=1) < 0.04  # the box does not bind
    assert near.sum() >= 3
    counted = Counted(model, torch.arange(8))
    x_adv = DeepFool(THREATS[norm], overshoot=0.05)(counted, x, y)
    distance = THREATS[norm].distance(x_adv, x)
    assert torch.allclose(distance[near].float(), 1.05 * far.amin(dim=1)[near], rtol=1e-4)
    # A check, a gradient, a check; and then alone, and in float64.
    assert counted.forwards[near].unique().tolist() == [3 + 2]
    assert counted.backwards[near].unique().tolist() == [4]


@each_norm
@pytest.mark.parametrize("create_graph", [True, False])
def test_with_a_graph_steps_go_on_from_the_pass_that_looked(norm, create_graph):
    """Where none stops: of a linear model a look, which is gone on from, and a look."""
    model, x = random_linear(5, 36), images(8, margin=0.45)
    y = model(x).argmax(dim=1)
    counted = Counted(model, torch.arange(8))
    walk = deepfool_perturbation(
        counted, x, y, threat=THREATS[norm], rng=streams(8), create_graph=create_graph
    )
    assert walk.reached.all()
    assert counted.forwards.unique().tolist() == [2 if create_graph else 3]
    assert counted.backwards.unique().tolist() == [5 if create_graph else 4]


@each_norm
def test_no_weaker_than_foolbox(norm):
    foolbox = pytest.importorskip("foolbox")
    model, (x, y) = digits_network(), digits(80)
    theirs = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1))
    expected, *_ = theirs[norm](steps=50)(bounded, x, y, epsilons=None)
    ours = DeepFool(THREATS[norm])(model, x, y)
    fooled, fooled_there = (model(z).argmax(dim=1) != y for z in (ours, expected))
    assert fooled.all()
    assert fooled_there.all()
    distance, there = (THREATS[norm].distance(z, x) for z in (ours, expected))
    assert distance.median() <= there.median()
    assert distance.mean() <= there.mean() * 1.0005


@each_norm
def test_calls_are_those_of_the_iterates(norm):
    model, (x, y) = digits_network(), digits(40)
    counted, trace = Counted(model, torch.arange(40)), Trace()
    DeepFool(THREATS[norm], classes=4, search=2)(counted, x, y, callback=trace)
    steps = trace.fooled.shape[0] - trace.fooled.sum(dim=0)  # before the first fooling iterate
    searched = 2 * (steps > 0)
    assert last_look(counted.forwards - (steps + 1 + steps + searched), steps > 0)
    assert torch.equal(counted.backwards, 4 * steps)
    assert trace.grad_norm[0][steps > 0].isfinite().all()


@each_norm
def test_misclassified_images_are_returned_after_one_look(norm):
    model, x = small_network(), images(5)
    y = (model(x).argmax(dim=1) + 1) % 4
    counted = Counted(model, torch.arange(5))
    assert torch.equal(DeepFool(THREATS[norm], search=3)(counted, x, y), x)
    assert counted.forwards.tolist() == [1] * 5
    assert counted.backwards.tolist() == [0] * 5


@each_norm
def test_the_search_shortens_and_early_stop_leaves_it_out(norm):
    model, (x, y) = digits_network(), digits(60)
    plain, searched = (DeepFool(THREATS[norm], search=n)(model, x, y) for n in (0, 4))
    distance, shorter = (THREATS[norm].distance(z, x) for z in (plain, searched))
    assert (shorter <= distance * (1 + 1e-4)).all()  # by which it may be moved past the boundary
    assert shorter.mean() < 0.9996 * distance.mean()
    eps = float(distance.median())
    threat = type(THREATS[norm])(eps)
    counted = Counted(model, torch.arange(60))
    stopped = DeepFool(threat, search=4, early_stop=True)(counted, x, y)
    free = Counted(model, torch.arange(60))
    DeepFool(threat, search=4)(free, x, y)
    within = distance <= eps
    assert torch.equal(stopped[within], plain[within])
    assert torch.equal(stopped[~within & (shorter > eps)], x[~within & (shorter > eps)])
    saved = free.forwards - counted.forwards
    assert (saved[within & (distance > 0)] > 0).all()
    assert (saved[distance == 0] == 0).all()


def test_only_the_leading_classes_are_looked_at():
    """Class 2 is near in space but last in logits."""
    weight = torch.tensor([[0.0, 0.0], [0.0, -1.0], [-20.0, 0.0]])
    model = random_linear(3, 2)
    model.weight.data, model.bias.data = weight, torch.tensor([0.0, 0.2, 7.0])
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    assert model(x).tolist() == [[0.0, pytest.approx(-0.3), -3.0]]
    first = DeepFool(L2(math.inf), classes=1)(model, x, y)
    both = DeepFool(L2(math.inf), classes=2)(model, x, y)
    assert model(first).argmax() == 1
    assert model(both).argmax() == 2
    assert float((both - x).norm()) == pytest.approx(0.15 * 1.02, rel=1e-4)


def test_an_image_whose_logits_tie_moves_by_rounding_only():
    x = images(3, margin=0.3)
    normal = torch.ones(36)
    for i in range(3):
        one = x[i : i + 1]
        model = two_class(normal, float(one.sum()))
        y = model(one).argmax(dim=1)
        for threat in (Linf(math.inf), L2(math.inf)):
            x_adv = DeepFool(threat)(model, one, y)
            assert (model(x_adv).argmax(dim=1) != y).all()
            assert threat.distance(x_adv, one) < 1e-3


@each_norm
def test_scaling_the_logits_changes_nothing(norm):
    model, (x, y) = digits_network(), digits(20)
    plain = DeepFool(THREATS[norm])(model, x, y)
    for scale in (1e-8, 1e8):
        scaled = DeepFool(THREATS[norm])(Saturated(model, scale), x, y)
        assert torch.allclose(plain, scaled, atol=1e-3)


def test_the_perturbation_of_a_linear_model_is_the_closed_form_and_so_is_its_derivative():
    """‖Δ‖ = |f| / ‖w‖ with f = w·x + b, for both signs of the margin (Deep Defense equation 2)."""
    normal = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model = two_class(normal, 0.3).double()
    y = torch.tensor([0, 1, 0, 1])  # some are misclassified
    assert 0 < int((model(x).argmax(dim=1) != y).sum()) < 4
    delta = deepfool_perturbation(
        model,
        x,
        y,
        threat=L2(math.inf),
        rng=streams(4),
        steps=3,
        overshoot=0.0,
        box=False,
        to_label=True,
        create_graph=True,
    ).delta
    w = model.weight[1] - model.weight[0]
    b = model.bias[1] - model.bias[0]
    expected = -((x @ w + b) / (w @ w))[:, None] * w
    assert torch.allclose(delta, expected, atol=1e-8)
    ours = torch.autograd.grad(delta.norm(dim=1).sum(), [model.weight, model.bias])
    theirs = torch.autograd.grad(expected.norm(dim=1).sum(), [model.weight, model.bias])
    for mine, closed in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, closed, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize(("box", "overshoot"), [(False, 0.0), (True, 0.02)])
def test_the_derivative_in_the_weights_agrees_with_finite_differences(norm, steps, box, overshoot):
    model = smooth()
    x = 0.1 + 0.8 * torch.rand(6, 6, generator=torch.Generator().manual_seed(3)).double()
    right = model(x).argmax(dim=1)
    y = torch.where(torch.arange(6) % 2 == 0, right, (right + 1) % 3)

    def total():
        delta = deepfool_perturbation(
            model,
            x,
            y,
            threat=THREATS[norm],
            rng=streams(6),
            steps=steps,
            overshoot=overshoot,
            box=box,
            to_label=True,
            create_graph=True,
        ).delta
        return delta.flatten(1).norm(THREATS[norm].p, dim=1).sum()

    parameters = list(model.parameters())
    grads = torch.autograd.grad(total(), parameters)
    generator = torch.Generator().manual_seed(4)
    for parameter, grad in zip(parameters, grads, strict=True):
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            parameter.data += sign * 1e-6 * way
            values.append(float(total().detach()))
            parameter.data -= sign * 1e-6 * way
        slope = (values[0] - values[1]) / 2e-6
        assert float((grad * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert all(bool((grad != 0).any()) for grad in grads)


def test_misclassified_images_go_to_their_label_only_when_told():
    model, (x, y) = digits_network(), digits(60)
    wrong = (y + 3) % 10
    kept = deepfool_perturbation(model, x, wrong, threat=L2(math.inf), rng=streams(60)).delta
    assert (kept[model(x).argmax(dim=1) != wrong] == 0).all()
    delta = deepfool_perturbation(
        model, x, wrong, threat=L2(math.inf), rng=streams(60), to_label=True
    ).delta
    assert (model(x + delta).argmax(dim=1) == wrong).float().mean() > 0.9
    both = deepfool_perturbation(
        model, x, y, threat=L2(math.inf), rng=streams(60), to_label=True
    ).delta
    right = model(x).argmax(dim=1) == y
    assert (model(x + both).argmax(dim=1)[right] != y[right]).all()


@each_norm
def test_no_derivative_is_nan_where_gradients_vanish(norm):
    model, x = Saturated(random_linear(3, 36), 0.0), images(4)
    y = torch.tensor([0, 1, 2, 0])
    delta = deepfool_perturbation(
        model, x, y, threat=THREATS[norm], rng=streams(4), to_label=True, create_graph=True
    ).delta
    assert (delta == 0).all()
    grads = torch.autograd.grad(delta.square().sum(), model.model.weight, allow_unused=True)
    assert grads[0] is None or grads[0].isfinite().all()


@each_norm
def test_a_stochastic_model_gives_the_same_result_in_any_batch(norm):
    model = nn.Sequential(GaussianNoise(0.2), small_network())
    x, y = images(6), torch.zeros(6, dtype=torch.int64)
    whole = DeepFool(THREATS[norm], search=2)(model, x, y)
    part = DeepFool(THREATS[norm], search=2)(model, x[2:4], y[2:4], index=torch.tensor([2, 3]))
    assert torch.allclose(part, whole[2:4], atol=1e-5)
    assert not torch.equal(whole, DeepFool(THREATS[norm], search=2)(model, x, y, seed=1))


@each_norm
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images(norm, dtype):
    x = images(4).to(dtype)
    model = random_linear(3, 36)
    y = model(x.float()).argmax(dim=1)
    x_adv = DeepFool(THREATS[norm], search=2)(model, x, y)
    assert x_adv.dtype == dtype
    assert (model(x_adv).argmax(dim=1) != y).all()


def test_parameters_are_checked():
    for wrong in ({"steps": 0}, {"classes": 0}, {"search": -1}, {"overshoot": -0.1}):
        with pytest.raises(InputError):
            DeepFool(L2(1.0), **wrong)
    with pytest.raises(InputError, match="not defined in l1"):
        DeepFool(L1(1.0))


def test_each_step_begins_where_the_box_left_the_image():
    """What the box cut off a step is not carried on: a later one may lead back."""

    def logits(x):
        first, second = x.flatten(1).T
        below = 3 * (first - 1) + (second - 1) + 0.4
        above = second - first + 0.5
        return torch.stack([torch.zeros_like(first), torch.where(second < 0.15, below, above)], 1)

    x, y = torch.tensor([[[[0.9, 0.1]]]]), torch.tensor([0])
    seen = []
    DeepFool(L2(math.inf), overshoot=0.0)(Wrapped(logits), x, y, callback=seen.append)
    # The value -0.8 with the slope (3, 1) leads to (1.14, 0.18), which the box cuts to (1, 0.18).
    assert torch.allclose(seen[1].x.flatten(), torch.tensor([1.0, 0.18]), atol=1e-6)
    # There the value is -0.32 and the slope (-1, 1): 0.16 back along the first pixel.
    assert torch.allclose(seen[2].x.flatten(), torch.tensor([0.84, 0.34]), atol=1e-6)


@each_norm
def test_a_point_beyond_the_budget_leads_the_search_to_one_within(norm):
    """The boundary is at 0.1, the overshoot ends at 0.15, and the budget between them at 0.12."""
    model, x = two_class(torch.tensor([1.0, 0.0]), 0.5), torch.full((1, 1, 1, 2), 0.4)
    threat = replace(THREATS[norm], eps=0.12)
    x_adv = DeepFool(threat, overshoot=0.5, search=5)(model, x, torch.tensor([0]))
    assert model(x_adv).argmax(dim=1).tolist() == [1]
    assert threat.distance(x_adv, x).item() <= 0.12 * (1 + 1e-6)
