"""The network after each epoch, kept in a run folder: epochs/000.safetensors is where it began."""

from pathlib import Path

from torch import nn

from holdfast.errors import MissingFileError
from holdfast.files import StrPath, as_path
from holdfast.models.checkpoint import save_model
from holdfast.models.registry import Architecture

__all__ = ["kept_epochs", "save_epoch"]

_FOLDER = "epochs"


def save_epoch(run: StrPath, epoch: int, network: nn.Module, architecture: Architecture) -> None:
    """Keep a network in a run folder as that of an epoch.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import save_epoch
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_epoch("run", 0, small.build(seed=0), small)
        >>> [path.name for path in Path("run/epochs").iterdir()]
        ['000.safetensors']
    """
    folder = as_path(run) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / f"{epoch:03d}.safetensors", network, architecture)


def kept_epochs(run: StrPath) -> dict[int, Path]:
    """The files of the networks that a run kept, by epoch, in their order.

    Raises:
        MissingFileError: if it kept none.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.training import kept_epochs, save_epoch
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> for epoch in (0, 1):
        ...     save_epoch("run", epoch, small.build(seed=epoch), small)
        >>> list(kept_epochs("run"))
        [0, 1]
    """
    files = (as_path(run) / _FOLDER).glob("*.safetensors")
    found = {int(file.stem): file for file in files if file.stem.isdecimal()}
    if not found:
        raise MissingFileError(
            f"{run} kept no network of its epochs; train with --keep-epochs true, into another "
            "--out."
        )
    return dict(sorted(found.items()))
