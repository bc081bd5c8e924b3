"""Sampling that stops by itself: the guarantee at every stopping time, and that it stops."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holdfast.certify import (
    AtLeast,
    ClopperPearson,
    Sampling,
    Sequential,
    Within,
    certify_images,
    cohen_radius,
)
from holdfast.certify.questions import answered, log_upper_martingale, upper_sequence
from holdfast.certify.sequential import log_martingale, looks, lower_sequence
from holdfast.errors import InputError
from tests.toys import images, small_network

ERROR = 0.05
AT_END = 0.25  # of the error, for the limit at the last draw


def paths(p, n, repeats, seed=0):
    """Votes for the chosen class after each of n draws, (repeats, n)."""
    return np.random.default_rng(seed).binomial(1, p, size=(repeats, n)).cumsum(axis=1)


def until(settled, p, most, repeats):
    """Votes and draws of as many images of one probability, each until it is settled."""
    rng = np.random.default_rng(1)
    votes, n = np.zeros(repeats, dtype=np.int64), np.zeros(repeats, dtype=np.int64)
    going = np.ones(repeats, dtype=bool)
    for first, last in looks(most):
        votes[going] += rng.binomial(last - first, p, size=going.sum())
        n[going] = last
        going[going] = ~settled(_two(votes[going], n[going]))
        if not going.any():
            break
    return votes, n


class TestGuarantee:
    @pytest.mark.parametrize("p", [0.3, 0.5, 0.8, 0.97, 0.999])
    def test_adversarial_stopping_gains_nothing(self, p):
        """Whoever stops at the worst moment of 1,000 is wrong no more often than promised."""
        votes = paths(p, 1000, 2000)
        n = np.arange(1, 1001)
        ever_out = (log_martingale(votes, np.array(n), np.array(p)) >= np.log(1 / ERROR)).any(
            axis=1
        )
        assert ever_out.mean() <= ERROR

    def test_a_fixed_interval_would_fail_there(self):
        """The same adversary beats Clopper-Pearson, or there would be no need for a sequence."""
        votes, n = paths(0.8, 1000, 200), np.arange(1, 1001)
        lower = stats.beta.ppf(ERROR, votes, n - votes + 1)
        assert (np.nan_to_num(lower) > 0.8).any(axis=1).mean() > 2 * ERROR

    @pytest.mark.parametrize("p", [0.2, 0.9])
    def test_the_martingale_keeps_its_mean(self, p):
        """E M_n(p) = 1 for every n, exactly, by summing over all outcomes."""
        for n in (1, 5, 40):
            votes = np.arange(n + 1)
            mean = stats.binom.pmf(votes, n, p) @ np.exp(
                log_martingale(votes, np.array(n), np.array(p))
            )
            assert mean == pytest.approx(1, rel=1e-9)

    @pytest.mark.parametrize("p", [0.2, 0.9])
    def test_against_a_weaker_class_it_falls(self, p):
        """The claim is "q or less": with p below q the mean is below 1, and falls with n."""
        means = [
            stats.binom.pmf(np.arange(n + 1), n, p)
            @ np.exp(log_martingale(np.arange(n + 1), np.array(n), np.array(p + 0.05)))
            for n in (1, 5, 40)
        ]
        assert 1 > means[0] > means[1] > means[2]

    @settings(max_examples=40)
    @given(n=st.integers(1, 10_000), fraction=st.floats(0, 1), q=st.floats(1e-6, 1 - 1e-6))
    def test_the_limit_is_where_the_martingale_crosses(self, n, fraction, q):
        votes = np.array([round(fraction * n)])
        (lower,) = lower_sequence(votes, np.array([n]), ERROR)
        assert 0 <= lower <= votes[0] / n
        refuted = log_martingale(votes, np.array([n]), np.array([q]))[0] >= np.log(1 / ERROR)
        if abs(q - lower) > 1e-9:
            assert refuted == (q < lower)

    def test_it_costs_little_over_a_fixed_number(self):
        """When all votes agree, a fifth more draws prove the same limit."""
        for n in (100, 1000, 100_000):
            (lower,) = lower_sequence(np.array([n]), np.array([n]), 0.001)
            assert np.log(0.001) / np.log(lower) > n / 1.2


class TestUpper:
    """The upper limit of p, by which `Within` knows what is still possible."""

    @pytest.mark.parametrize(("p", "aim"), [(0.5, 0.95), (0.6, 0.6), (0.9, 0.95), (0.99, 0.6)])
    def test_adversarial_stopping_gains_nothing(self, p, aim):
        votes, n = paths(p, 400, 1000), np.arange(1, 401)
        z = np.full(votes.shape, stats.norm.ppf(p))
        martingale = log_upper_martingale(votes, np.broadcast_to(n, votes.shape), z, aim)
        assert (martingale >= np.log(1 / ERROR)).any(axis=1).mean() <= ERROR

    @pytest.mark.parametrize("p", [0.5, 0.8, 0.999])
    def test_the_martingale_keeps_its_mean(self, p):
        for n in (1, 5, 40):
            votes, z = np.arange(n + 1), np.full(n + 1, stats.norm.ppf(p))
            martingale = log_upper_martingale(votes, np.full(n + 1, n), z, 0.9)
            assert stats.binom.pmf(votes, n, p) @ np.exp(martingale) == pytest.approx(1, rel=1e-9)

    @settings(max_examples=40)
    @given(
        n=st.integers(1, 100_000), fraction=st.floats(0, 1), z=st.floats(0, 6), aim=st.floats(0, 1)
    )
    def test_the_limit_is_where_the_martingale_crosses(self, n, fraction, z, aim):
        """All above is ruled out, nothing between it and the votes' fraction is."""
        votes, n = np.array([round(fraction * n)]), np.array([n])
        (upper,) = upper_sequence(votes, n, ERROR, aim)
        assert max(0.5, votes[0] / n[0]) <= upper <= 1
        q = stats.norm.cdf(z)
        out = log_upper_martingale(votes, n, np.array([z]), aim)[0] >= np.log(1 / ERROR)
        if q >= votes[0] / n[0] and abs(q - upper) > 1e-9:
            assert out == (q > upper)


