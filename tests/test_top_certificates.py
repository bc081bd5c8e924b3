"""Certificates that a label is among the k first classes (Jia et al. 2020)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from holdfast.certify import (
    ABSTAIN,
    ClopperPearson,
    Hoeffding,
    Sampling,
    TwoSample,
    cohen_radius,
    top_certificates,
    top_radius,
)
from holdfast.certify.bounds.top import levelled
from holdfast.certify.top import check_top_draws
from holdfast.errors import InputError

CLASSES = 7
SEEDS = st.integers(0, 2**32 - 1)


def line(rng, pieces=30):
    """A classifier of the line: thresholds, and the class of each piece between them."""
    return np.sort(rng.normal(size=pieces)), rng.integers(0, CLASSES, pieces + 1)


def masses(cuts, classes, x):
    """(K,) the exact probability of each class under N(x, 1)."""
    ends = ndtr(np.concatenate([[-np.inf], cuts - x, [np.inf]]))
    return np.bincount(classes, np.diff(ends), CLASSES)


def k_largest(masses, label, k):
    return np.sort(np.delete(masses, label))[::-1][:k]


@given(SEEDS, st.integers(1, CLASSES - 1))
def test_no_step_within_the_radius_takes_the_label_out_of_the_first_k(seed, k):
    """The probabilities of a classifier of the line are known exactly, wherever one goes."""
    rng = np.random.default_rng(seed)
    cuts, classes = line(rng)
    here = masses(cuts, classes, 0.0)
    for label in range(CLASSES):
        p1, others = np.array([here[label]]), k_largest(here, label, k)[None]
        radius = top_radius(p1, others, 1.0)[0]
        if not radius:
            continue
        for x in min(radius, 8) * np.linspace(-1, 1, 41):
            there = masses(cuts, classes, x)
            assert (np.delete(there, label) > there[label] + 1e-12).sum() < k


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("p1", [0.2, 0.5, 0.9])
def test_no_larger_radius_is_true_where_the_others_are_alike(p1, k):
    """The label on the far left, and k others in turn on the far right: they overtake at R."""
    total = min(0.9 * (1 - p1), 0.6 * k * p1)
    radius = top_radius(np.array([p1]), np.full((1, k), total / k), 1.0)[0]

    def lead(x):
        label = ndtr(ndtri(p1) - x)
        tail = np.linspace(-ndtri(total), 9, 20_001)  # cells so small that each other has its share
        shares = [np.diff(ndtr(tail - x))[place::k].sum() for place in range(k)]
        return label - min(shares)

    assert lead(0.99 * radius) > 0 > lead(1.01 * radius)


@given(SEEDS)
def test_for_the_first_class_it_is_cohens(seed):
    rng = np.random.default_rng(seed)
    p1, p2 = rng.random(20), rng.random(20)
    assert (top_radius(p1, p2[:, None], 0.5) == cohen_radius(p1, p2, 0.5)).all()


@given(SEEDS, st.integers(2, 6))
def test_more_classes_and_lower_limits_never_make_it_smaller(seed, k):
    rng = np.random.default_rng(seed)
    p1 = rng.random(20)
    others = np.sort(rng.random((20, k)) ** 3, axis=1)[:, ::-1]
    radius = top_radius(p1, others, 1.0)
    slack = 1e-9
    assert (top_radius(p1, others[:, :-1], 1.0) <= radius + slack).all()
    assert (cohen_radius(p1, others[:, -1], 1.0) <= radius + slack).all()  # by the k-th alone
    assert (top_radius(p1, 0.9 * others, 1.0) >= radius - slack).all()
    assert (top_radius(0.9 * p1, others, 1.0) <= radius + slack).all()
    assert (top_radius(p1, others[:, ::-1], 1.0) == radius).all()
    assert top_radius(p1, others, 0.25) == pytest.approx(radius / 4)


@given(SEEDS, st.integers(2, 6))
def test_it_solves_the_equation_of_theorem_1(seed, k):
    """At R the label has what the t others have that are the least of a threat, for some t."""
    rng = np.random.default_rng(seed)
    p1 = rng.uniform(0.05, 0.95, 20)
    limits = levelled(p1, rng.random((20, k)))
    radius = top_radius(p1, limits, 1.0)
    sums, t = limits.cumsum(axis=1), np.arange(1, k + 1)
    others = (ndtr(ndtri(sums) + radius[:, None]) / t).min(axis=1)
    label = ndtr(ndtri(p1) - radius)
    some = radius > 0
    assert label[some] == pytest.approx(others[some], rel=1e-6)
    assert (label[~some] <= others[~some] + 1e-9).all()


@given(SEEDS, st.integers(1, 6))
def test_no_probabilities_below_the_limits_have_larger_least_sums(seed, k):
    rng = np.random.default_rng(seed)
    p1, others = rng.random(1), rng.random((1, k)) ** 2
    limits = levelled(p1, others)[0]
    assert (limits <= np.sort(others[0]) + 1e-15).all()
    assert limits.sum() <= 1 - p1[0] + 1e-12
    drawn = rng.random((500, k)) * others
    drawn *= np.minimum(1, (1 - p1) / drawn.sum(axis=1, keepdims=True))
    assert (np.sort(drawn, axis=1).cumsum(axis=1) <= limits.cumsum() + 1e-12).all()


def test_closed_forms():
    """One limit for all: the others share 1 - p1, and at t = k only the label's own counts."""
    p1, k = np.array([0.3, 0.6, 0.95]), 5
    radius = top_radius(p1, np.ones((3, k)), 1.0)
    share = (1 - p1) / k
    assert (radius >= (ndtri(p1) - ndtri(share)) / 2).all()
    # Φ(a - R) = Φ(R - a)/k gives Φ(R - a) = k / (k + 1).
    assert radius == pytest.approx(ndtri(p1) + ndtri(k / (k + 1)))
    assert top_radius(np.array([1 / 6, 0.17]), np.ones((2, k)), 1.0) == pytest.approx(
        [0, ndtri(0.17) - ndtri(1 / 6)], abs=1e-9
    )
    assert top_radius(np.array([1.0, 0.5]), np.array([[0.0, 0.0], [0.5, 0.0]]), 1.0).tolist() == [
        np.inf,
        np.inf,
    ]


