"""The bounds against 50-digit references, and what holds between them."""

import math
import re

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.certify import cohen_radius, laplace_radius, pixeldp_radius, renyi_radius
from holdfast.certify.bounds.bound import (
    BOUNDS,
    log_ratio,
    noise_of_bound,
    possible,
    proven,
    round_down,
)
from holdfast.errors import InputError
from tests.cases import BOUNDS as CASES

probabilities = st.floats(0, 1)
every_bound = pytest.mark.parametrize(
    "bound", [case.radius for case in CASES.values()], ids=list(CASES)
)


#: Among them p2 = 0, p1 close to 1, p1 close to p2, and p1 + p2 = 1.
LIMITS = [
    (0.9, 0.05),
    (0.55, 0.1),
    (0.2, 1e-4),
    (0.5001, 0.4999),
    (0.75, 0.25),
    (0.9484, 0.0516),
    (1 - 1e-9, 1 - (1 - 1e-9)),
    (1 - 1e-9, 1e-10),
    (1 - 2**-53, 1e-20),
    (0.3, 0.29),
    (0.3, 0.3 - 1e-12),
    (0.5 + 1e-13, 0.5 - 1e-13),
    (1e-6, 9.9e-7),
    (0.7, 1e-12),
    (1e-6, 1e-9),
    (0.8, 0.0),
    (0.02, 0.0),
    (1 - 1e-12, 0.0),
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("p1", "p2"), LIMITS)
def test_equals_fifty_digits_to_nine(name, p1, p2):
    found = CASES[name].radius(p1, p2, 1.0)
    with mpmath.workdps(50):
        first = mpmath.mpf(p1)
        expected = CASES[name].formula(mpmath, first, min(mpmath.mpf(p2), 1 - first))
        assert found == expected or abs(found / expected - 1) < 1e-9  # both may be infinite


@pytest.mark.parametrize(
    ("name", "p1", "p2", "radius"),
    [
        ("renyi", 0.9, 0.05, 1.249374),
        ("renyi", 0.6, 0.4, 0.202216),
        ("renyi", 0.99, 0.01, 1.908009),
        ("cohen", 0.9, 0.1, 1.281552),
        ("cohen", 0.99, 0.01, 2.326348),
        # With no other class eps = 1 is best.
        ("pixeldp", 0.95, 0.0, 1 / math.sqrt(2 * math.log(1.25 * (1 + math.e) / 0.95))),
        ("laplace", 0.75, 0.25, math.log(2) / math.sqrt(2)),
    ],
)
def test_anchors(name, p1, p2, radius):
    assert CASES[name].radius(p1, p2, 1.0) == pytest.approx(radius, abs=5e-6)


def test_every_bound_has_a_case():
    assert {name: case.radius for name, case in CASES.items()} == dict(BOUNDS)


@every_bound
@given(p1=probabilities, p2=probabilities, sigma=st.floats(0.01, 10))
def test_what_is_tight_is_never_exceeded(bound, p1, p2, sigma):
    """Any radius above it would be unsound; of Laplace noise it is known for two classes alone."""
    if noise_of_bound(bound) == "gaussian":
        tight = cohen_radius(p1, p2, sigma)
    else:
        p2, b = 1 - p1, sigma / math.sqrt(2)
        tight = -b * math.log(2 * (1 - p1)) if 0.5 < p1 < 1 else math.inf if p1 == 1 else 0.0
    assert bound(p1, p2, sigma) <= tight * (1 + 1e-9) + 1e-12


@given(st.floats(0.1, 1), probabilities)
def test_pixeldp_never_exceeds_renyi(p1, p2):
    """As SO's and STN's appendices find by simulation, for a leading class of ten.

    Below that it may: limits such as 0.03 and 0 belong to no law of few classes.
    """
    assert pixeldp_radius(p1, p2, 1.0) <= renyi_radius(p1, p2, 1.0) * (1 + 1e-9)


@given(probabilities, st.floats(0, 1))
def test_two_classes_of_cohen_are_the_quantile_itself(p1, sigma):
    from scipy.stats import norm

    expected = max((sigma + 0.1) * norm.ppf(p1), 0)
    assert cohen_radius(p1, 1.0, sigma + 0.1) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@every_bound
