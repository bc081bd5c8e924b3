"""What is Lightning Fabric's, imported when it is first asked for.

With Fabric comes torch._dynamo, a quarter of the time in which a command that trains nothing is
ready. Annotations with what is here stand in quotes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric as Fabric
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger as TensorBoardLogger
    from lightning_fabric.plugins.precision import Precision as Precision

_OF = {
    "Fabric": "lightning_fabric",
    "Precision": "lightning_fabric.plugins.precision",
    "TensorBoardLogger": "lightning_fabric.loggers.tensorboard",
}


def __getattr__(name: str) -> Any:
    """Any other name is none: what looks through all modules must not import anything."""
    if name not in _OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_OF[name]), name)
