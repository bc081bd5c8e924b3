"""Where a computation ran, for the record."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from holdfast.revision import git_revision

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Versions, hardware and git revision, for the record.

    Example:
        >>> from holdfast.environment import environment
        >>> list(environment())
        ['versions', 'hardware', 'git']
    """
    packages = ["holdfast", "torch", "torchvision", "lightning-fabric", "numpy", "scipy", "pandas"]
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "hardware": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": accelerator,
        },
        "git": git_revision(Path.cwd()),
    }
