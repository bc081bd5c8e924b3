import itertools
import math

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
