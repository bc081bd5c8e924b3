"""Images of a training set found again by their content, wherever they stand in a part of it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from holdfast.types import Images


class KnownImages:
    """Where images stand in a set, by a hash of each.

    Args:
        hashes: (N,) those of the set, by `hash_images`.

    Example:
        >>> from holdfast.training.known_images import KnownImages, hash_images
        >>> place, known = KnownImages(hash_images(x).numpy()).find(torch.stack([x[2], 1 - x[0]]))
        >>> int(place[0]), known
        (2, array([ True, False]))
    """

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, x: Images) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(N,) a place of each image, of the same one the first; and whether it is in the set."""
        hashes = hash_images(x).cpu().numpy()
        place = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        return self._order[place], self._hashes[place] == hashes


def hash_images(x: Float[Tensor, "n *image"]) -> Int[Tensor, " n"]:
    """64 bits of every image: Σ_i w_i · bits_i mod 2^64, with odd multipliers w_i that look random.

    Two different images share them with a probability of about 2^-64.

    Example:
        >>> from holdfast.training.known_images import hash_images
        >>> len(set(hash_images(x).tolist())) == len(x)
        True
    """
    bits = x.detach().float().contiguous().view(torch.int32).flatten(1).to(torch.int64)
    place = torch.arange(1, bits.shape[1] + 1, device=x.device)
    # One round of the splitmix64 generator's mixing, as int64 wraps around.
    weight = place * -0x61C8864680B583EB
    weight = (weight ^ (weight >> 30)) * -0x40A7B892E31B1A47
    return (bits * (weight | 1)).sum(dim=1)
