"""Networks that a user's callable builds, here and once more in another process."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from holdfast.errors import ModelError
from holdfast.imports import imported
from holdfast.tensors import device_of, fingerprint

__all__ = ["Origin", "build", "origin_of"]

#: By which callable each network was built; a copy of one may have been changed, and is not there.
_BUILT: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


class Origin(NamedTuple):
    """All that it takes to build a network again.

    Attributes:
        spec: ``package.module:callable``.
        fingerprint: of its weights, which must come out the same.
        device: where it is.
        training: its mode.

    Example:
        >>> from holdfast.built import build, origin_of
        >>> origin = origin_of(build("torch.nn:Identity"))
        >>> origin.spec, type(origin.build_again())
        ('torch.nn:Identity', <class 'torch.nn.modules.linear.Identity'>)
    """

    spec: str
    fingerprint: str
    device: torch.device
    training: bool

    def build_again(self) -> nn.Module:
        """The same network in this process.

        Raises:
            ModelError: if it cannot be built here, or comes out otherwise.
        """
        model = build(self.spec)
        if fingerprint(model) != self.fingerprint:
            raise ModelError(
                f"{self.spec} builds another network in each process: let it load its weights from "
                "a file, or draw them from a seed."
            )
        return model.to(self.device).train(self.training)


def build(spec: str) -> nn.Module:
    """Call ``package.module:callable``, which takes no arguments and returns a network.

    Raises:
        ModelError: if it cannot be imported or called, or returns something else.

    Example:
        >>> from holdfast.built import build
        >>> build("torch.nn:Flatten")
        Flatten(start_dim=1, end_dim=-1)
    """
    target = imported(spec, "--model", ModelError)
    try:
        model = target()
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"calling {spec} failed with {type(error).__name__}: {error}; it must take no "
            "arguments and return a torch.nn.Module."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"{spec} returned a {type(model).__name__}, but must return a torch.nn.Module."
        )
    _BUILT[model] = spec
    return model


def origin_of(model: nn.Module) -> Origin | None:
    """Where a network came from; None if no callable built it.

    Example:
        >>> from holdfast.built import origin_of
        >>> origin_of(model) is None
        True
    """
    spec = _BUILT.get(model)
    if spec is None:
        return None
    return Origin(spec, fingerprint(model), device_of(model), model.training)