@pytest.mark.parametrize(
    ("p1", "others", "sigma", "words"),
    [
        ([0.5], [[1.2]], 1.0, "must be probabilities"),
        ([np.nan], [[0.2, 0.1]], 1.0, "must be probabilities"),
        ([0.5], [[0.2, np.nan]], 1.0, "must be probabilities"),
        ([0.5], [[0.2]], 0.0, "sigma must be a positive number"),
        ([0.5], [[]], 1.0, r"must have \(N,\) and \(N, k\)"),
    ],
)
def test_bad_input(p1, others, sigma, words):
    with pytest.raises(InputError, match=words):
        top_radius(np.array(p1), np.array(others), sigma)


class TestFromVotes:
    #: Of classes in order; the label is the second, the third or, wrongly, the fourth.
    LAWS = (
        [0.3, 0.28, 0.22, 0.1, 0.06, 0.04],
        [0.2, 0.2, 0.2, 0.2, 0.1, 0.1],
        [0.5, 0.2, 0.2, 0.05, 0.05, 0.0],
    )

    @pytest.mark.parametrize("interval", [ClopperPearson, TwoSample])
    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("k", [2, 3])
    def test_wrong_certificates_are_as_rare_as_promised(self, interval, law, k):
        """A radius is wrong if it is above that of the true probabilities."""
        rng, law = np.random.default_rng(0), np.array(law)
        trials, confidence = 4000, 0.8
        counts = rng.multinomial(100, law, trials)
        for label in range(4):
            others = k_largest(law, label, k)
            true = top_radius(law[label : label + 1], others[None], 1.0)[0]
            found = top_certificates(
                Sampling(counts), np.full(trials, label), k, interval(confidence), 1.0
            )
            wrong = (found.radius > true).mean() if true > 0 else (~found.abstained).mean()
            assert wrong <= 0.2 + 3 * np.sqrt(0.16 / trials)

    def test_more_votes_certify_more_and_the_others_votes_help(self):
        counts = np.array([[300, 200, 150, 100, 50, 50, 50, 50, 50]])
        radii = {
            (interval, times): top_certificates(
                Sampling(times * counts), np.array([0]), 3, interval(0.99), 1.0
            ).radius[0]
            for interval in (ClopperPearson, TwoSample)
            for times in (1, 100)
        }
        for interval in (ClopperPearson, TwoSample):
            assert 0 < radii[interval, 1] < radii[interval, 100]
        assert radii[ClopperPearson, 100] > radii[TwoSample, 100]

    def test_the_limits_are_binomial_ones_of_k_plus_one(self):
        found = ClopperPearson(0.95).of_label(Sampling(np.array([[3, 90, 7]])), np.array([1]), 1)
        same = ClopperPearson(0.95).of_label(Sampling(np.array([[3, 7, 90]])), np.array([2]), 1)
        assert found.p1 == same.p1 < 0.9
        assert found.others[0, 0] == same.others[0, 0] > 0.07
        alone = TwoSample(0.975).of_label(Sampling(np.array([[3, 90, 7]])), np.array([1]), 1)
        assert found.p1 == alone.p1  # half of the error each

    def test_abstention_has_no_radius_and_radii_are_divided_behind_a_layer(self):
        counts = np.array([[70, 20, 10], [10, 20, 70]])
        found = top_certificates(Sampling(counts), np.array([0, 0]), 2, ClopperPearson(0.95), 1.0)
        assert found.prediction.tolist() == [0, ABSTAIN]
        assert found.radius[0] > 0 == found.radius[1]
        half = top_certificates(
            Sampling(counts), np.array([0, 0]), 2, ClopperPearson(0.95), 1.0, lipschitz=2.0
        )
        assert half.radius == pytest.approx(found.radius / 2, abs=2e-6)

    def test_what_cannot_be_is_told(self):
        sampling = Sampling(np.array([[70, 20, 10]]))
        for label, top, interval, words in (
            (0, 2, Hoeffding, "give the interval two-sample or clopper-pearson"),
            (0, 3, TwoSample, "top is 3, but the votes are for 3 classes"),
            (3, 2, TwoSample, "must be one of the classes 0 to 2"),
        ):
            with pytest.raises(InputError, match=words):
                top_certificates(sampling, np.array([label]), top, interval(0.95), 1.0)
        check_top_draws(5, ClopperPearson(0.999), classes=10, top=5)
        with pytest.raises(InputError, match="give votes of at least 5"):
            check_top_draws(4, ClopperPearson(0.999), classes=10, top=5)
