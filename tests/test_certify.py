import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from holdfast import goals
from holdfast.attacks import PGD
from holdfast.certify import ABSTAIN, ClopperPearson, certify, renyi_radius
from holdfast.certify.certify import BOUNDS, certificates, round_down
from holdfast.certify.intervals import share_interval
from holdfast.errors import InputError, InputTypeError, ModelError, UnknownNameError
from holdfast.threat import L2
from tests.toys import Wrapped, images, small_network, two_class

probabilities = st.floats(0, 1)


def reference(p1, p2):
    """The supremum by mpmath with 40 digits: a fine grid over log(α - 1), then golden section."""
    with mpmath.workdps(40):
        p1, p2 = mpmath.mpf(p1), mpmath.mpf(p2)

        def squared(t):
            alpha = 1 + mpmath.e**t
            mean = ((p1 ** (1 - alpha) + p2 ** (1 - alpha)) / 2) ** (1 / (1 - alpha))
            return -(2 / alpha) * mpmath.log(1 - p1 - p2 + 2 * mean)

        grid = [mpmath.mpf(k) / 2 for k in range(-60, 20)]
        values = [squared(t) for t in grid]
        best = min(max(values.index(max(values)), 1), len(grid) - 2)
        low, high = grid[best - 1], grid[best + 1]
        golden = (mpmath.sqrt(5) - 1) / 2
        for _ in range(70):
            left, right = high - golden * (high - low), low + golden * (high - low)
            low, high = (left, high) if squared(left) < squared(right) else (low, right)
        return float(mpmath.sqrt(squared((low + high) / 2)))


class TestRenyi:
    @pytest.mark.parametrize(
        ("p1", "p2", "radius"),
        [(0.9, 0.05, 1.249374), (0.6, 0.4, 0.202216), (0.99, 0.01, 1.908009)],
    )
    def test_anchors(self, p1, p2, radius):
        assert renyi_radius(p1, p2, 1.0) == pytest.approx(radius, abs=5e-7)

    @pytest.mark.parametrize(
        ("p1", "p2"),
        [
            (0.5001, 0.4999),
            (0.3, 0.29),
            (0.9484, 0.0516),
            (0.7, 1e-12),
            (0.5, 1e-300),
            (1 - 1e-9, 1e-10),
            (0.2, 1e-4),
            (0.55, 0.1),
        ],
    )
    def test_equals_mpmath_to_nine_digits(self, p1, p2):
        assert renyi_radius(p1, p2, 1.0) == pytest.approx(reference(p1, p2), rel=1e-9)

    def test_limit_of_a_vanishing_second_class(self):
        limit = math.sqrt(-2 * math.log(1 - 0.8))
        assert renyi_radius(0.8, 0.0, 1.0) == pytest.approx(limit, rel=1e-12)
        assert renyi_radius(0.8, 5e-324, 1.0) <= limit
        assert renyi_radius(1.0, 0.0, 1.0) == math.inf

    @given(probabilities, probabilities)
    def test_no_radius_unless_the_limits_are_apart(self, p1, p2):
        radius = renyi_radius(p1, p2, 1.0)
        assert (radius > 0) == (p1 > min(p2, 1 - p1)) or radius < 1e-7

    @given(probabilities, probabilities, st.floats(0.01, 10))
    def test_never_above_cohen(self, p1, p2, sigma):
        """Cohen et al.'s σ/2 (Φ⁻¹(p1) - Φ⁻¹(p2)) is tight, so anything above it is unsound."""
        p2 = min(p2, 1 - p1)
        if p1 > p2:
            tight = sigma / 2 * (stats.norm.ppf(p1) - stats.norm.ppf(p2))
            assert renyi_radius(p1, p2, sigma) <= tight * (1 + 1e-9) + 1e-9

    @given(probabilities, probabilities, probabilities)
    def test_monotone(self, a, b, p2):
        low, high = sorted((a, b))
        p2 = min(p2, 1 - high)
        assert renyi_radius(low, p2, 1.0) <= renyi_radius(high, p2, 1.0) * (1 + 1e-9)

    @given(probabilities, probabilities, probabilities)
    def test_antitone_in_the_second_class(self, p1, a, b):
        low, high = sorted((min(a, 1 - p1), min(b, 1 - p1)))
        assert renyi_radius(p1, high, 1.0) <= renyi_radius(p1, low, 1.0) * (1 + 1e-9)

    def test_scales_with_sigma(self):
        assert renyi_radius(0.9, 0.05, 0.7) == pytest.approx(0.7 * renyi_radius(0.9, 0.05, 1.0))

    def test_an_upper_limit_above_what_is_left_is_cut(self):
        assert renyi_radius(0.9, 0.5, 1.0) == pytest.approx(renyi_radius(0.9, 0.1, 1.0))
        assert renyi_radius(0.3, 0.45, 1.0) == 0

    def test_the_kind_of_number_is_kept(self):
        assert isinstance(renyi_radius(0.9, 0.05, 1.0), float)
        array = renyi_radius(np.array([0.9, 0.6]), np.array([0.05, 0.4]), 1.0)
        assert isinstance(array, np.ndarray)
        tensor = renyi_radius(torch.tensor([0.9, 0.6]), torch.tensor([0.05, 0.4]), 1.0)
        assert tensor.dtype == torch.float64
        assert np.allclose(tensor.numpy(), array, atol=1e-6)
        assert renyi_radius(np.array([0.9, 0.6]), 0.05, 1.0).shape == (2,)
        assert renyi_radius(np.zeros((0,)), np.zeros((0,)), 1.0).shape == (0,)

    @pytest.mark.parametrize(
        ("p1", "p2", "sigma"), [(1.1, 0, 1), (0.5, -0.1, 1), (math.nan, 0, 1), (0.9, 0.1, 0)]
    )
    def test_bad_input(self, p1, p2, sigma):
        with pytest.raises(InputError):
            renyi_radius(p1, p2, sigma)


