"""Confidence limits: closed forms, exact sums over all outcomes, and coverage by simulation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holdfast.certify import (
    STN2019,
    ClopperPearson,
    Hoeffding,
    Sampling,
    SisonGlaz,
    TwoSample,
    TwoSampleRandomised,
    cohen_radius,
    renyi_radius,
)
from holdfast.certify.intervals.interval import least_draws
from holdfast.certify.sampling import uniform_draws
from holdfast.certify.smoothing import certificate_stream
from holdfast.errors import InputError
from holdfast.statistics import lower_limit, proportion_interval, randomised_lower_limit

INTERVALS = [ClopperPearson, TwoSample, TwoSampleRandomised, Hoeffding, SisonGlaz, STN2019]
every_interval = pytest.mark.parametrize("interval", INTERVALS)


class TestClopperPearson:
    def test_the_ceiling_of_a_hundred_votes(self):
        """100 of 100, K = 10, 95 %: p1 >= 0.9484, so no radius beyond 0.923 at sigma 0.7."""
        counts = np.zeros((1, 10), dtype=np.int64)
        counts[0, 3] = 100
        top, p1, p2 = ClopperPearson(0.95)(Sampling(counts))
        assert top[0] == 3
        assert p1[0] == pytest.approx((0.05 / 10) ** 0.01)
        assert p1[0] == pytest.approx(0.9484, abs=5e-5)
        assert p2[0] == pytest.approx(1 - p1[0])
        assert renyi_radius(float(p1[0]), float(p2[0]), 0.7) == pytest.approx(0.923, abs=5e-4)

    @pytest.mark.parametrize("confidence", [0.8, 0.95])
    @pytest.mark.parametrize("n", [5, 20, 40])
    def test_wrong_certificates_are_as_rare_as_promised(self, n, confidence):
        """Exactly, by summing the multinomial over all outcomes, for many laws of three classes.

        A certificate is wrong if it is issued though p1 is no lower limit of the leading class's
        probability, or p2 no upper limit of the others'.
        """
        outcomes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
        top, p1, p2 = ClopperPearson(confidence)(Sampling(outcomes))
        issued = p1 > p2
        grid = [k / 12 for k in range(13)]
        laws = [(a, b, 1 - a - b) for a, b in itertools.product(grid, grid) if a + b <= 1 + 1e-12]
        for law in laws:
            truth = np.clip(np.array(law), 0, 1)
            chances = stats.multinomial.pmf(outcomes, n, truth / truth.sum())
            others = np.array([np.delete(truth, k).max() for k in range(3)])
            wrong = issued & ((p1 > truth[top] + 1e-12) | (p2 < others[top] - 1e-12))
            assert chances[wrong].sum() <= 1 - confidence

    def test_a_class_below_one_half_is_corrected_for_all_limits(self):
        """A third of the error each, and a fifteenth, (1 - 2/K) / (K + 2), where p1 <= 1/2."""
        for counts, share in (([430, 290, 280], 15), ([600, 200, 200], 3)):
            _, p1, p2 = ClopperPearson(0.95)(Sampling(np.array([counts])))
            error = 0.05 / share
            low = stats.binomtest(counts[0], 1000, alternative="greater").proportion_ci(1 - error)
            high = stats.binomtest(counts[1], 1000, alternative="less").proportion_ci(1 - error)
            assert (p1[0], p2[0]) == pytest.approx((low.low, min(high.high, 1 - low.low)))


class TestTwoSample:
    def test_the_limit_is_the_binomial_one_at_the_whole_error(self):
        sampling = Sampling(np.array([[80, 20]]), choice=np.array([[3, 7]]))
        top, p1, p2 = TwoSample(0.99)(sampling)
        expected = stats.binomtest(20, 100, alternative="greater").proportion_ci(0.99)
        assert (top[0], p1[0], p2[0]) == pytest.approx((1, expected.low, 1 - expected.low))

    def test_it_needs_draws_that_choose(self):
        with pytest.raises(InputError, match="selection_votes"):
            TwoSample(0.9)(Sampling(np.array([[80, 20]])))


class TestTwoSampleRandomised:
    @pytest.mark.parametrize("error", [0.05, 0.001])
    @pytest.mark.parametrize("n", [1, 7, 100])
    def test_it_is_wrong_exactly_as_often_as_it_says(self, n, error):
        """By the sum over all outcomes, with the draw on a grid that is as fine as a run's."""
        votes, steps = np.arange(n + 1), 4000
        uniform = np.arange(1, steps + 1) / steps
        limits = np.stack(
            [
                randomised_lower_limit(np.full(steps, k), np.full(steps, n), error, uniform)
                for k in votes
            ]
        )
        for p in (1e-4, 0.02, 0.3, 0.5, 0.77, 0.99, 0.9999):
            wrong = stats.binom.pmf(votes, n, p) @ (limits > p).mean(axis=1)
            assert error - 1 / steps <= wrong <= error + 1e-9

    def test_the_last_vote_is_worth_more_or_less(self):
        """From Clopper and Pearson's limit to that of a vote more, falling with the draw."""
        k, n, uniform = np.arange(100), np.full(100, 100), np.linspace(0, 1, 9)[1:]
        limits = [randomised_lower_limit(k, n, 0.01, np.full(100, w)) for w in uniform]
        assert (np.diff(limits, axis=0) <= 0).all()
        assert limits[-1] == pytest.approx(lower_limit(k, n, 0.01))
        assert (limits[0] > lower_limit(k, n, 0.01))[1:].all()
        assert (limits[0] <= lower_limit(k + 1, n, 0.01) + 1e-12).all()

    def test_equal_votes_have_a_closed_form(self):
        uniform = np.array([1.0, 0.5, 0.2])
        sampling = Sampling.unanimous(100, 3)
        for w in uniform:
            drawn = replace(sampling, uniform=np.array([w]))
            _, (p1,), (p2,) = TwoSampleRandomised(0.9)(drawn)
            assert (p1, p2) == pytest.approx(((0.1 / w) ** 0.01, 1 - (0.1 / w) ** 0.01))
        _, p1, p2 = TwoSampleRandomised(0.9)(replace(sampling, uniform=np.array([0.05])))
        assert 0.999999 < p1[0] < 1  # whose radius is finite
        assert 0 < cohen_radius(p1, p2, 1.0)[0] < 9

    def test_draws_are_of_the_image_and_the_seed(self):
        rng = certificate_stream(3, torch.arange(2000))
        drawn = uniform_draws(rng)
        assert (drawn[[7, 40]] == uniform_draws(rng.take(torch.tensor([7, 40])))).all()
        assert (drawn > 0).all()
        assert (drawn <= 1).all()
        assert stats.kstest(drawn, "uniform").pvalue > 1e-3
        assert (drawn != uniform_draws(certificate_stream(4, torch.arange(2000)))).mean() > 0.99

    def test_it_needs_the_draw(self):
        with pytest.raises(InputError, match="one uniform draw"):
            TwoSampleRandomised(0.9)(Sampling(np.array([[80, 20]]), choice=np.array([[9, 1]])))


