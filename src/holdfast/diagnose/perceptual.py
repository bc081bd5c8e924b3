"""PASS: how alike an image and its adversarial image look (DD supplement, table 2).

    PASS(x, x') = SSIM(ψ(x'), x)

ψ is the homography that aligns x' to x best by the enhanced correlation coefficient (ECC), so that
a small shift or rotation, which people overlook, does not count; SSIM is structural similarity. 1
says that they look the same. Both come from OpenCV, with its contributed modules:
``pip install "holdfast[pass]"``.

DD used its authors' implementation, which is not at hand; how that one smooths and pools is not
known, so that values compare among themselves rather than with the printed ones.

Reference:
    Rozsa et al., "Adversarial diversity and hard positive generation", CVPR workshops 2016;
    Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
    maximization", TPAMI 2008; Wang et al., "Image quality assessment: from error visibility to
    structural similarity", 2004.
"""

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from holdfast.checks import check_images
from holdfast.errors import InputError, MissingPackageError
from holdfast.tensors import planes
from holdfast.types import Flags, Images, PerExample

__all__ = ["perceptual_similarity"]

_ITERATIONS, _GAIN = 100, 1e-6  # where ECC stops
_BLUR = 5  # pixels, by which ECC smooths both images; OpenCV's default


class Similarity(NamedTuple):
    """PASS of each pair, and whether the alignment was found.

    Example:
        >>> from holdfast.diagnose import perceptual_similarity
        >>> image = torch.linspace(0, 1, 1024).view(1, 1, 32, 32)
        >>> perceptual_similarity(image, image).score.round(decimals=3)
        tensor([1.], dtype=torch.float64)
    """

    score: PerExample
    aligned: Flags


def perceptual_similarity(x: Images, x_adv: Images) -> Similarity:
    """PASS of clean and adversarial images, in float64.

    Colours are averaged for the alignment; SSIM is the mean over channels and pixels of a Gaussian
    window of 11 pixels, σ = 1.5. Where ECC finds nothing to hold on to, as on an image of one
    colour, or makes the images less alike than they were, the score is that of the images as they
    are, and ``aligned`` is False.

    When:
        Of perturbations in no small ball, to ask what a person would see.

    When not:
        Of vectors, or to compare with printed PASS values: the authors' implementation is not at
        hand.

    Traps:
        Where the alignment finds nothing to hold on to the score is that of the images as they are,
        and ``aligned`` is False.

    Args:
        x: (N, C, H, W) or (N, H, W) clean images in [0, 1].
        x_adv: the adversarial ones, of the same shape.

    Raises:
        InputError: if the shapes differ, or images leave [0, 1].
        MissingPackageError: if OpenCV is not installed.

    Reference:
        Rozsa et al., "Adversarial diversity and hard positive generation", CVPR workshops 2016;
        Yan, Guo and Zhang, "Deep Defense", NeurIPS 2018, supplement.

    Example:
        >>> from holdfast.diagnose import perceptual_similarity
        >>> image = torch.linspace(0, 1, 1024).view(1, 1, 32, 32)
        >>> score, aligned = perceptual_similarity(image, image.flip(3))
        >>> bool(score < 1)
        True
    """
    check_images(x)
    check_images(x_adv)
    if x.shape != x_adv.shape:
        raise InputError(
            f"the images have shapes {tuple(x.shape)} and {tuple(x_adv.shape)}; give one "
            "adversarial image for each clean one."
        )
    cv2 = _opencv()
    scores, aligned = [], []
    for clean, moved in zip(_pictures(x), _pictures(x_adv), strict=True):
        score, warped = _ssim(cv2, clean, moved), _aligned(cv2, clean, moved)
        better = None if warped is None else _ssim(cv2, clean, warped)
        aligned.append(better is not None and better >= score)
        scores.append(better if better is not None and better >= score else score)
    return Similarity(torch.tensor(scores, dtype=torch.float64), torch.tensor(aligned))


def _opencv() -> ModuleType:
    try:
        cv2 = import_module("cv2")
        cv2.quality.QualitySSIM_compute  # noqa: B018 - only the contributed modules have it
    except (ImportError, AttributeError) as error:
        raise MissingPackageError(
            "PASS needs OpenCV with its contributed modules, which cannot be imported "
            f'({error}); install it with pip install "holdfast[pass]".'
        ) from error
    return cv2


def _pictures(x: Images) -> np.ndarray:
    """(N, H, W, C) float32, from 0 to 255, which OpenCV's constants of SSIM are made for."""
    pixels: Tensor = 255 * planes(x.detach().cpu().float())
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _aligned(cv2: ModuleType, clean: np.ndarray, moved: np.ndarray) -> np.ndarray | None:
    """ψ(moved), or None where ECC does not converge."""
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ITERATIONS, _GAIN)
    grey = [np.ascontiguousarray(image.mean(axis=2)) for image in (clean, moved)]
    try:
        _, homography = cv2.findTransformECC(
            *grey, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, stop, None, _BLUR
        )
    except cv2.error:
        return None
    height, width = grey[0].shape
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(
        moved, homography, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    return warped.reshape(clean.shape)


def _ssim(cv2: ModuleType, clean: np.ndarray, other: np.ndarray) -> float:
    per_channel, _ = cv2.quality.QualitySSIM_compute(clean, other)
    return float(np.mean(per_channel[: clean.shape[2]]))
