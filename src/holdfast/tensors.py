"""Small helpers that every part shares: per-example norms, a model's mode, device and hash."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.floating import casting

__all__ = [
    "device_of",
    "distances",
    "eval_mode",
    "expand",
    "fingerprint",
    "norm",
    "planes",
    "sent",
    "unit",
    "widest",
]


def expand(value: Shaped[Tensor, " n"], like: Float[Tensor, "n *image"]) -> Tensor:
    """Reshape (N,) to (N, 1, ..., 1), to broadcast against ``like``.

    Example:
        >>> from holdfast.tensors import expand
        >>> expand(torch.ones(4), x).shape
        torch.Size([4, 1, 1, 1])
    """
    return value.view(-1, *[1] * (like.dim() - 1))


def planes(x: Float[Tensor, "n *image"]) -> Float[Tensor, "n c h w"]:
    """View as (N, C, H, W), for what works on squares and pixels; missing leading axes become 1.

    Raises:
        InputError: if there are more axes than that.

    Example:
        >>> from holdfast.tensors import planes
        >>> planes(torch.rand(4, 8, 8)).shape
        torch.Size([4, 1, 8, 8])
    """
    if x.dim() > 4:
        raise InputError(f"the images have shape {tuple(x.shape[1:])}; expected (C, H, W) at most.")
    return x.view(len(x), *[1] * (4 - x.dim()), *x.shape[1:])


def norm(x: Float[Tensor, "n *image"], p: float) -> Float[Tensor, " n"]:
    """ℓp norm of every example over all its entries; p may be 0 or infinity.

    Example:
        >>> from holdfast.tensors import norm
        >>> norm(torch.tensor([[3.0, 4.0]]), 2)
        tensor([5.])
    """
    flat = x.flatten(1)
    if p == torch.inf:  # the same number, on a CPU in a tenth of the time
        return flat.abs().amax(dim=1)
    return torch.linalg.vector_norm(flat, p, dim=1)


def distances(
    x_adv: Float[Tensor, "n *image"], x: Float[Tensor, "n *image"]
) -> dict[str, Shaped[Tensor, " n"]]:
    """How far images lie from each other, by norm, in float64 on the CPU.

    Example:
        >>> from holdfast.tensors import distances
        >>> found = distances(torch.tensor([[0.5, 1.0]]), torch.tensor([[0.5, 0.0]]))
        >>> {name: value.item() for name, value in found.items()}
        {'l0': 1, 'l1': 1.0, 'l2': 1.0, 'linf': 1.0}
    """
    delta = x_adv.cpu().double() - x.cpu().double()
    return {
        "l0": norm(delta, 0).long(),
        "l1": norm(delta, 1),
        "l2": norm(delta, 2),
        "linf": norm(delta, torch.inf),
    }


def unit(x: Float[Tensor, "n *image"], p: float) -> Float[Tensor, "n *image"]:
    """Every example scaled to ℓp norm 1; 0 stays 0.

    Dividing by the largest entry first keeps the norm of a gradient of 1e-30 from underflowing,
    so a confident model's tiny gradient still has a direction.

    Example:
        >>> from holdfast.tensors import unit
        >>> unit(torch.tensor([[3e-30, 4e-30], [0.0, 0.0]]), 2)
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    peak = norm(x, torch.inf)
    scaled = x / expand(torch.where(peak > 0, peak, 1), x)
    return scaled / expand(norm(scaled, p).clamp(min=1), x)


@contextmanager
def eval_mode(
    *models: nn.Module, dropout: bool = False, images: torch.dtype = torch.float32
) -> Iterator[None]:
    """Put models into evaluation mode, and each of their layers back into the mode it was in.

    In it they also take images of another floating-point type than their weights; see
    `holdfast.floating`.

    Args:
        models: to put into it.
        dropout: leave dropout out of it: torch's layers of that kind then draw.
        images: their type.

    Example:
        >>> from holdfast.tensors import eval_mode
        >>> network = torch.nn.Dropout()
        >>> with eval_mode(network):
        ...     network.training
        False
        >>> network.training
        True
    """
    before = [(layer, layer.training) for model in models for layer in model.modules()]
    if any(training for _, training in before):
        for model in models:
            model.eval()
    for layer, _ in before:
        if dropout and isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.training = True
    try:
        with casting(*models, images=images):
            yield
    finally:
        for layer, training in before:
            if layer.training != training:
                layer.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters or buffers lie; the CPU if it has none.

    Example:
        >>> from holdfast.tensors import device_of
        >>> device_of(model)
        device(type='cpu')
    """
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def sent(tensor: Shaped[Tensor, "..."], device: torch.device) -> Shaped[Tensor, "..."]:
    """The tensor on a device; to a GPU by way of pinned memory, so that nobody waits for the copy.

    Example:
        >>> from holdfast.tensors import sent
        >>> sent(x, torch.device("cpu")) is x
        True
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fingerprint(model: nn.Module) -> str:
    """A hash of all weights and buffers, to tell whether two runs met the same network.

    Their names do not count, so a network behind a layer without weights, such as noise, is itself.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import GaussianNoise
        >>> from holdfast.tensors import fingerprint
        >>> fingerprint(model) == fingerprint(nn.Sequential(GaussianNoise(0.1), model))
        True
    """
    content = hashlib.sha256()
    for part in _contents(tuple(model.state_dict().values())):
        content.update(part)
    return content.hexdigest()[:16]


def _contents(entry: object) -> Iterator[bytes]:
    """What an entry of a state dict holds, in pieces.

    Most are tensors. Quantised layers keep their type and packed weights too, and a layer may keep
    whatever it likes (`torch.nn.Module.get_extra_state`): of what is unknown the type alone counts,
    since its text may hold an address.
    """
    if isinstance(entry, Tensor):
        tensor = entry.dequantize() if entry.is_quantized else entry
        yield str(tuple(tensor.shape)).encode()
        yield bytes_of(tensor)
    elif isinstance(entry, Mapping):
        yield from _contents(tuple(part for item in entry.items() for part in item))
    elif isinstance(entry, (tuple, list)):
        for part in entry:
            yield from _contents(part)
    else:
        known = entry is None or isinstance(entry, (bool, int, float, str, bytes, torch.dtype))
        yield (repr(entry) if known else type(entry).__qualname__).encode()


def bytes_of(tensor: Tensor) -> bytes:
    """What a tensor holds, row after row: NumPy has no bfloat16.

    Example:
        >>> from holdfast.tensors import bytes_of
        >>> len(bytes_of(torch.ones(3, dtype=torch.bfloat16)))
        6
    """
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def rank_of(liked: Shaped[Tensor, "n k"], y: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """How many classes are liked more than the label: 0 if it comes first.

    What is no number ranks before the label, and a label without a number ranks last.

    Args:
        liked: (N, K) logits, scores or votes.
        y: (N,) labels, each below K.

    Returns:
        (N,) the label's rank, from 0 to K.

    Example:
        >>> from holdfast.tensors import rank_of
        >>> rank_of(torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]]), torch.tensor([1, 0]))
        tensor([0, 2])
    """
    return (~(liked <= liked.gather(1, y[:, None]))).sum(dim=1)


def widest(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: Apple's has no float64.

    Example:
        >>> from holdfast.tensors import widest
        >>> widest(torch.device("cpu"))
        torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64
