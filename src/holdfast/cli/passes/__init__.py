"""About how many passes a command will take, before it is run."""

from holdfast.cli.passes.bench import Known
from holdfast.cli.passes.told import passes

__all__ = ["Known", "passes"]
