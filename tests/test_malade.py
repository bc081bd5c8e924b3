"""MALADE on densities whose score and chain are known in closed form, and attacks through it."""

import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.declarations import (
    is_stochastic,
    non_differentiable,
    purifiers,
    reconstruction_of,
)
from holdfast.defenses import MALADE, trace_chain
from holdfast.errors import InputError, ModelError
from holdfast.gradients import Forward, autograd
from holdfast.random import Stream, drawing_from
from holdfast.tensors import fingerprint
from holdfast.votes import take_votes
from tests.toys import Wrapped, images, small_network, smooth

MEAN, WIDTH, SIGMA = 0.6, 0.2, 0.3


def gaussian_denoiser(mean=MEAN, width=WIDTH, sigma=SIGMA):
    """The best DAE of images from N(mean, width²): the mean of an image given a noisy one."""
    return Wrapped(lambda x: (width**2 * x + sigma**2 * mean) / (width**2 + sigma**2))


def curved_denoiser(seed=0):
    """A smooth map from six pixels to six, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 6), nn.Tanh()).double().eval()


def malade(denoiser=None, **settings):
    given = {"steps": 4, "alpha": 0.02, "delta": 0.05, "sigma": SIGMA} | settings
    return MALADE(denoiser or gaussian_denoiser(), **given)


def stream(count, seed=0):
    return Stream.of(seed, torch.arange(count))


class TestTheChain:
    def test_the_score_of_a_gaussian_is_that_of_the_blurred_gaussian(self):
        """Equation 9: the residual is σ² times the score of p blurred by the noise."""
        x = images(5).double().requires_grad_()
        moments = torch.tensor([MEAN, math.hypot(WIDTH, SIGMA)], dtype=torch.float64)
        blurred = torch.distributions.Normal(*moments)
        (score,) = torch.autograd.grad(blurred.log_prob(x).sum(), x)
        assert torch.allclose(malade().score(x), score, rtol=1e-12)

    @pytest.mark.parametrize("steps", [1, 7, 200])
    def test_mean_and_variance_after_any_number_of_steps(self, steps):
        """x' = x + a (mean - x) + δ n: an AR(1) process, stationary after 200 steps."""
        alpha, delta, start, count = 0.02, 0.05, 0.1, 4000
        a = alpha / (WIDTH**2 + SIGMA**2)
        x = torch.full((count, 1, 2, 2), start, dtype=torch.float64)
        with drawing_from(stream(count)):
            end = malade(steps=steps, alpha=alpha, delta=delta)(x).flatten()
        mean = MEAN + (1 - a) ** steps * (start - MEAN)
        variance = delta**2 * (1 - (1 - a) ** (2 * steps)) / (1 - (1 - a) ** 2)
        error = math.sqrt(variance / len(end))
        assert abs(float(end.mean()) - mean) < 4 * error
        assert abs(float(end.var()) / variance - 1) < 4 * math.sqrt(2 / len(end))
        if steps == 200:
            assert mean == pytest.approx(MEAN, abs=1e-6)
            assert variance == pytest.approx(delta**2 / (1 - (1 - a) ** 2), rel=1e-9)

    def test_langevins_own_noise_samples_from_the_density(self):
        """δ² = 2α and small steps: the stationary variance is that of the blurred density."""
        alpha = 2e-3
        x = torch.full((600, 1, 2, 2), MEAN)
        with drawing_from(stream(600)):
            end = malade(steps=300, alpha=alpha, delta=math.sqrt(2 * alpha))(x)
        assert float(end.var()) == pytest.approx(WIDTH**2 + SIGMA**2, rel=0.1)

    def test_annealed_alpha_and_delta_squared_fall_together_to_what_is_left(self):
        """The last of 5 steps has a sixteenth of both: 1, 1/2, 1/4, 1/8, 1/16 on the way."""
        alpha, delta, start, count = 0.02, 0.05, 0.1, 4000
        x = torch.full((count, 1, 2, 2), start, dtype=torch.float64)
        with drawing_from(stream(count)):
            end = malade(steps=5, alpha=alpha, delta=delta, anneal=1 / 16)(x).flatten()
        mean, variance = start, 0.0
        for left in (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16):
            a = left * alpha / (WIDTH**2 + SIGMA**2)
            mean, variance = mean + a * (MEAN - mean), (1 - a) ** 2 * variance + left * delta**2
        assert abs(float(end.mean()) - mean) < 4 * math.sqrt(variance / len(end))
        assert abs(float(end.var()) / variance - 1) < 4 * math.sqrt(2 / len(end))

    def test_one_step_has_nothing_to_anneal(self):
        ends = []
        for anneal in (1.0, 0.1):
            with drawing_from(stream(3)):
                ends.append(malade(steps=1, anneal=anneal)(images(3)))
        assert torch.equal(*ends)

    def test_without_noise_it_is_a_deterministic_map(self):
        layer, x = malade(delta=0.0), images(3).double()
        a = 0.02 / (WIDTH**2 + SIGMA**2)
        expected = MEAN + (1 - a) ** 4 * (x - MEAN)
        assert torch.allclose(layer(x), expected, rtol=1e-12)
        assert not is_stochastic(layer)

    def test_every_step_draws_its_own_noise(self):
        still = malade(Wrapped(lambda x: x), steps=3, delta=0.1)
        x = images(4)
        with drawing_from(stream(4)):
            path = list(still.chain(x))
        kappas = [(b - a) / 0.1 for a, b in itertools.pairwise(path)]
        flat = torch.stack(kappas).flatten(1)
        assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.4
        assert len(path) == 4

    def test_the_same_seed_gives_the_same_chain_whatever_the_batch(self):
        layer = malade(small_denoiser := nn.Conv2d(1, 1, 3, padding=1))
        x = images(6)
        with torch.no_grad():
            with drawing_from(stream(6)):
                whole = layer(x)
            for part in ([0], [4, 2], [1, 3, 5]):
                place = torch.tensor(part)
                with drawing_from(Stream.of(0, place)):
                    assert torch.allclose(layer(x[place]), whole[place], atol=1e-6)
            with drawing_from(stream(6, seed=1)):
                assert not torch.allclose(layer(x), whole, atol=1e-2)
        assert small_denoiser.weight.grad is None

    def test_many_chains_vote(self):
        model = nn.Sequential(malade(delta=0.3), small_network()).eval()
        x = images(5)
        counts = take_votes(model, x, stream(5), n=40).counts
        assert counts.sum(dim=1).tolist() == [40] * 5
        part = take_votes(model, x[3:], Stream.of(0, torch.tensor([3, 4])), n=40)
        assert torch.equal(part.counts, counts[3:])
        assert counts.max() < 40


