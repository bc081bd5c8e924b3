"""Noise without rounding errors: the law is exact, and its digits tell nothing of the image."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from holdfast.certify import CertificationConfig, certify, certify_images
from holdfast.defenses import GaussianNoise, SoundGaussianNoise
from holdfast.defenses.smoothed import noise_of
from holdfast.defenses.sound_noise import passed, thresholds
from holdfast.errors import InputError
from holdfast.random import Stream, drawing_from
from tests.toys import images, small_network, two_class


def eight_bits(n, shape=(1, 6, 6)):
    return (images(n, shape) * 255).round() / 255


def noisy(x, sigma=0.5, layer=SoundGaussianNoise, seed=0):
    with drawing_from(Stream.of(seed, torch.arange(len(x)))):
        return layer(sigma)(x)


class TestTheLaw:
    @pytest.mark.parametrize("sigma", [0.05, 0.25, 0.7])
    def test_thresholds_are_the_digits_of_the_normal_law(self, sigma):
        span = 40
        first, further = thresholds(sigma, span)
        with mpmath.workdps(60):
            for i, a, b in zip(range(-span, span), first.tolist(), further.tolist(), strict=True):
                known = Fraction(a, 2**62) + Fraction(b, 2**124)
                exact = mpmath.erfc(-(2 * i + 1) / (510 * mpmath.mpf(sigma)) / mpmath.sqrt(2)) / 2
                gap = exact - mpmath.mpf(known.numerator) / known.denominator
                assert 0 <= gap < mpmath.mpf(2) ** -124

    def test_every_toss_counts_the_probabilities_below_it(self):
        """All 4-digit tosses in two parts of 2, against whole numbers: P(U >= p) to the digit."""
        whole = torch.tensor([0, 3, 5, 5, 6, 7, 7, 14])
        tosses = torch.arange(16)
        found = passed(whole >> 2, whole & 3, tosses >> 2, lambda: tosses & 3)
        assert found.tolist() == [int((whole <= toss).sum()) for toss in tosses]

    def test_further_tosses_are_made_only_where_the_first_do_not_decide(self):
        def never():
            raise AssertionError

        first = torch.tensor([2, 5])
        assert passed(first, first, torch.tensor([0, 3, 4, 7]), never).tolist() == [0, 1, 1, 2]

    def test_draws_follow_it(self):
        """A chi-squared test of the steps against differences of Φ, at one level."""
        x = torch.full((50, 1, 20, 20), 100 / 255)
        steps = ((noisy(x, sigma=0.02) * 255).round() - 100).flatten().numpy()
        edges = np.arange(-15, 16)
        law = stats.norm(scale=0.02 * 255)
        expected = np.diff(law.cdf(np.concatenate([[-np.inf], edges + 0.5, [np.inf]])))
        counts = np.bincount(np.clip(steps, -15, 16).astype(int) + 15, minlength=32)
        assert stats.chisquare(counts, len(steps) * expected).pvalue > 1e-4


class TestWhatIsPromised:
    def test_the_noise_tells_nothing_of_the_image(self):
        """Draws of one image are those of another, moved by a whole number of levels."""
        x = eight_bits(4)
        other = x.flip(0)
        here, there = noisy(x), noisy(other)
        moved = (here * 255).round() - (x * 255).round()
        assert torch.equal(moved, (there * 255).round() - (other * 255).round())

    def test_floating_point_noise_does(self):
        """What Voráček and Hein exploit: x + ε keeps digits of x, and rounded it keeps none."""

        def spacing(x, layer):  # of the last digits: multiples of 2^-24 or finer
            return float(((noisy(x, 0.5, layer).double() * 2**24) % 1 != 0).float().mean())

        dark, bright = torch.zeros(4, 1, 6, 6), torch.ones(4, 1, 6, 6)
        assert spacing(dark, GaussianNoise) > spacing(bright, GaussianNoise) + 0.1
        levels = [noisy(x, 0.5).unique() * 255 for x in (dark, bright)]
        assert all(((each - each.round()).abs() < 1e-3).all() for each in levels)

    def test_a_network_sees_finitely_many_levels(self):
        """Here so few that clipping can be seen: as often as the law says."""
        layer, x = SoundGaussianNoise(0.5), torch.full((80, 1, 20, 20), 100 / 255)
        layer.farthest = 1
        with drawing_from(Stream.of(0, torch.arange(len(x)))):
            levels = layer(x).double() * 255
        assert (levels - levels.round()).abs().max() < 1e-3
        assert (levels.min(), levels.max()) == pytest.approx((-255, 510))
        law = stats.norm(100, 0.5 * 255)
        for share, expected in (
            (levels > 509.5, law.sf(509.5)),
            (levels < -254.5, law.cdf(-254.5)),
        ):
            assert stats.binomtest(int(share.sum()), len(levels.flatten()), expected).pvalue > 1e-4

    def test_a_pixel_off_the_grid_has_the_same_law(self):
        x = torch.full((200, 1, 20, 20), 0.4 + 0.3 / 255)
        drawn = noisy(x, 0.05).double()
        assert ((drawn * 255).round() - drawn * 255).abs().max() < 1e-3
        assert float(drawn.mean()) == pytest.approx(float(x.double().mean()), abs=1e-3)
        assert float(drawn.std()) == pytest.approx(np.sqrt(0.05**2 + 1 / (12 * 255**2)), rel=0.01)

    def test_the_gradient_is_that_of_the_sum(self):
        x = eight_bits(2).requires_grad_()
        (2 * noisy(x)).sum().backward()
        assert (x.grad == 2).all()


class TestCertificates:
    def test_they_are_those_of_gaussian_noise(self):
        """Of a plane the radius is its distance; the grid is too fine to matter at σ = 0.5."""
        normal = torch.ones(16)
        x = eight_bits(40, (1, 4, 4))
        distance = ((x.flatten(1) @ normal - 8).abs() / 4).numpy()
        found = certify_images(
            two_class(normal, 8.0), x, sigma=0.5, votes=2000, noise="sound-gaussian"
        )
        issued = ~found.abstained
        assert issued.mean() > 0.5
        beyond = found.radius[issued] > distance[issued] + 1e-6
        assert beyond.sum() <= stats.binom.ppf(0.9999, 40, 0.05)

    def test_images_off_the_grid_are_refused_before_a_file_is_written(self, tmp_path):
        x = images(3) * 0.9991
        config = CertificationConfig(sigma=0.2, noise="sound-gaussian", votes=20)
        with pytest.raises(InputError, match="multiples of 1/255"):
            certify(small_network(), x, torch.zeros(3).long(), config=config, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        with pytest.raises(InputError, match="multiples of 1/255"):
            certify_images(small_network(), x, sigma=0.2, noise="sound-gaussian")

    def test_a_model_says_which_noise_it_has(self):
        assert noise_of(nn.Sequential(SoundGaussianNoise(0.2))) == ("sound-gaussian", 0.2)
        assert noise_of(nn.Sequential(GaussianNoise(0.2))) == ("gaussian", 0.2)


def test_tosses_are_those_of_the_example_alone():
    both = Stream.of(0, torch.tensor([5, 17])).bits((3, 5))
    alone = Stream.of(0, torch.tensor([17])).bits((3, 5))
    assert torch.equal(both[1:], alone)
    many = Stream.of(0, torch.arange(200)).bits((101,))
    assert many.min() >= 0
    assert (many >> 61).double().mean() == pytest.approx(0.5, abs=0.02)  # the first toss
    assert (many & 1).double().mean() == pytest.approx(0.5, abs=0.02)  # the last
    assert many.unique().numel() == many.numel()