class TestTheEnd:
    def test_there_the_limit_is_nearly_that_of_a_fixed_number(self):
        votes, n = np.array([950]), 1000
        _, (p1,), _ = Sequential(1 - ERROR, most=n)(_two(votes, np.array([n])))
        assert p1 == pytest.approx(stats.beta.ppf(AT_END * ERROR, 950, 51))
        (before,) = lower_sequence(votes, np.array([n]), (1 - AT_END) * ERROR)
        assert before < p1
        (going,) = Sequential(1 - ERROR, most=n + 1).lower(votes, np.array([n]))
        assert going == before  # the two share the error, and need no more than all of it

    def test_an_adversary_gains_nothing_from_it(self):
        limits, most = Sequential(1 - ERROR, most=64), 64
        votes = paths(0.8, most, 3000)
        ever = np.zeros(len(votes), dtype=bool)
        for n in range(1, most + 1):
            _, p1, _ = limits(_two(votes[:, n - 1], np.full(len(votes), n)))
            ever |= p1 > 0.8
        assert ever.mean() <= ERROR

    def test_hope_is_what_the_end_can_bring(self):
        limits = Sequential(1 - ERROR, most=100)
        votes, n = np.array([20, 80]), np.array([20, 100])
        lower, hoped, best = limits.lower(votes, n), limits.hope(votes, n), limits.best(votes, n)
        (all_agree,) = limits.lower(np.array([100]), np.array([100]))
        assert lower[0] < hoped[0] == pytest.approx(best[0]) == pytest.approx(all_agree)
        assert lower[1] == hoped[1] == best[1]
        for of_the_end in (Sequential(0.9).hope, Sequential(0.9).best):
            with pytest.raises(InputError, match="most"):
                of_the_end(votes, n)

    @pytest.mark.parametrize(("chance", "pursued"), [(0.01, False), (0.1, True)])
    def test_a_chance_of_a_certificate_has_its_price(self, chance, pursued):
        """Drawing to the end is worth 2 % of a certificate, and no less."""
        most, n = 100_000, 50_000
        limits = Sequential(1 - ERROR, most=most)
        votes = int(0.9 * n)
        width = np.sqrt(0.9 * 0.1 * (1 / n + 1 / (most - n)))
        fraction = 0.9 + stats.norm.isf(chance) * width  # of what is left, with that chance
        end = votes + round(fraction * (most - n))
        aim = limits.lower(np.array([end]), np.array([most]))[0]
        (hoped,) = limits.hope(np.array([votes]), np.array([n]))
        assert (hoped >= aim) == pursued


class TestQuestions:
    def test_at_least(self):
        lower, upper = np.array([0.4, 0.6, 0.5, 0.2]), np.array([0.6, 0.9, 0.5, 0.49])
        assert AtLeast((0.5, 1.0))(lower, upper).tolist() == [False, True, True, True]

    def test_within(self):
        lower, upper = np.array([0.0, 0.8, 0.95]), np.array([0.0, 1.0, 1.0])
        assert Within(0.9)(lower, upper).tolist() == [True, False, True]

    @pytest.mark.parametrize("radii", [(), (0.0,), (-1.0,), (np.inf,)])
    def test_radii_are_positive(self, radii):
        with pytest.raises(InputError, match="radii"):
            AtLeast(radii)

    @pytest.mark.parametrize("factor", [0.0, 1.0, 2.0])
    def test_a_factor_is_a_fraction(self, factor):
        with pytest.raises(InputError, match="factor"):
            Within(factor)

    @pytest.mark.parametrize("question", [AtLeast((0.8, 1.8)), Within(0.8)])
    @pytest.mark.parametrize("p", [0.3, 0.7, 0.9, 0.9999])
    def test_the_answer_is_right_and_early(self, question, p):
        """Where it says that it knows, it does, but for the fraction allowed; it saves draws."""
        sigma, most, repeats = 1.0, 100_000, 60
        limits = Sequential(1 - ERROR, most=most)
        settled = answered([question], limits, [cohen_radius], sigma)
        votes, n = until(settled, p, most, repeats)
        truth = cohen_radius(p, 1 - p, sigma)
        _, p1, p2 = limits(_two(votes, n))
        radius = cohen_radius(p1, p2, sigma)
        wrong = radius > truth
        assert wrong.mean() <= stats.binom.ppf(0.9999, repeats, ERROR) / repeats
        assert n.mean() < most / 3