class TestEveryBound:
    @given(p1=probabilities, p2=probabilities)
    def test_a_radius_if_and_only_if_the_limits_are_apart(self, bound, p1, p2):
        radius = bound(p1, p2, 1.0)
        assert radius >= 0
        assert (radius > 0) == (p1 > min(p2, 1 - p1)) or p1 < 1e-300

    @given(a=probabilities, b=probabilities, p2=probabilities)
    def test_monotone_in_the_first(self, bound, a, b, p2):
        low, high = sorted((a, b))
        assert bound(low, p2, 1.0) <= bound(high, p2, 1.0) * (1 + 1e-9)

    @given(p1=probabilities, a=probabilities, b=probabilities)
    def test_antitone_in_the_second(self, bound, p1, a, b):
        low, high = sorted((a, b))
        assert bound(p1, high, 1.0) <= bound(p1, low, 1.0) * (1 + 1e-9)

    def test_scales_with_sigma(self, bound):
        assert bound(0.9, 0.05, 0.7) == pytest.approx(0.7 * bound(0.9, 0.05, 1.0))

    def test_an_upper_limit_above_what_is_left_is_cut(self, bound):
        assert bound(0.9, 0.5, 1.0) == bound(0.9, 1 - 0.9, 1.0)
        assert bound(0.3, 0.45, 1.0) == 0

    def test_a_vanishing_second_class_has_the_radius_of_the_limit(self, bound):
        assert bound(0.8, 5e-324, 1.0) <= bound(0.8, 0.0, 1.0)
        assert math.isfinite(bound(0.8, 5e-324, 1.0))

    def test_the_kind_of_number_is_kept(self, bound):
        assert isinstance(bound(0.9, 0.05, 1.0), float)
        array = bound(np.array([0.9, 0.6]), np.array([0.05, 0.4]), 1.0)
        assert isinstance(array, np.ndarray)
        tensor = bound(torch.tensor([0.9, 0.6]), torch.tensor([0.05, 0.4]), 1.0)
        assert tensor.dtype == torch.float64
        assert np.allclose(tensor.numpy(), array, atol=1e-6)
        assert bound(np.array([[0.9, 0.6]]), 0.05, 1.0).shape == (1, 2)
        assert bound(np.zeros((0,)), np.zeros((0,)), 1.0).shape == (0,)

    @pytest.mark.parametrize(
        ("p1", "p2", "sigma", "words"),
        [
            (1.1, 0, 1, "probabilities"),
            (0.5, -0.1, 1, "probabilities"),
            (math.nan, 0, 1, "probabilities"),
            (0.9, 0.1, 0, "sigma"),
            (0.9, 0.1, -1, "sigma"),
            (0.9, 0.1, math.inf, "sigma"),
        ],
    )
    def test_bad_input(self, bound, p1, p2, sigma, words):
        with pytest.raises(InputError, match=re.escape(words)):
            bound(p1, p2, sigma)


def test_laplace_is_tight_for_two_classes():
    """Half-spaces along an axis: the noise's own distribution gives the vote's probability."""
    b = 1 / math.sqrt(2)
    for distance in (0.0, 0.3, 2.0):
        p1 = 1 - math.exp(-distance / b) / 2
        assert laplace_radius(p1, 1 - p1, 1.0) == pytest.approx(distance, abs=1e-12)


@every_bound
@given(p1=probabilities, p2=probabilities)
def test_what_is_claimed_is_less_than_computed_and_what_is_not_ruled_out_is_more(bound, p1, p2):
    """By a billionth, for rounding, and no more than that and six decimals."""
    radius = bound(p1, p2, 0.5)
    limits = np.array([p1]), np.array([p2])
    claimed, left = (float(kind(bound, *limits, 0.5)[0]) for kind in (proven, possible))
    assert claimed <= radius <= left
    if math.isfinite(radius):
        assert radius * (1 - 1e-9) - 1.000001e-6 <= claimed <= radius * (1 - 0.999e-9)
        assert radius * (1 + 0.999e-9) <= left <= radius * (1 + 1.001e-9)


@given(st.integers(0, 1000), st.integers(0, 8))
def test_what_has_no_more_decimals_is_not_rounded(whole, decimals):
    """Where float64 holds it exactly: so many halvings of a whole number have so many decimals."""
    radius = np.array([whole / 2**decimals])
    assert round_down(radius, decimals) == radius


@pytest.mark.parametrize("p1", [0.9, 0.3, 1e-300])
@pytest.mark.parametrize("times", [0.0, 1e-9, 0.3, 0.499, 0.5, 0.501, 0.9, 1 - 1e-9, 1 - 1e-15])
def test_the_logarithm_of_a_ratio_has_all_digits(p1, times):
    p2 = p1 * times
    with mpmath.workdps(50):
        exact = mpmath.log(mpmath.mpf(p1) / mpmath.mpf(p2)) if p2 else math.inf
    assert log_ratio(np.array([p1]), np.array([p2]))[0] == pytest.approx(float(exact), rel=1e-12)
