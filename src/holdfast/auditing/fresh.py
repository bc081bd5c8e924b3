"""A model as if it had never been asked: copies that share its weights."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from holdfast.types import Model


@torch.no_grad()  # TorchScript's copies would keep a graph to the weights, and torch warn of it
def fresh(model: Model, *, shared: bool = True) -> Model:
    """A copy, whatever cannot be copied shared with it; the model itself where there can be none.

    Args:
        model: is left as it is.
        shared: whether the copy has the same weights, not copies.
    """
    same: dict[int, Any] = {id(one): one for one in model.parameters()} if shared else {}
    try:
        return copy.deepcopy(model, dict(same))
    except Exception:  # a stranger's network, which may well hold a lock, a file, a session
        held = {id(thing): thing for thing in _single(model)}
    try:
        return copy.deepcopy(model, same | held)
    except Exception:
        return model


def _single(model: Model) -> Iterator[Any]:
    """The attributes of a model's layers of which there can be no second."""
    known = vars(nn.Module())
    for layer in model.modules():
        for name, value in vars(layer).items():
            if name not in known:
                try:
                    copy.deepcopy(value)
                except Exception:
                    yield value
