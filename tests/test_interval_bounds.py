"""Interval bound propagation: the bound holds, is exact where it can be, and can be trained."""

import math

import pytest
import torch
from torch import nn

from holdfast import data
from holdfast.attacks import PGD
from holdfast.diagnose import interval_bounds
from holdfast.diagnose.interval_bounds import bounds_within
from holdfast.errors import InputError, ModelError
from holdfast.goals import margin
from holdfast.models import STNCIFAR, A, Architecture, Bstar, C, Normalize, Small
from holdfast.models.propagation import worst_margins
from holdfast.random import Stream
from holdfast.threat import L1, L2, Linf
from holdfast.training import IBP, Augmented, Schedule, Standard, Total, fit, paced
from tests.toys import images, small_network

NETWORKS = {
    "A": lambda: A((1, 12, 12), 4),
    "Bstar": lambda: Bstar((1, 28, 28), 4),
    "C": lambda: C((1, 14, 14), 4),
    "small": lambda: Small((1, 8, 8), 4),
    "stn-cifar10": lambda: STNCIFAR((3, 16, 16), 4),  # ends in a mean, not in a linear layer
    "normalised": lambda: nn.Sequential(Normalize([0.3], [0.25]), Small((1, 8, 8), 4)),
}
SHAPES = {"A": (1, 12, 12), "Bstar": (1, 28, 28), "C": (1, 14, 14), "stn-cifar10": (3, 16, 16)}
THREATS = [Linf(0.02), L2(0.2)]


def made(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[name]().eval().requires_grad_(False)
    x = images(3, SHAPES.get(name, (1, 8, 8)))
    return network, x, network(x).argmax(dim=1)


def differences(network, x, y):
    z = network(x)
    return z - z.gather(1, y[:, None])


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_point_of_the_ball_exceeds_the_bound_not_even_an_attacked_one(name, threat):
    network, x, y = made(name)
    bound = worst_margins(network, x, y, threat)
    points = [threat.sample(x, Stream.of(seed, torch.arange(3))) for seed in range(20)]
    points += [PGD(threat, steps=10, goal=margin, early_stop=False)(network, x, y)]
    for point in points:
        assert (differences(network, point, y) <= bound + 1e-5).all()
    assert (bound.gather(1, y[:, None]) == 0).all()


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("normalised", [False, True])
def test_the_bound_of_one_linear_layer_is_reached(threat, normalised):
    """By Hölder: the gradient of z_k - z_y is W_k - W_y, and its dual norm times ε is the most."""
    x, y = images(4, margin=0.3), torch.tensor([0, 1, 2, 3])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(36, 4)
    front = [Normalize([0.5], [0.5])] if normalised else []
    network = nn.Sequential(*front, nn.Flatten(), layer).requires_grad_(False)
    found = worst_margins(network, x, y, threat)
    slope = (layer.weight - layer.weight[y][:, None]) * (2 if normalised else 1)
    dual = slope.norm(dim=2) if threat.p == 2 else slope.abs().sum(dim=2)
    expected = differences(network, x, y) + threat.eps * dual
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_convolution_sees_the_l2_ball_and_not_the_box_around_it():
    """In ℓ2 an output of one convolution moves by ε times the filter's norm at most, and does."""
    x = images(2, margin=0.3)
    layer = nn.Conv2d(1, 3, 3, padding=1, stride=2).requires_grad_(False)
    whole = nn.Sequential(layer, nn.Flatten(), nn.Linear(27, 2, bias=False)).requires_grad_(False)
    whole[2].weight.zero_()
    whole[2].weight[1, 4] = 1  # the middle of the first channel, whose patch is whole
    found = worst_margins(whole, x, torch.zeros(2, dtype=torch.int64), L2(0.1))
    middle = layer(x)[:, 0, 1, 1]
    assert torch.allclose(found[:, 1], middle + 0.1 * layer.weight[0].norm(), atol=1e-6)


def test_the_ball_is_cut_by_the_box_of_images_in_linf():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).requires_grad_(False)
    network[1].weight.copy_(torch.tensor([[0.0] * 4, [1.0] * 4]))
    x = torch.tensor([0.0, 0.5, 1.0, 1.0]).view(1, 1, 2, 2)
    found = worst_margins(network, x, torch.tensor([0]), Linf(0.2))
    assert found[0, 1] == pytest.approx(2.5 + 0.4)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_rounding_only_widens_and_hardly(threat):
    for name in NETWORKS:
        network, x, y = made(name)
        network, x = network.double(), x.double()
        exact = worst_margins(network, x, y, threat)
        widened = worst_margins(network, x, y, threat, rounding=1e-9)
        others = torch.ones_like(exact).scatter(1, y[:, None], 0).bool()
        assert (widened > exact)[others].all()
        assert torch.allclose(widened, exact, rtol=1e-5)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_rounding_widens_a_linear_layer_by_a_share_of_the_sizes_of_its_terms(threat):
    """By ρ (|W| r + |W| |c| + |b|), in ℓ2 with the ellipsoid's reach for |W| r."""
    x, y, share = images(2, margin=0.3).double(), torch.tensor([0, 1]), 1e-3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(36, 2).double().requires_grad_(False)
    network = nn.Sequential(nn.Flatten(), layer)
    slope, moved = layer.weight - layer.weight[y][:, None], layer.bias - layer.bias[y][:, None]
    dual = slope.norm(dim=2) if threat.p == 2 else slope.abs().sum(dim=2)
    sizes = threat.eps * dual + (slope.abs() * x.flatten(1)[:, None]).sum(dim=2) + moved.abs()
    found = worst_margins(network, x, y, threat, rounding=share)
    assert torch.allclose(found, worst_margins(network, x, y, threat) + share * sizes)