class TestIntervals:
    def test_the_ceiling_of_a_hundred_votes(self):
        """100 of 100, K = 10, 95 %: p1 >= 0.9484, so no radius beyond 0.923 at sigma 0.7."""
        counts = np.zeros((1, 10), dtype=np.int64)
        counts[0, 3] = 100
        top, p1, p2 = ClopperPearson(0.95)(counts)
        assert top[0] == 3
        assert p1[0] == pytest.approx((0.05 / 10) ** 0.01)
        assert p1[0] == pytest.approx(0.9484, abs=5e-5)
        assert p2[0] == pytest.approx(1 - p1[0])
        assert renyi_radius(float(p1[0]), float(p2[0]), 0.7) == pytest.approx(0.923, abs=5e-4)

    @given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(lambda c: sum(c) > 0))
    def test_limits_are_in_order(self, counts):
        _, p1, p2 = ClopperPearson(0.9)(np.array([counts]))
        ordered = sorted(counts, reverse=True)
        assert 0 <= p1[0] <= ordered[0] / sum(counts)
        assert p2[0] <= 1 - p1[0]
        assert p2[0] >= min(ordered[1] / sum(counts), 1 - p1[0])

    @pytest.mark.parametrize("confidence", [0.8, 0.95])
    @pytest.mark.parametrize("n", [5, 20, 40])
    def test_wrong_certificates_are_as_rare_as_promised(self, n, confidence):
        """Exactly, by summing the multinomial over all outcomes, for many laws of three classes.

        A certificate is wrong if it is issued though p1 is no lower limit of the leading class's
        probability, or p2 no upper limit of the others'.
        """
        outcomes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
        top, p1, p2 = ClopperPearson(confidence)(outcomes)
        issued = p1 > p2
        grid = [k / 12 for k in range(13)]
        laws = [(a, b, 1 - a - b) for a, b in itertools.product(grid, grid) if a + b <= 1 + 1e-12]
        for law in laws:
            truth = np.clip(np.array(law), 0, 1)
            chances = stats.multinomial.pmf(outcomes, n, truth / truth.sum())
            others = np.array([np.delete(truth, k).max() for k in range(3)])
            wrong = issued & ((p1 > truth[top] + 1e-12) | (p2 < others[top] - 1e-12))
            assert chances[wrong].sum() <= 1 - confidence

    def test_coverage_of_an_accuracy_by_simulation(self):
        rng = np.random.default_rng(0)
        for truth in (0.02, 0.5, 0.9):
            low, high = share_interval(rng.binomial(80, truth, size=3000), 80, 0.9)
            assert np.mean((low <= truth) & (truth <= high)) > 0.9 - 0.02

    def test_accuracy_interval_equals_scipy(self):
        for k, n in ((0, 7), (3, 7), (7, 7), (450, 500)):
            expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
            low, high = share_interval(k, n)
            assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))

    @pytest.mark.parametrize("confidence", [0, 1, -1, 2, math.nan])
    def test_confidence_lies_between(self, confidence):
        with pytest.raises(InputError, match="confidence"):
            ClopperPearson(confidence)


