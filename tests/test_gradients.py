import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.profiler import ProfilerActivity, profile

from holdfast import goals, gradients
from holdfast.attacks import NES, PGD, RFGSM
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import GradientError, InputError
from holdfast.goals import cross_entropy
from holdfast.gradients import (
    Average,
    Evolution,
    FiniteDifferences,
    Forward,
    UnitDraw,
    autograd,
)
from holdfast.random import Stream, drawing_from, layer_uniform
from holdfast.threat import Linf
from holdfast.types import Scored
from tests.toys import Wrapped, images, random_linear, small_network


class Quadratic:
    """½ (x - c)ᵀ A (x - c): its gradient A (x - c) is linear, so averaging over noise keeps it."""

    def __init__(self, matrix, centre):
        self.matrix, self.centre = matrix, centre

    def __call__(self, x):
        delta = x - self.centre
        value = 0.5 * ((delta @ self.matrix) * delta).sum(dim=1)
        return Scored(value, value > 1)

    def take(self, index):
        del index
        return self


def quadratic(size=3):
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(size, size, generator=generator)
    return Quadratic(half @ half.T, torch.rand(size, generator=generator))


def streams(count, seed=0):
    return Stream.of(seed, torch.arange(count))


def test_autograd_is_the_gradient():
    score, x = quadratic(), torch.rand(4, 3)
    slope = autograd(score)(x, streams(4))
    assert torch.allclose(slope.grad, (x - score.centre) @ score.matrix, atol=1e-6)
    assert torch.allclose(slope.value, score(x).value)


def test_average_over_noise_is_unbiased_in_scale_and_sign():
    """The mean over many draws is the true gradient, within its standard error."""
    score, x, samples, noise = quadratic(), torch.rand(2, 3), 20_000, 0.3
    truth = (x - score.centre) @ score.matrix
    estimate = Average(samples=samples, noise=noise)(score)(x, streams(2)).grad
    # One draw errs by A d with d ~ N(0, σ² I): standard deviation σ ‖A_i‖ per coordinate.
    error = noise * score.matrix.norm(dim=1) / samples**0.5
    assert ((estimate - truth).abs() < 4.5 * error).all()


def test_average_value_is_the_mean_score():
    """E ½ (x+d-c)ᵀA(x+d-c) = score(x) + σ²/2 · tr A."""
    score, x = quadratic(), torch.rand(2, 3)
    slope = Average(samples=50_000, noise=0.2)(score)(x, streams(2))
    expected = score(x).value + 0.02 * score.matrix.trace()
    assert torch.allclose(slope.value, expected, rtol=0.02)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_the_mean_of_many_equal_gradients_in_half_precision_is_each_of_them(kind):
    """A sum kept in bfloat16 no longer grows where a term is 1/256 of it."""
    model, x = random_linear(3, 8), torch.rand(4, 8).to(kind)
    score = goals.margin(model, x, torch.tensor([0, 1, 2, 0]))
    mean, one = (kind(score)(x, streams(4)) for kind in (Average(samples=700), autograd))
    assert torch.equal(mean.grad, one.grad)
    assert torch.equal(mean.value, one.value)


