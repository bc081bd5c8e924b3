"""Whether one tensor can stand in for another: by correlation, or by the class it names."""

import torch
from torch import Tensor
from torch.nn import functional

#: Correlation at which the identity stands in for what lies between two tensors.
_CORRELATED = 0.5

#: Of the images, on which a soft answer has to name the class of the hard one.
_AGREED = 0.75


def fitted(source: Tensor, like: Tensor) -> Tensor | None:
    """A tensor in another one's shape: its numbers as they are, or a picture resized; else None."""
    if source.shape == like.shape:
        return source
    if source.numel() == like.numel():
        return source.reshape(like.shape)
    if source.dim() == like.dim() == 4 and source.shape[:2] == like.shape[:2]:
        return functional.interpolate(source, like.shape[2:], mode="bilinear", antialias=True)
    return None


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors, one in the shape of the other, rise and fall together."""
    shaped = fitted(one.detach(), other)
    if shaped is None or shaped.is_complex() or other.numel() < 2:
        return False
    one = shaped
    pair = torch.stack([t.detach().double().flatten() for t in (one, other)])
    pair = pair - pair.mean(dim=1, keepdim=True)
    lengths = pair.norm(dim=1).prod()
    return bool(lengths > 0) and float((pair[0] * pair[1]).sum() / lengths) >= _CORRELATED


def agree(hard: Tensor, soft: Tensor) -> bool:
    """Whether two tensors (N, K) of scores name the same classes."""
    if hard.shape != soft.shape or hard.dim() != 2 or hard.shape[1] < 2:
        return False
    return float((hard.argmax(dim=1) == soft.argmax(dim=1)).double().mean()) >= _AGREED