class TestGradients:
    @pytest.mark.parametrize("checkpointing", [True, False])
    def test_of_a_linear_denoiser(self, checkpointing):
        layer = malade(steps=9, checkpointing=checkpointing)
        x = images(2).double().requires_grad_()
        (grad,) = torch.autograd.grad(layer(x).sum(), x)
        a = 0.02 / (WIDTH**2 + SIGMA**2)
        assert torch.allclose(grad, torch.full_like(x, (1 - a) ** 9), rtol=1e-12)

    @pytest.mark.parametrize("checkpointing", [True, False])
    def test_by_finite_differences_through_the_whole_chain(self, checkpointing):
        layer = malade(curved_denoiser(), steps=5, alpha=0.05, checkpointing=checkpointing)
        model = nn.Sequential(layer, smooth())

        def value(x):
            with drawing_from(stream(2)):
                return model(x)

        x = images(2, (6,)).double().requires_grad_()
        assert torch.autograd.gradcheck(value, x, eps=1e-6, atol=1e-7)

    @pytest.mark.parametrize("steps", [20, 80])
    def test_checkpointing_changes_memory_and_nothing_else(self, steps, monkeypatch):
        monkeypatch.setattr("holdfast.defenses.malade._KEPT", 0)  # as if the images were large
        denoiser = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 1, 3, padding=1)
        )
        x = images(4, (1, 12, 12))
        saved, grads = {}, {}
        for checkpointing in (True, False):
            layer = malade(denoiser, steps=steps, checkpointing=checkpointing)
            sizes = {}

            def keep(tensor, sizes=sizes):
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                return tensor

            start = x.clone().requires_grad_()
            with (
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
                drawing_from(stream(4)),
            ):
                out = layer(start)
            saved[checkpointing] = sum(sizes.values())
            (grads[checkpointing],) = torch.autograd.grad(out.square().sum(), start)
        assert torch.equal(grads[True], grads[False])
        step = 16 * x.nbytes  # the activations behind the first layer
        assert saved[True] <= 24 * x.nbytes + 2 * step  # of 16 steps and 5 parts, and one step's
        assert saved[False] > steps * step

    def test_all_classes_at_once_and_twice(self):
        x = images(3, (6,)).double()
        found = {}
        for checkpointing in (True, False):
            layer = malade(curved_denoiser(), delta=0.0, checkpointing=checkpointing)
            forward = Forward(nn.Sequential(layer, smooth()), x)
            found[checkpointing] = (forward.gradients(again=True), forward.gradients())
            assert torch.allclose(*found[checkpointing])
        assert torch.allclose(found[True][0], found[False][0])

    def test_a_score_through_the_chain_draws_from_the_stream(self):
        from holdfast.goals import cross_entropy

        model = nn.Sequential(malade(), small_network()).eval()
        slope = autograd(cross_entropy(model, images(3), torch.tensor([0, 1, 2])))
        one, two = slope(images(3), stream(3)), slope(images(3), stream(3))
        assert torch.equal(one.grad, two.grad)
        assert not torch.equal(one.grad, slope(images(3), stream(3).fold("other")).grad)


