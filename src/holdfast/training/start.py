"""Where fine-tuning begins: a network of a run or of a library, and its architecture."""

import torch
from torch import nn

from holdfast.errors import MissingFileError
from holdfast.files import StrPath, as_path, check_regular, read_tensors
from holdfast.models.checkpoint import MODEL, load_model
from holdfast.models.external.names import LibraryModel
from holdfast.models.registry import Architecture

__all__ = ["start_from"]


def start_from(path: StrPath) -> tuple[nn.Module, Architecture]:
    """A trained network and its architecture.

    Args:
        path: the folder of a training run, or a model.safetensors file; or what names a library's
            published network, torchvision/alexnet(weights='DEFAULT').

    Raises:
        MissingFileError: if there is no such file, or the run is not finished, or the library's
            weights cannot be downloaded.
        DamagedFileError: if it is damaged, or its weights do not fit its architecture.
        InputError, UnknownNameError: if the library has no such model or weights.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import save_model
        >>> from holdfast.training import start_from
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model("model.safetensors", small.build(seed=0), small)
        >>> network, architecture = start_from("model.safetensors")
        >>> architecture.name
        'small'
    """
    path = as_path(path)
    model = None if path.exists() else LibraryModel.read(str(path))
    if model is not None and model.weights is not None:
        return _published(model, model.weights)
    file = path / MODEL if path.is_dir() else path
    check_regular(file)
    if not file.is_file():
        raise MissingFileError(
            f"there is no network to start from at {path}; give the folder of a finished holdfast "
            "train run, or a model.safetensors file."
        )
    network = load_model(file)
    return network, Architecture.from_dict(read_tensors(file)[1]["architecture"])


def _published(model: LibraryModel, weights: str) -> tuple[nn.Module, Architecture]:
    """A library's network as an architecture, behind the normalisation that it was trained with."""
    published = model.load(weights)
    with torch.no_grad():
        classes = published(torch.zeros(1, *published.expects)).shape[1]
    given = ", ".join(f"{key}={value!r}" for key, value in model.parameters.items())
    architecture = Architecture(
        name=f"{model.library}/{model.name}" + (f"({given})" if given else ""),
        shape=published.expects,
        classes=classes,
        normalized=True,
    )
    network = architecture.build()
    network.load_state_dict(published.state_dict())
    return network.eval(), architecture
