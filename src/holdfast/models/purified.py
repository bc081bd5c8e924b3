"""A purified classifier on disk: denoiser, classifier and the numbers of the chain in one file."""

import torch
from torch import nn

from holdfast.defenses.malade import MALADE
from holdfast.errors import DamagedFileError, MissingPackageError
from holdfast.files import StrPath, read_tensors, write_tensors
from holdfast.models.checkpoint import built_with, part_of
from holdfast.models.registry import Architecture

__all__ = ["read_purified", "save_purified"]

PURIFIED = "purified.safetensors"

#: Name -> a network and what it is.
Networks = dict[str, tuple[nn.Module, Architecture]]


def save_purified(path: StrPath, layer: MALADE, networks: Networks) -> None:
    """Write a `MALADE` in front of a classifier.

    Args:
        path: of the file, named `PURIFIED`.
        layer: its numbers are written, its denoiser is the one in ``networks``.
        networks: "denoiser" and "classifier".

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import MALADE
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.purified import PURIFIED, read_purified, save_purified
        >>> networks = {}
        >>> for role, name in (("denoiser", "malade-dae"), ("classifier", "malade-cnn")):
        ...     kind = Architecture(name=name, shape=(1, 28, 28), classes=10)
        ...     networks[role] = kind.build(seed=0), kind
        >>> chain = MALADE(nn.Identity(), steps=2, alpha=0.1, delta=0.1, sigma=0.2)
        >>> save_purified(PURIFIED, chain, networks)
        >>> read_purified(PURIFIED)[0].steps
        2
    """
    tensors = {
        f"{name}/{key}": tensor
        for name, (network, _) in networks.items()
        for key, tensor in network.state_dict().items()
    }
    names = ("steps", "alpha", "delta", "sigma", "anneal")
    numbers = {name: getattr(layer, name) for name in names}
    about = {name: architecture.to_dict() for name, (_, architecture) in networks.items()}
    write_tensors(path, tensors, {**about, "malade": numbers})


def read_purified(path: StrPath) -> nn.Sequential:
    """Build what `save_purified` wrote, in evaluation mode: the layer, then the classifier.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or its weights do not fit its architectures.
        MissingPackageError: if it holds a model of a library that is not installed.

    Example:
        >>> from torch import nn
        >>> from holdfast.defenses import MALADE
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.purified import PURIFIED, read_purified, save_purified
        >>> networks = {}
        >>> for role, name in (("denoiser", "malade-dae"), ("classifier", "malade-cnn")):
        ...     kind = Architecture(name=name, shape=(1, 28, 28), classes=10)
        ...     networks[role] = kind.build(seed=0), kind
        >>> chain = MALADE(nn.Identity(), steps=2, alpha=0.1, delta=0.1, sigma=0.2)
        >>> save_purified(PURIFIED, chain, networks)
        >>> read_purified(PURIFIED)[0].steps
        2
    """
    tensors, about = read_tensors(path)
    try:
        networks = {
            name: built_with(Architecture.from_dict(about[name]), part_of(tensors, f"{name}/"))
            for name in ("denoiser", "classifier")
        }
        layer = MALADE(networks["denoiser"], **about["malade"])
    except MissingPackageError:
        raise
    except Exception as error:  # a stranger's file may make any step fail
        raise DamagedFileError(
            f"{path} does not hold the purified classifier that it says it holds: "
            f"{str(error).rstrip('.')}."
        ) from error
    purified = nn.Sequential(layer, networks["classifier"]).eval()
    # The layout in memory that convolutions on a CPU are fastest in; the numbers are the same.
    return purified.to(memory_format=torch.channels_last)