class TestCertify:
    def test_a_linear_classifier_is_certified_within_its_true_margin(self):
        """The noisy vote of a half-space is the half-space itself, so the truth is known.

        Its true radius is the distance to the plane; a certificate may be wrong with probability
        5 % for each image, and none is expected beyond the margin among 60 but by that chance.
        """
        normal = torch.randn(16, generator=torch.Generator().manual_seed(0))
        x = images(60, (1, 4, 4))
        margin = (x.flatten(1) @ normal - float(normal.sum()) / 2) / normal.norm()
        model = two_class(normal, float(normal.sum()) / 2)
        found = certify(model, x, sigma=0.25, n=2000, confidence=0.95)
        side = (margin > 0).long().numpy()
        issued = ~found.abstained
        assert issued.mean() > 0.7
        assert (found.prediction[issued] == side[issued]).mean() >= 0.95
        beyond = found.radius[issued] > margin.abs().numpy()[issued]
        assert beyond.sum() <= stats.binom.ppf(0.9999, 60, 0.05)
        assert (found.radius[issued] > 0).mean() > 0.9

    def test_no_attack_breaks_a_certificate(self):
        """The strongest attack within the radius, on the certified classifier itself."""
        torch.manual_seed(0)
        model, sigma = small_network(), 0.2
        x = images(40)
        found = certify(model, x, sigma=sigma, n=1000)
        certain = torch.nonzero(torch.tensor(found.radius > 0.02))[:, 0]
        assert len(certain) > 15
        for i in certain.tolist():
            threat = L2(float(found.radius[i]))
            label = torch.tensor([int(found.prediction[i])])
            x_adv = PGD(threat, steps=15, goal=goals.margin, early_stop=False)(
                model, x[i : i + 1], label
            )
            # Any class that the vote prefers there must not be preferred beyond chance.
            counts = certify(model, x_adv, sigma=sigma, n=1000, seed=7).counts[0]
            best = counts.argmax()
            if best != label:
                chance = stats.binom.sf(counts[best] - 1, counts[best] + counts[label], 0.5)
                assert chance > 1e-4

    def test_votes_do_not_depend_on_batches(self):
        model, x = small_network(), images(5)
        whole = certify(model, x, sigma=0.5, n=37, seed=3)
        assert (whole.counts.sum(axis=1) == 37).all()
        for size in (1, 8, 1000):
            same = certify(model, x, sigma=0.5, n=37, seed=3, batch_size=size)
            assert (same.counts == whole.counts).all()
        part = certify(model, x[2:4], sigma=0.5, n=37, seed=3, index=torch.tensor([2, 3]))
        assert (part.counts == whole.counts[2:4]).all()
        other = certify(model, x, sigma=0.5, n=37, seed=4)
        assert (other.counts != whole.counts).any()

    def test_the_noise_is_gaussian_and_not_clipped(self):
        seen = []

        def watch(x):
            seen.append(x)
            return x.flatten(1)[:, :2]

        certify(Wrapped(watch), torch.full((2, 1, 2, 8), 0.9), sigma=0.5, n=400)
        noise = (torch.cat(seen) - 0.9).flatten().double().numpy() / 0.5
        assert stats.kstest(noise, "norm").pvalue > 1e-3

    def test_abstention_has_no_radius(self):
        counts = np.array([[50, 50], [51, 49], [99, 1]])
        found = certificates(counts, ClopperPearson(0.95), renyi_radius, 1.0)
        assert list(found.abstained) == [True, True, False]
        assert list(found.prediction) == [ABSTAIN, ABSTAIN, 0]
        assert (found.radius[:2] == 0).all()
        assert found.radius[2] > 0

    def test_one_vote_classifies_but_certifies_nothing(self):
        found = certify(small_network(), images(4), sigma=0.1, n=1)
        assert found.abstained.all()
        assert (found.counts.sum(axis=1) == 1).all()

    def test_radii_are_rounded_down(self):
        assert round_down(np.array([0.69961299999])) == pytest.approx(0.699612, abs=1e-12)
        value = renyi_radius(0.9, 0.05, 1.0)
        assert 0 <= value - round_down(np.array([value]))[0] < 1e-6

    def test_a_bound_may_be_a_function(self):
        x = images(3)
        named = certify(small_network(), x, sigma=0.1)
        given_function = certify(small_network(), x, sigma=0.1, bound=BOUNDS["renyi"])
        assert (named.radius == given_function.radius).all()

    def test_the_model_is_left_as_it_was(self):
        model = nn.Sequential(small_network(), nn.Dropout(0.5)).train()
        state = torch.get_rng_state()
        with pytest.warns(UserWarning, match="training mode"):
            certify(model, images(2), sigma=0.1)
        assert model.training
        assert all(p.grad is None for p in model.parameters())
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"sigma": 0.0}, InputError, "sigma is 0"),
            ({"sigma": -1.0}, InputError, "sigma is -1"),
            ({"n": 0}, InputError, "n is 0"),
            ({"confidence": 1.0}, InputError, "confidence is 1"),
            ({"bound": "reny"}, UnknownNameError, "renyi"),
            ({"x": images(2) + 1}, InputError, "image 0"),
            ({"x": (images(2) * 255).long()}, InputTypeError, "int64"),
            ({"model": Wrapped(lambda x: x.flatten(1)[:, :3] / 0)}, ModelError, None),
            ({"model": Wrapped(lambda x: x)}, ModelError, "shape"),
        ],
    )
    def test_bad_input(self, change, error, words):
        arguments = {"model": small_network(), "x": images(2), "sigma": 0.1, **change}
        if words is None:
            arguments["model"] = Wrapped(lambda x: x.flatten(1)[:, :3] * torch.nan)
        with pytest.raises(error, match=words or "NaN"):
            certify(arguments.pop("model"), arguments.pop("x"), **arguments)
