"""What identifies a model in a run's record: its weights, what it answers, its classes' source.

Weights alone do not: a `forward` may change and they stay. What it answers shows that, up to
rounding, and the source shows what these few answers do not.
"""

import ast
import hashlib
import inspect
import textwrap
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import try_model
from holdfast.data import Data
from holdfast.random import Stream, drawing_from, own_global_generator
from holdfast.tensors import device_of, eval_mode, fingerprint

__all__ = ["identify"]

#: Images of the data that are asked about, as they are and half drowned in noise.
_PROBES = 4

#: Each answer is recorded as so many sums with random signs, for a model may know 1,000 classes.
_SUMS = 4

#: What rounding may do to an answer, as a fraction of the largest: other hardware multiplies
#: matrices with 10 bits (TF32).
_ROUNDING = 5e-3

#: Packages whose classes do not change from day to day; a new version of them is no other model.
_PUBLISHED = ("torch", "torchvision", "timm", "holdfast")


def identify(model: nn.Module, data: Data) -> dict[str, Any]:
    """What a run records of a model, as JSON can hold it.

    Args:
        model: classifier or denoiser, on the device that is to do the work.
        data: what it will be run on.

    Returns:
        model_fingerprint: see `holdfast.tensors.fingerprint`; model_answers: numbers that
        hardly depend on hardware, None if they change from time to time; model_source: a hash, None
        if there are only published classes or the source of another cannot be had.

    Raises:
        ModelError: if the model fails on the data.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.models.identity import identify
        >>> sorted(identify(model, Data.of(x, y)))
        ['model_answers', 'model_fingerprint', 'model_source']
    """
    return {
        "model_fingerprint": fingerprint(model),
        "model_answers": _answers(model, data),
        "model_source": _source(model),
    }


@torch.no_grad()
def _answers(model: nn.Module, data: Data) -> dict[str, Any] | None:
    count = min(_PROBES, len(data))
    device = device_of(model)
    x = data.x(torch.arange(count) * len(data) // count).to(device)
    rng = Stream.of(0, torch.arange(2 * count, device=device)).fold("identity")
    noise = rng.take(torch.arange(count, device=device)).uniform(x.shape[1:])
    x = torch.cat([x, (x + noise) / 2])
    with eval_mode(model), own_global_generator(0, device):
        answers = []
        for _ in range(2):  # the second finds other random numbers, if they are none of Holdfast's
            with drawing_from(rng):
                answers.append(try_model(model, x))
    if not all(_comparable(answer, len(x)) for answer in answers):
        return None
    first, second = (answer.flatten(1).double().cpu() for answer in answers)
    if first.shape != second.shape:
        return None
    within = _ROUNDING * float(first.abs().max())
    if not (first - second).abs().max() <= within:  # nor if they are no numbers
        return None
    signs = Stream.of(0, torch.arange(_SUMS)).fold("signs").uniform(first.shape[1:]) < 0.5
    sums = first @ (2 * signs.double() - 1).T / first.shape[1] ** 0.5
    return {"values": [round(value, 9) for value in sums.flatten().tolist()], "within": within}


def _comparable(answer: object, count: int) -> bool:
    """Whether it is numbers for each image; what else is wrong with it is told by who uses it."""
    if not isinstance(answer, Tensor):
        return False
    return answer.is_floating_point() and answer.dim() >= 2 and len(answer) == count


def _source(model: nn.Module) -> str | None:
    """A hash of the source, without comments, of all classes that no library publishes."""
    classes = dict.fromkeys(
        base
        for layer in model.modules()
        for base in type(layer).__mro__
        if base is not object and base.__module__.partition(".")[0] not in _PUBLISHED
    )
    if not classes:
        return None
    content = hashlib.sha256()
    for made in classes:
        try:
            source = textwrap.dedent(inspect.getsource(made))
        except (OSError, TypeError):  # typed into a prompt, or compiled
            return None
        content.update(ast.unparse(ast.parse(source)).encode())
    return content.hexdigest()[:16]
