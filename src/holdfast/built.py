"""Networks that a user's callable builds, here and once more in another process.

    mypackage.models:resnet        mynet:Net(width=2, weights=net.pth)

The callable gets what stands in the brackets, and a file of weights itself only if it takes
``weights``; else the file's state dict is loaded into what it returns.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from holdfast.errors import ModelError, kind_of
from holdfast.imports import imported
from holdfast.specs import parse, plain
from holdfast.state_dicts import SUFFIXES, fill, read_weights
from holdfast.tensors import device_of, fingerprint

__all__ = ["Origin", "build", "origin_of"]

#: By which callable each network was built; a copy of one may have been changed, and is not there.
_BUILT: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


class Origin(NamedTuple):
    """All that it takes to build a network again.

    Attributes:
        spec: ``package.module:callable``, with its parameters.
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
    """Call ``package.module:callable``, which returns a network.

    Args:
        spec: with parameters of the callable in brackets, and ``weights``, a file of a state dict
            (`holdfast.state_dicts`), if it leaves loading it to us; the network is then in
            evaluation mode.

    Raises:
        InputError: if the spec cannot be read.
        ModelError: if it cannot be imported or called, or returns something else.
        MissingFileError: if there is no such file of weights.
        DamagedFileError: if it is no state dict, or not of this network.

    Example:
        >>> from holdfast.built import build
        >>> build("torch.nn:Linear(in_features=2, out_features=3)")
        Linear(in_features=2, out_features=3, bias=True)
    """
    read = parse(spec, "model", "mynet:Net(weights=net.pth)")
    target = imported(read.name, "--model", ModelError)
    given = {key: plain(value) for key, value in read.parameters.items()}
    weights = given.get("weights")
    ours = isinstance(weights, str) and weights.endswith(SUFFIXES) and not _takes_weights(target)
    if ours:
        del given["weights"]
    try:
        model = target(**given)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"calling {spec} failed with {type(error).__name__}: {error}; it must take "
            f"{'these arguments' if given else 'no arguments'} and return a torch.nn.Module."
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} returned {kind_of(model)}, but must return a torch.nn.Module.")
    if ours:
        file = Path(str(weights))
        wrong = f"{file} does not hold weights of {read.name}"
        fill(model, read_weights(file), wrong, "give what built their network its parameters")
        model.eval()
    _BUILT[model] = spec
    return model


def _takes_weights(target: Callable[..., Any]) -> bool:
    """Whether a callable loads the file itself."""
    try:
        return "weights" in inspect.signature(target).parameters
    except (TypeError, ValueError):  # neither Python's own nor callable
        return False


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
