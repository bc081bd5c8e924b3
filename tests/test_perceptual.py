"""PASS: alignment first, then structural similarity."""

import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift

from holdfast.diagnose import perceptual_similarity
from holdfast.errors import InputError, MissingPackageError
from tests.digits import digits


def scenes(count=3, channels=1, size=28, seed=0):
    """Smooth random images, as photographs are smooth."""
    noise = np.random.default_rng(seed).standard_normal((count, channels, size, size))
    smooth = gaussian_filter(noise, (0, 0, 2, 2), mode="wrap")
    low, high = smooth.min(), smooth.max()
    return torch.from_numpy((smooth - low) / (high - low)).float()


def structural_similarity(x, y):
    """Wang et al. 2004, written down again: a Gaussian window of 11 pixels, σ = 1.5."""

    def mean(z):
        return gaussian_filter(z, 1.5, truncate=5 / 1.5, mode="mirror")

    x, y = x.double().numpy(), y.double().numpy()
    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx * mx, mean(y * y) - my * my
    covariance = mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    quotient = (2 * mx * my + c1) * (2 * covariance + c2)
    return float((quotient / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_like_itself(channels):
    score, _ = perceptual_similarity(scenes(channels=channels), scenes(channels=channels))
    assert score.tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_noise_that_leaves_no_shift_to_undo_is_scored_by_structural_similarity():
    x = scenes()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    near, far = ((x + size * noise).clamp(0, 1) for size in (0.02, 0.2))
    close, distant = perceptual_similarity(x, near).score, perceptual_similarity(x, far).score
    for place in range(3):
        expected = structural_similarity(x[place, 0], near[place, 0])
        assert float(close[place]) == pytest.approx(expected, abs=0.01)
    assert (distant < close - 0.1).all()


def test_a_flat_image_cannot_be_aligned_and_is_compared_as_it_is():
    flat, other = torch.full((1, 1, 28, 28), 0.25), scenes(1)
    found = perceptual_similarity(flat, other)
    assert found.aligned.tolist() == [False]
    expected = structural_similarity(flat[0, 0], other[0, 0])
    assert float(found.score) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shift_hardly_counts(channels):
    x = scenes(channels=channels)
    moved = torch.from_numpy(shift(x.numpy(), (0, 0, 1.5, -1.0), order=1, mode="nearest"))
    score, aligned = perceptual_similarity(x, moved.float().clamp(0, 1))
    assert aligned.all()
    for place in range(3):
        without = structural_similarity(x[place, 0], moved[place, 0])
        assert float(score[place]) > 0.5 + without / 2
    assert (score > 0.85).all()


def test_the_score_is_never_below_that_of_the_images_as_they_are():
    x, _ = digits(20)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    moved = (x + 0.5 * noise).clamp(0, 1)
    score, _ = perceptual_similarity(x, moved)
    for place in range(20):
        assert float(score[place]) >= structural_similarity(x[place, 0], moved[place, 0]) - 1e-3


def test_pairs_that_are_none(unchecked):
    with pytest.raises(InputError, match="one adversarial image for each"):
        perceptual_similarity(scenes(2), scenes(3)[:, :, :-1])
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        perceptual_similarity(scenes(1), scenes(1) + 1)


def test_without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackageError, match=r"holdfast\[pass\]"):
        perceptual_similarity(scenes(1), scenes(1))