class TestWhatItSays:
    def test_what_it_declares(self):
        denoiser = gaussian_denoiser()
        layer = malade(denoiser)
        model = nn.Sequential(layer, small_network())
        assert is_stochastic(model)
        assert non_differentiable(model) == []
        assert purifiers(model) == [layer]
        assert reconstruction_of(layer) is denoiser

    def test_other_numbers_are_another_model(self):
        denoiser = nn.Conv2d(1, 1, 3, padding=1)
        prints = {
            fingerprint(malade(denoiser, **other))
            for other in (
                {},
                {"steps": 5},
                {"alpha": 0.03},
                {"delta": 0.06},
                {"sigma": 0.4},
                {"anneal": 0.5},
                {"anneal": 0.4},
            )
        }
        assert len(prints) == 7
        for settings in ({}, {"anneal": 0.5}):
            copy = malade(denoiser, steps=9, alpha=1.0, anneal=0.9)
            copy.load_state_dict(malade(denoiser, **settings).state_dict())
            assert repr(copy) == repr(malade(denoiser, **settings))
        assert "alpha=0.02" in repr(copy)

    def test_a_trace_is_the_chain_that_a_forward_pass_runs(self):
        layer, classifier, x = malade(delta=0.2), small_network(), images(3)
        trace = trace_chain(layer, classifier, x, stream(3))
        assert trace.images.shape == (5, 3, 1, 6, 6)
        assert trace.probabilities.shape == (5, 3, 4)
        assert torch.equal(trace.images[0], x)
        with torch.no_grad(), drawing_from(stream(3)):
            assert torch.equal(layer(x), trace.images[-1])
            assert torch.allclose(classifier(x).softmax(dim=1), trace.probabilities[0], atol=1e-6)

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"steps": 0}, "steps is 0"),
            ({"alpha": 0.0}, "alpha is 0.0"),
            ({"alpha": math.nan}, "alpha is nan"),
            ({"sigma": -1.0}, "sigma is -1.0"),
            ({"delta": -0.1}, "delta is -0.1"),
            ({"anneal": 0.0}, "anneal is 0.0"),
            ({"anneal": 1.5}, "anneal is 1.5"),
        ],
    )
    def test_bad_numbers(self, wrong, named):
        with pytest.raises(InputError, match=named):
            malade(**wrong)

    def test_a_network_that_returns_no_images(self):
        with pytest.raises(ModelError, match=r"\(2, 1, 6, 6\) to \(2, 36\)"):
            malade(nn.Flatten())(images(2))
