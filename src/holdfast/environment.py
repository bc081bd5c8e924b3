"""Where a computation ran, for the record."""

import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from holdfast.revision import git_revision

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Versions, hardware, git revision and the command as typed, for the record.

    Example:
        >>> from holdfast.environment import environment
        >>> list(environment())
        ['versions', 'hardware', 'git', 'command']
    """
    packages = ["holdfast", "torch", "torchvision", "lightning-fabric", "numpy", "scipy", "pandas"]
    cuda = torch.cuda.is_available()
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in packages},
        },
        "hardware": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if cuda else None,
            "tf32": _tf32() if cuda else None,
        },
        "git": git_revision(Path.cwd()),
        "command": _command(),
    }


def _processor() -> str | None:
    """Its name, where the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # of another system than Linux
        return platform.processor() or None
    names = [line.partition(":")[2] for line in told.splitlines() if line.startswith("model name")]
    return " ".join(names[0].split()) or None if names else None  # ARM's has no name there


def _tf32() -> bool:
    """Whether what is called float32 may be multiplied with 10 bits: PyTorch's convolutions are."""
    allowed = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return allowed and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"


def _command() -> str | None:
    """What was typed; None in a program or notebook that calls the library."""
    program = Path(sys.argv[0])
    if program.stem == "holdfast" or program.parts[-2:] == ("holdfast", "__main__.py"):
        return shlex.join(["holdfast", *sys.argv[1:]])
    return None