class TestHoeffding:
    def test_limits_are_probabilities_however_few_the_votes(self):
        counts = np.array([[1, 0, 1]])
        _, p1, p2 = Hoeffding(0.999)(Sampling(counts, scores=counts / 2))
        assert (p1[0], p2[0]) == (0, 1)

    def test_the_closed_form(self):
        sampling = Sampling(np.array([[700, 300, 0]]), scores=np.array([[0.6, 0.3, 0.1]]))
        width = math.sqrt(math.log(5 / 0.05) / 2000)
        top, p1, p2 = Hoeffding(0.95)(sampling)
        assert (top[0], p1[0], p2[0]) == pytest.approx((0, 0.6 - width, 0.3 + width))

    def test_it_needs_scores(self):
        with pytest.raises(InputError, match="scores"):
            Hoeffding(0.9)(Sampling(np.array([[80, 20]])))

    @pytest.mark.parametrize("law", [(8.0, 1.0, 1.0), (0.3, 0.3, 0.2), (5.0, 4.9, 0.1)])
    def test_wrong_limits_are_as_rare_as_promised(self, law):
        """On softmax scores that are Dirichlet, whose means are known."""
        rng = np.random.default_rng(0)
        n, repeats = 60, 4000
        scores = rng.dirichlet(law, size=(repeats, n)).mean(axis=1)
        counts = np.full((repeats, 3), n // 3)
        top, p1, p2 = Hoeffding(0.8)(Sampling(counts, scores=scores))
        truth = np.array(law) / sum(law)
        others = np.array([np.delete(truth, k).max() for k in range(3)])
        wrong = (p1 > p2) & ((p1 > truth[top]) | (p2 < others[top]))
        assert wrong.mean() <= 0.2


class TestSisonGlaz:
    @pytest.mark.parametrize(
        ("counts", "p1", "p2"),
        [
            # The papers' examples, as R's MultinomialCI computes them.
            ([56, 72, 73, 59, 62, 87, 58], 0.14561028, 0.2007386),
            ([5] * 50, 0.0, 0.05304026),
        ],
    )
    def test_the_papers_examples(self, counts, p1, p2):
        """Up to the papers' Edgeworth expansion, which is good to a tenth of a vote there."""
        limits = SisonGlaz(0.95)(Sampling(np.array([counts])))
        assert limits.p1[0] == pytest.approx(p1, abs=1e-8)
        assert limits.p2[0] == pytest.approx(p2, abs=0.1 / sum(counts))

    def test_the_probability_within_is_that_of_the_multinomial(self):
        from holdfast.certify.intervals.sison_glaz import _within

        counts, n = (5, 3, 2), 10
        for c in (0, 1, 2, 10):
            total = sum(
                stats.multinomial.pmf((a, b, n - a - b), n, np.array(counts) / n)
                for a in range(n + 1)
                for b in range(n + 1 - a)
                if max(abs(a - 5), abs(b - 3), abs(n - a - b - 2)) <= c
            )
            assert _within(counts, c) == pytest.approx(total)

    def test_it_breaks_down_where_certificates_live(self):
        """A true p1 of 0.98 gives 100 votes of 100 with probability 0.13, and a false limit."""
        counts = np.zeros((1, 10), dtype=np.int64)
        counts[0, 0] = 100
        _, p1, p2 = SisonGlaz(0.95)(Sampling(counts))
        assert p1[0] > 0.98
        assert p1[0] + p2[0] <= 1
        assert 0.98**100 > 0.13
        assert not SisonGlaz.guaranteed
        honest = ClopperPearson(0.95)(Sampling(counts))
        assert cohen_radius(p1[0], p2[0], 0.7) > 1.25 * cohen_radius(
            honest.p1[0], honest.p2[0], 0.7
        )

    def test_it_is_fast_where_many_votes_are(self):
        counts = np.array([[60_000, 20_000, 10_000, 5_000, 5_000], [99_990, 10, 0, 0, 0]])
        _, p1, _ = SisonGlaz(0.999)(Sampling(counts))
        assert (p1 > 0.59).all()


class TestSTN2019:
    def test_the_largest_radius_of_a_hundred_votes(self):
        """1.82 as printed by p1 = 1, 1.803 with p1 + p2 <= 1; at a true 95 % at most 1.185."""
        drawn = Sampling.unanimous(100, 10)
        limits = {made: made(0.95)(drawn) for made in (STN2019, SisonGlaz, ClopperPearson)}
        radius = {
            made: renyi_radius(float(p1[0]), float(p2[0]), 0.7)
            for made, (_, p1, p2) in limits.items()
        }
        expected = {STN2019: 1.803, SisonGlaz: 1.185, ClopperPearson: 0.923}
        assert radius == pytest.approx(expected, abs=5e-4)
        p2, order = float(limits[STN2019].p2[0]), 1 + np.exp(np.linspace(-8, 4, 5000))
        mean = ((1 + p2 ** (1 - order)) / 2) ** (1 / (1 - order))
        uncut = 0.7 * np.sqrt((-2 / order * np.log(2 * mean - p2)).max())
        assert uncut == pytest.approx(1.82, abs=5e-3)

    def test_it_is_what_sison_and_glaz_say_at_the_other_confidence(self):
        drawn = Sampling(np.array([[90, 7, 3], [40, 35, 25]]))
        for one, other in zip(STN2019(0.95)(drawn), SisonGlaz(0.05)(drawn), strict=True):
            assert one == pytest.approx(other)
        assert not STN2019.guaranteed


@every_interval
class TestEveryInterval:
    @given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(lambda c: sum(c) > 0))
    def test_limits_are_in_order(self, interval, counts):
        votes = np.array([counts])
        top, p1, p2 = interval(0.9)(Sampling(votes, votes / votes.sum(), votes, np.ones(1)))
        assert top[0] == np.argmax(counts)
        assert 0 <= p1[0] <= max(counts) / sum(counts)
        assert p2[0] <= 1 - p1[0] + 1e-12
        assert p2[0] >= min(sorted(counts)[-2] / sum(counts), 1 - p1[0])

    @pytest.mark.parametrize("confidence", [0, 1, -1, 2, math.nan])
    def test_confidence_lies_between(self, interval, confidence):
        with pytest.raises(InputError, match="confidence"):
            interval(confidence)

    @pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
    def test_the_least_number_of_draws(self, interval, confidence):
        limits = interval(confidence)
        least = least_draws(limits, 10)
        for n, enough in ((least, True), (least - 1, False)):
            if n:
                _, p1, p2 = limits(Sampling.unanimous(n, 10))
                assert (p1[0] > p2[0]) == enough


class TestShares:
    def test_coverage_of_an_accuracy_by_simulation(self):
        rng = np.random.default_rng(0)
        for truth in (0.02, 0.5, 0.9):
            low, high = proportion_interval(rng.binomial(80, truth, size=3000), 80, 0.9)
            assert np.mean((low <= truth) & (truth <= high)) > 0.9 - 0.02

    def test_accuracy_interval_equals_scipy(self):
        for k, n in ((0, 7), (3, 7), (7, 7), (450, 500)):
            expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
            low, high = proportion_interval(k, n)
            assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))