def test_one_draw_is_the_gradient_at_that_point():
    score, x, rng = quadratic(), torch.rand(4, 3), streams(4)
    slope = Average(samples=1, noise=0.5)(score)(x, rng)
    d = 0.5 * rng.copies(0, 1).fold("noise").normal((3,))
    assert torch.allclose(slope.grad, (x + d - score.centre) @ score.matrix, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_chunks_do_not_change_the_average(noise):
    model = nn.Sequential(GaussianNoise(0.2), small_network())
    x, y = images(5), torch.zeros(5, dtype=torch.int64)
    score = goals.margin(model, x, y)
    slopes = [
        Average(samples=7, noise=noise, memory=memory)(score)(x, streams(5))
        for memory in (1, 40_000, 2**30)
    ]
    for slope in slopes[1:]:
        assert torch.allclose(slope.grad, slopes[0].grad, atol=1e-6)
        assert torch.allclose(slope.value, slopes[0].value, atol=1e-6)


def test_memory_limits_the_batch_and_plenty_makes_one_batch():
    sizes = []

    class Watch(nn.Module):
        def forward(self, x):
            sizes.append(len(x))
            return x.flatten(1)[:, :3].tanh()

    x, y = images(4), torch.zeros(4, dtype=torch.int64)
    score = goals.cross_entropy(Watch(), x, y)
    Average(samples=9, memory=2**30)(score)(x, streams(4))
    assert sizes == [4, 32]
    sizes.clear()
    Average(samples=9)(score)(x, streams(4))  # by default as much as so small a model needs
    assert sizes == [4, 32]
    sizes.clear()
    Average(samples=5, memory=1)(score)(x, streams(4))
    assert sizes == [4] * 5


def test_noise_falls_from_the_first_to_the_last_geometrically():
    falling = Average(samples=1, noise=(0.8, 0.2))
    at = [falling.noise_at(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (at[0], at[-1]) == pytest.approx((0.8, 0.2))
    assert [b / a for a, b in itertools.pairwise(at)] == pytest.approx([0.25**0.25] * 4)
    assert Average(samples=1, noise=0.3).noise_at(0.7) == 0.3


def test_eot_averages_gradients_over_the_models_noise():
    """E ∇ of a logistic loss at x + N(0, σ²) is known by numerical integration."""
    sigma, x, y = 0.5, torch.tensor([[0.3], [0.8]]), torch.tensor([0, 0])
    model = nn.Sequential(GaussianNoise(sigma), Wrapped(lambda z: torch.cat([-z, z], dim=1)))
    estimate = Average(samples=20_000)(goals.cross_entropy(model, x, y))(x, streams(2)).grad
    for row, start in zip(estimate[:, 0].tolist(), x[:, 0].tolist(), strict=True):
        # The loss is log(1 + e^2z), its slope 2 / (1 + e^-2z).
        truth, _ = integrate.quad(
            lambda z, m=start: 2 / (1 + np.exp(-2 * z)) * stats.norm.pdf(z, m, sigma), -6, 6
        )
        assert row == pytest.approx(truth, abs=0.015)


def test_what_fools_nine_draws_in_ten_counts_as_reached_and_six_in_ten_do_not():
    class Often(nn.Module):
        def forward(self, x):
            fraction = x.flatten(1)[:, :1]
            return torch.cat(
                [0 * fraction + 0.5, (layer_uniform(fraction) < fraction) + 0 * fraction], dim=1
            )

    x = torch.tensor([0.9, 0.6]).repeat(100).view(-1, 1, 1, 1)
    score = cross_entropy(Often(), x, torch.zeros(200, dtype=torch.int64))
    reached = Average(samples=30)(score)(x, Stream.of(0, torch.arange(200))).reached
    assert reached[::2].float().mean() > 0.95
    assert reached[1::2].float().mean() < 0.15


def test_reached_is_asked_of_the_image_itself_not_of_noisy_copies():
    model, x = small_network(), images(6)
    right = model(x).argmax(dim=1)
    slope = Average(samples=5, noise=50.0)(goals.margin(model, x, right))(x, streams(6))
    assert not slope.reached.any()


def test_where_the_gradient_vanishes_a_unit_draw_is_a_step_of_power_iteration():
    """SO appendix A: ∇L(x + ξ d) = ξ H d, exactly on a quadratic, and d has length 1."""
    score, count = quadratic(), 2000
    x = score.centre.expand(count, 3).clone()
    slope = UnitDraw(xi=0.3)(score)(x, streams(count))
    draw = torch.linalg.solve(score.matrix.double(), slope.grad.double().T).T / 0.3
    assert torch.allclose(draw.norm(dim=1), torch.ones(count, dtype=torch.float64), atol=1e-3)
    assert draw.mean(dim=0).abs().max() < 5 * (1 / 3 / count) ** 0.5  # d has no favourite
    leading = torch.linalg.eigh(score.matrix).eigenvectors[:, -1]

    def cosine(grad):
        return (grad @ leading).abs() / grad.norm(dim=1)

    d = draw.float()
    assert (cosine(slope.grad) >= cosine(d) - 1e-4).all()  # nearer than the draw, each one
    # The average over draws, equation 4, keeps nothing of the Hessian: its mean is 0.
    averaged = Average(samples=5000, noise=0.3 / 3**0.5)(score)(x[:4], streams(4)).grad
    assert averaged.norm(dim=1).max() < 0.1 * slope.grad.norm(dim=1).mean()


def test_a_unit_draw_asks_the_image_itself_whether_the_aim_is_reached():
    model, x = small_network(), images(6)
    right = model(x).argmax(dim=1)
    slope = UnitDraw(xi=500.0)(goals.margin(model, x, right))(x, streams(6))
    assert not slope.reached.any()


@pytest.mark.parametrize("xi", [0.0, -1.0, float("inf"), float("nan")])
def test_a_unit_draw_needs_a_positive_distance(xi):
    with pytest.raises(InputError, match="positive distance"):
        UnitDraw(xi=xi)


def test_evolution_is_unbiased_in_scale_and_sign():
    """On a quadratic one pair gives (u·g) u exactly: mean g, variance ‖g‖² + g_i²."""
    score, x, samples = quadratic(), torch.rand(2, 3), 40_000
    truth = (x - score.centre) @ score.matrix
    slope = Evolution(samples=samples, sigma=0.3)(score)(x, streams(2))
    error = ((truth.square().sum(dim=1, keepdim=True) + truth.square()) / (samples / 2)).sqrt()
    assert ((slope.grad - truth).abs() < 4.5 * error).all()
    assert torch.equal(slope.value, score(x).value)
    assert torch.equal(slope.reached, score(x).reached)


def test_nes_is_pgd_from_scores_alone_and_gets_through_a_layer_without_gradient():
    attack = NES(Linf(0.3), steps=8, samples=40, sigma=0.05)
    gradient = Evolution(samples=40, sigma=0.05)
    assert attack.engine() == PGD(Linf(0.3), steps=8, random_start=False, gradient=gradient)
    network, x = small_network(), images(12)
    blocked = Wrapped(lambda x: network(x.detach()))
    y = network(x).argmax(dim=1)
    with pytest.raises(GradientError):
        PGD(Linf(0.3), steps=8)(blocked, x, y)
    fooled = network(attack(blocked, x, y)).argmax(dim=1) != y
    exact = network(PGD(Linf(0.3), steps=8)(network, x, y)).argmax(dim=1) != y
    assert fooled.sum() >= exact.sum() - 2
    assert exact.any()


def test_a_pair_of_evolution_is_the_difference_along_its_draw():
    score, x, rng = quadratic(), torch.rand(4, 3), streams(4)
    slope = Evolution(samples=2, sigma=0.5)(score)(x, rng)
    u = rng.copies(0, 1).fold("noise").normal((3,))
    truth = (x - score.centre) @ score.matrix
    assert torch.allclose(slope.grad, (u * truth).sum(dim=1, keepdim=True) * u, atol=1e-5)


def test_evolution_asks_forward_passes_only_and_counts_them():
    model, x, sizes = small_network(), images(5), []
    counted = Counted(Wrapped(lambda x: (sizes.append(len(x)), model(x))[1]), torch.arange(5))
    score = goals.margin(counted, x, torch.zeros(5, dtype=torch.int64))
    whole = Evolution(samples=14, sigma=0.1)(score)(x, streams(5))
    assert counted.forwards.tolist() == [15] * 5
    assert counted.backwards.tolist() == [0] * 5
    assert sizes == [5, 70]
    sizes.clear()
    parts = Evolution(samples=14, sigma=0.1, memory=4 * x.nbytes)(score)(x, streams(5))
    assert sizes == [5, 20, 20, 20, 10]
    assert torch.allclose(parts.grad, whole.grad, atol=1e-5)
    assert not whole.grad.requires_grad


def test_a_pair_of_evolution_meets_the_same_noise_of_the_model():
    """So that the model's noise, here 100 times as large, drops out of a linear score."""
    normal = torch.randn(3, generator=torch.Generator().manual_seed(1))
    linear = Wrapped(lambda z: torch.stack([z @ normal, torch.zeros(len(z))], dim=1))
    model, x = nn.Sequential(GaussianNoise(10.0), linear), torch.rand(1, 3)
    score = goals.margin(model, x, torch.ones(1, dtype=torch.int64))
    slope = Evolution(samples=4000, sigma=0.1)(score)(x, streams(1))
    assert torch.allclose(slope.grad[0], normal, atol=0.25)


@pytest.mark.parametrize("memory", [None, 1])
def test_finite_differences_are_exact_on_a_quadratic_in_two_passes_a_pixel(memory):
    score, x = quadratic(), torch.rand(4, 3)
    slope = FiniteDifferences(h=0.1, memory=memory)(score)(x, streams(4))
    exact = autograd(score)(x, streams(4))
    assert torch.allclose(slope.grad, exact.grad, atol=1e-5)
    assert torch.equal(slope.value, exact.value)
    assert torch.equal(slope.reached, exact.reached)
    model, images_ = small_network(), images(5)
    counted = Counted(model, torch.arange(5))
    y = torch.zeros(5, dtype=torch.int64)
    found = FiniteDifferences(memory=memory)(goals.margin(counted, images_, y))(images_, streams(5))
    truth = autograd(goals.margin(model, images_, y))(images_, streams(5)).grad
    assert torch.allclose(found.grad, truth, atol=1e-3)
    assert counted.forwards.tolist() == [2 * images_[0].numel() + 1] * 5
    assert counted.backwards.tolist() == [0] * 5


def test_r_fgsm_by_finite_differences_finds_what_the_gradient_finds_where_none_passes():
    network, x = small_network(), images(12)
    y = network(x).argmax(dim=1)
    blocked = Wrapped(lambda x: network(x.detach()))
    by_scores = RFGSM(Linf(0.3), gradient=FiniteDifferences())(blocked, x, y, seed=3)
    exact = RFGSM(Linf(0.3))(network, x, y, seed=3)  # and the same random step
    assert (by_scores == exact).float().mean() > 0.99


def test_pgd_with_evolution_breaks_a_model_that_has_no_gradient():
    network, x = small_network(), images(20)
    model = Wrapped(lambda x: network((x > 0.5).to(x.dtype)))
    y = model(x).argmax(dim=1)
    with pytest.raises(GradientError):
        PGD(Linf(0.3))(model, x, y)
    attack = PGD(Linf(0.3), steps=10, goal=goals.margin, gradient=Evolution(samples=40, sigma=0.2))
    assert (model(attack(model, x, y)).argmax(dim=1) == y).float().mean() < 0.2


def test_no_gradient_is_an_error_that_offers_bpda():
    class Threshold(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot((x.flatten(1).sum(dim=1) > 18).long(), 2).float()

    class Detached(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2].detach() + nn.Parameter(torch.zeros(2))

    x, y = images(3), torch.zeros(3, dtype=torch.int64)
    for model in (Threshold(), Detached()):
        with pytest.raises(GradientError, match="BPDA"):
            autograd(goals.margin(model, x, y))(x, streams(3))


def test_estimators_write_no_grad():
    model, x = small_network(), images(3)
    score = goals.cross_entropy(model, x, torch.zeros(3, dtype=torch.int64))
    for gradient in (autograd, Average(samples=3, noise=0.1)):
        gradient(score)(x, streams(3))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"samples": 3, "noise": -0.1},
        {"samples": 3, "noise": (0.1, 0.0)},
        {"samples": 3, "noise": (math.inf, 0.1)},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        Average(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"samples": 3}, {"sigma": 0.0}, {"sigma": float("nan")}]
)
def test_parameters_of_evolution_are_checked(wrong):
    with pytest.raises(InputError):
        Evolution(**{"samples": 4, "sigma": 0.1, **wrong})


@pytest.mark.parametrize("h", [0.0, -0.1, float("inf"), float("nan")])
def test_finite_differences_need_a_positive_distance(h):
    with pytest.raises(InputError, match="positive distance"):
        FiniteDifferences(h=h)


@pytest.fixture(params=["together", "apart"])
def large(request, monkeypatch):
    """Whether the gradients of all classes are too many for one backward pass on a CPU."""
    apart = request.param == "apart"
    monkeypatch.setattr(gradients.forward, "_CACHED", 1 if apart else 2**19)
    return apart


@pytest.mark.parametrize("create_graph", [False, True])
def test_each_class_has_its_gradient(create_graph, large):
    model, x = small_network(), images(3)
    forward = Forward(model, x)
    grads = forward.gradients(again=True, create_graph=create_graph)
    variable = x.clone().requires_grad_()
    expected = model(variable)
    assert torch.allclose(forward.logits, expected)
    for k in range(4):
        (grad,) = torch.autograd.grad(expected[:, k].sum(), variable, retain_graph=True)
        assert torch.allclose(grads[:, k], grad, atol=1e-6)
    assert grads.requires_grad == create_graph
    chosen = torch.tensor([[3, 1], [0, 2], [2, 2]])
    some = forward.gradients(chosen)
    assert torch.allclose(some, grads[torch.arange(3)[:, None], chosen], atol=1e-6)


def test_gradients_of_logits_minus_a_class(large):
    model, x, y = small_network(), images(3), torch.tensor([1, 3, 0])
    forward = Forward(model, x)
    whole = forward.gradients(again=True)
    grads = forward.gradients(torch.tensor([[0, 2]] * 3), minus=y)
    row = torch.arange(3)
    assert torch.allclose(forward.logits, model(x))
    assert torch.allclose(grads, whole[:, [0, 2]] - whole[row, y][:, None], atol=1e-6)


def test_large_gradients_come_one_class_at_a_time(large):
    model, x, passes = small_network(), images(3), []
    model.register_full_backward_hook(lambda *_: passes.append(1))
    Forward(model, x).gradients()
    assert len(passes) == (4 if large else 1)


@pytest.mark.parametrize("held", [1, 2, 3, 4, 100])
def test_a_backward_pass_carries_as_many_classes_as_are_held(held, monkeypatch):
    model, x, passes = small_network(), images(3), []
    monkeypatch.setattr(gradients.forward, "_CACHED", held * x.nbytes)
    model.register_full_backward_hook(lambda *_: passes.append(1))
    Forward(model, x).gradients()
    assert len(passes) == math.ceil(4 / held)


def test_no_images_have_no_gradients():
    assert Forward(small_network(), images(0)).gradients().shape == (0, 4, *images(0).shape[1:])


def test_a_backward_pass_is_counted_for_every_class(large):
    model, x = small_network(), images(3)
    counted = Counted(model, torch.arange(3))
    with drawing_from(Stream.of(0, torch.arange(3))):
        Forward(counted, x).gradients()
        forward = Forward(counted, x)
    forward.gradients(torch.tensor([[0, 1]] * 3), again=True)
    forward.gradients(torch.tensor([[2]] * 3))
    assert counted.forwards.tolist() == [2, 2, 2]
    assert counted.backwards.tolist() == [7, 7, 7]


def test_a_model_without_a_gradient_says_so():
    with pytest.raises(GradientError, match="BPDA"):
        Forward(Wrapped(lambda x: x.detach().flatten(1)), images(2)).gradients()


def test_what_an_average_holds_does_not_grow_with_its_draws():
    """Beside one batch of copies: gradients are summed as they come."""
    model, x = small_network(), images(4)
    score = goals.cross_entropy(model, x, torch.zeros(4, dtype=torch.int64))
    peaks = []
    for samples in (10, 100):
        average = Average(samples=samples, noise=0.1, memory=1)(score)
        average(x, streams(4))  # what is made once
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            average(x, streams(4))
        events = record.profiler.kineto_results.events()
        changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        peaks.append(max(itertools.accumulate(size for _, size in changes)))
    assert peaks[1] <= 1.1 * peaks[0]