@pytest.mark.parametrize("ball", [Linf, L2])
def test_several_balls_at_once_are_bounded_as_each_alone(ball):
    network, x, y = made("small")
    asked = []
    network.register_forward_hook(lambda *_: asked.append(1))  # of the whole, not of its layers
    balls = [ball(eps) for eps in (0.001, 0.02, 0.1)]
    together = bounds_within(network, x, y, balls)
    assert len(asked) == 1
    for found, alone in zip(together, balls, strict=True):
        for part, same in zip(found, interval_bounds(network, x, y, alone), strict=True):
            assert torch.equal(part, same)


def test_a_certified_image_stands_under_attack_and_a_larger_ball_certifies_less():
    network, x = small_network(), images(40)
    y = network(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 4
    kept = x.clone()
    proven = [interval_bounds(network, x, y, Linf(eps)) for eps in (1e-4, 3e-3, 0.3)]
    assert torch.equal(x, kept)
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
    assert not proven[0].right[0]
    assert not proven[0].certified[0]
    assert proven[0].certified[1:].float().mean() > 0.9
    assert not proven[2].certified.any()
    attacked = PGD(Linf(3e-3), steps=20)(network, x, y)
    assert (network(attacked).argmax(dim=1) == y)[proven[1].certified].all()
    assert 0 < proven[1].certified.sum() < 40


class _Own(nn.Conv2d):
    pass


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.Softmax(dim=1), "Softmax"),
        (_Own(1, 1, 3), "_Own"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.BatchNorm2d(1), "BatchNorm2d"),
        (nn.LeakyReLU(-1.0), "negative_slope of -1"),  # falls where its input rises
        (nn.ELU(-0.5), "alpha of -0.5"),
        (nn.AvgPool2d(2, divisor_override=-4), "divisor_override of -4"),
    ],
)
def test_a_layer_that_intervals_cannot_pass_is_named(layer, told):
    network = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(4))
    network(images(2))
    with pytest.raises(ModelError, match=told):
        worst_margins(network, images(2), torch.tensor([0, 1]), Linf(0.1))


def test_a_hook_and_other_balls_are_refused():
    network, x, y = small_network(), images(2), torch.tensor([0, 1])
    for threat in (L1(1.0), L2(math.inf)):
        with pytest.raises(InputError):
            worst_margins(network, x, y, threat)
    network[1].register_forward_hook(lambda layer, given, out: 2 * out)
    with pytest.raises(ModelError, match="hook"):
        worst_margins(network, x, y, Linf(0.1))


# As an objective


def loss_of(objective, network, x, y):
    return objective(network, x, y, Stream.of(0, torch.arange(len(x))))[0]


def test_the_loss_is_gowals_and_moves_from_the_clean_one_to_it():
    network, x, y = small_network(), images(4), torch.tensor([0, 1, 2, 3])
    objective = IBP(Linf(0.02), kappa=0.25, warm_up=0.2, ramp=0.4)
    clean = nn.functional.cross_entropy(network(x), y)

    def mixed(kappa, eps):
        worst = nn.functional.cross_entropy(worst_margins(network, x, y, Linf(eps)), y)
        return kappa * clean + (1 - kappa) * worst

    expected = {0.0: clean, 0.19: clean, 0.4: mixed(0.625, 0.01), 0.6: mixed(0.25, 0.02)}
    expected |= {0.99: expected[0.6]}
    for progress, value in expected.items():
        assert loss_of(objective.during(progress), network, x, y).item() == pytest.approx(
            value.item(), rel=1e-5
        )
    assert loss_of(objective, network, x, y).item() == pytest.approx(expected[0.99].item())
    at_once = IBP(Linf(0.02), kappa=0.25, warm_up=0, ramp=0)
    assert loss_of(at_once.during(0.0), network, x, y).item() == pytest.approx(
        expected[0.99].item()
    )


def test_what_is_around_an_objective_passes_on_how_far_the_training_is():
    network, x, y = small_network(), images(4), torch.tensor([0, 1, 2, 3])
    objective = IBP(Linf(0.05), warm_up=0.5, ramp=0.0)
    for around in (Augmented(objective=objective), Total((objective,))):
        first, last = (loss_of(paced(around, at), network, x, y) for at in (0.4, 0.6))
        assert first.item() == pytest.approx(loss_of(Standard(), network, x, y).item())
        assert last.item() == pytest.approx(loss_of(objective, network, x, y).item())


def test_the_trainer_says_how_far_it_is_and_the_trained_network_is_certified(tmp_path):
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    test = data.load("digits", limit=100)
    x, y = test.x(torch.arange(100)), test.y
    proven = {}
    for name, objective in {"plain": Standard(), "ibp": IBP(Linf(0.05))}.items():
        network, out = made.build(), tmp_path / name
        out.mkdir()
        schedule = Schedule(epochs=8, batch_size=32, lr=3e-3)
        log = fit(
            network, data.load("digits", "train"), objective, schedule, architecture=made, out=out
        )
        proven[name] = interval_bounds(network.eval(), x, y, Linf(0.05)).certified.float().mean()
    assert proven["ibp"] > 0.4 > proven["plain"]
    assert log["worst"][0] != log["worst"][7]  # it was begun small
    assert log["loss"][0] == pytest.approx(log["clean"][0], rel=0.2)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kappa": 1.5}, "kappa is 1.5"),
        ({"warm_up": 0.6, "ramp": 0.6}, "ramp 0.6"),
        ({"warm_up": 1.0, "ramp": 0.0}, "warm_up is 1.0"),
    ],
)
def test_bad_parameters_are_named(settings, told):
    with pytest.raises(InputError, match=told):
        IBP(Linf(0.1), **settings)
    with pytest.raises(InputError, match="inf"):
        IBP(Linf(math.inf))