class TestThePromise:
    """What `Within` says of an image whose votes end early, beside its certificate."""

    @pytest.mark.parametrize("between", [(0.0, np.inf), (0.4, 2.0)])
    @pytest.mark.parametrize("p", [0.4, 0.55, 0.7, 0.9, 0.99, 0.9999])
    def test_it_is_kept(self, p, between):
        """At least the factor of the true radius, or of that of equal votes to the end."""
        question, most, repeats = Within(0.8, between), 4000, 1000
        limits = Sequential(1 - ERROR, most=most)
        votes, n = until(answered([question], limits, [cohen_radius], 1.0), p, most, repeats)
        lower = limits.lower(votes, n)
        best = limits.best(votes, n)
        proven, true, end = (
            cohen_radius(q, 1 - q, 1.0) for q in (lower, np.full(repeats, p), best)
        )
        early = n < most
        short = early & ~question(proven, np.minimum(true, end))
        assert short.mean() <= ERROR
        assert (proven > true + 1e-9).mean() <= ERROR
        if p in (0.4, 0.9, 0.9999) or between[0]:
            assert early.mean() > 0.9  # it does stop

    def test_what_is_worth_drawing_for_would_not_keep_it(self):
        """The same images, judged by `Sequential.hope`, fall short far more often."""

        class Hoped(Within):
            def end(self, limits, votes, n):
                return limits.hope(votes, n)

        limits, p, most = Sequential(1 - ERROR, most=20_000), 0.9, 20_000
        settled = answered([Hoped(0.95)], limits, [cohen_radius], 1.0)
        votes, n = until(settled, p, most, 100)
        lower = limits.lower(votes, n)
        short = cohen_radius(lower, 1 - lower, 1.0) < 0.95 * cohen_radius(p, 1 - p, 1.0)
        assert (short & (n < most)).mean() > 2 * ERROR

    def test_a_class_that_is_not_the_most_likely_ends_early(self):
        """That its radius is 0 is an answer."""
        limits = Sequential(1 - ERROR, most=100_000)
        for p, at_most in ((0.0, 100), (0.3, 200), (0.45, 20_000)):
            settled = answered([Within(0.9)], limits, [cohen_radius], 1.0)
            _, n = until(settled, p, limits.most, 20)
            assert n.max() < at_most

    @pytest.mark.parametrize(
        "between", [(1.0, 0.5), (0.5, 0.5), (-0.1, 1.0), (1.0,), (np.nan, 1.0)]
    )
    def test_it_is_asked_between_two_radii(self, between):
        with pytest.raises(InputError, match="the smaller first"):
            Within(0.9, between)


class TestSampling:
    def test_the_draws_are_those_of_a_fixed_number(self):
        """Stopping leaves draws out and changes none."""
        model, x = small_network(), images(4)
        arguments = {"sigma": 0.2, "interval": Sequential, "confidence": 0.9, "bound": "cohen"}
        found = certify_images(model, x, votes=150, until=AtLeast((0.05, 0.1)), **arguments)
        drawn = found.sampling.n
        assert (drawn < 150).any()
        for i, n in enumerate(drawn):
            alone = certify_images(
                model,
                x[i : i + 1],
                votes=int(n),
                index=torch.tensor([i]),
                batch_size=7,
                **arguments,
            )
            assert (alone.counts[0] == found.counts[i]).all()
            assert np.allclose(alone.sampling.scores[0], found.sampling.scores[i])

    def test_looks_cover_all_draws_once(self):
        for n in (1, 16, 17, 1000):
            found = list(looks(n))
            assert found[0][0] == 0
            assert found[-1][1] == n
            assert all(a[1] == b[0] for a, b in pairwise(found))

    def test_only_a_sequence_may_stop_early(self):
        with pytest.raises(InputError, match="give the interval Sequential"):
            certify_images(
                small_network(),
                images(2),
                sigma=0.1,
                interval=ClopperPearson,
                until=Within(0.9),
            )


def _two(votes, n):
    return Sampling(np.stack([votes, n - votes], axis=1), None, np.tile([1, 0], (len(votes), 1)))
