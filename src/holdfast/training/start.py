"""Where fine-tuning begins: the network of a finished run, and the architecture that it says."""

from pathlib import Path

from torch import nn

from holdfast.errors import MissingFileError
from holdfast.files import check_regular, read_tensors
from holdfast.models.checkpoint import MODEL, load_model
from holdfast.models.registry import Architecture

__all__ = ["start_from"]


def start_from(path: Path) -> tuple[nn.Module, Architecture]:
    """A trained network and its architecture.

    Args:
        path: the folder of a training run, or a model.safetensors file.

    Raises:
        MissingFileError: if there is no such file, or the run is not finished.
        DamagedFileError: if it is damaged, or its weights do not fit its architecture.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import save_model
        >>> from holdfast.training import start_from
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model(Path("model.safetensors"), small.build(seed=0), small)
        >>> network, architecture = start_from(Path("model.safetensors"))
        >>> architecture.name
        'small'
    """
    file = path / MODEL if path.is_dir() else path
    check_regular(file)
    if not file.is_file():
        raise MissingFileError(
            f"there is no network to start from at {path}; give the folder of a finished holdfast "
            "train run, or a model.safetensors file."
        )
    network = load_model(file)
    return network, Architecture.from_dict(read_tensors(file)[1]["architecture"])
