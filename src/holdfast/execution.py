"""How the passes of a network are made: in which precision, compiled or not, in which layout.

The network stays what it is. Whoever must know what it answers asks it itself, in its own
precision; whoever looks for images that fool it may ask it in a faster way.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from holdfast.counting import carries_several
from holdfast.memory import out_of_memory

__all__ = ["Execution", "Precision"]

#: "float32" leaves a network in its own precision, whatever that is.
Precision: TypeAlias = Literal["float32", "bf16", "fp16"]

_TYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"bf16": torch.bfloat16, "fp16": torch.float16}
)

#: Who compiles, as `torch.compile` names it.
_BACKEND = "inductor"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A way to make the passes of a network.

    Attributes:
        precision: in which matrices are multiplied, under autocast: weights, images and sums stay
            in their own, and answers come in this one.
        compile: by `torch.compile`, and on CUDA as graphs; where that fails, a warning says so and
            passes are made as ever.
        channels_last: convolutions have their weights, and so what they make, in the layout
            (N, H, W, C).

    Example:
        >>> from holdfast.execution import Execution
        >>> with Execution(precision="bf16").of(model) as faster:
        ...     faster(x).dtype
        torch.bfloat16
        >>> model(x).dtype
        torch.float32
    """

    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool = False

    @contextmanager
    def of(self, network: nn.Module) -> Iterator[nn.Module]:
        """The network with its passes made so; within the block its weights have the layout.

        Args:
            network: in evaluation mode; a layer of what is yielded, with all that it declares.
        """
        if self == Execution():
            yield network
            return
        laid_out = _Layout(network) if self.channels_last else nullcontext()
        with laid_out:
            yield _Executed(network, self)

    def record(self) -> dict[str, Any]:
        """As a run's record holds it: what is no default."""
        return {
            name: value for name, value in vars(self).items() if value != getattr(Execution, name)
        }


class _Executed(nn.Module):
    """A network whose passes are made in some way; a copy makes its own."""

    def __init__(self, network: nn.Module, how: Execution) -> None:
        super().__init__()
        self.network, self.how = network, how
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self._fails = False
        self.train(network.training)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is compiled, which is of this process and this network."""
        return {**self.__dict__, "_compiled": None}

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        with self._autocast(x.device):
            # What is compiled can be differentiated once at a time, and not twice.
            if not self.how.compile or self._fails or carries_several():
                logits: Tensor = self.network(x)
                return logits
            try:
                with warnings.catch_warnings(action="ignore"):  # a compiler talks to itself
                    return self._quickly(x)
            except Exception as error:  # of a compiler, which may raise anything
                if out_of_memory(error):
                    raise
                logits = self.network(x)  # or it was the network's own fault
                self._fails = True
                warnings.warn(
                    f"the network was not compiled, and goes on as it is, with the same rows: "
                    f"{type(error).__name__}, {_brief(error)}.",
                    stacklevel=2,
                )
                return logits

    def _autocast(self, device: torch.device) -> Any:
        if self.how.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, _TYPES[self.how.precision])

    def _quickly(self, x: Tensor) -> Tensor:
        graphs = x.device.type == "cuda"
        if self._compiled is None:
            # On CUDA a graph is of one size; elsewhere what is compiled once is for all of them.
            mode = {"mode": "reduce-overhead"} if graphs else {"dynamic": True}
            asking = _with_own_code(lambda given: self.network(given))
            self._compiled = torch.compile(asking, backend=_BACKEND, **mode)
        if not graphs:
            return self._compiled(x)
        padded = _padded(x)
        # The next pass writes where this one's answer lies.
        return self._compiled(padded)[: len(x)].clone()


def _with_own_code(function: Any) -> Callable[[Tensor], Tensor]:
    """The same function, whose code was that of none before.

    Of one code torch.compile keeps 8 compilations, by default; for any network after those it would
    make passes as ever, and say so nowhere that is heard.
    """
    code, known = function.__code__.replace(), function.__globals__
    return FunctionType(code, known, closure=function.__closure__)


class _Layout:
    """Within the block convolutions have their weights in channels-last; their values stay."""

    def __init__(self, network: nn.Module) -> None:
        self._held: list[tuple[Tensor, Tensor]] = []
        self._network = network

    def __enter__(self) -> None:
        for weight in self._network.parameters():
            if weight.dim() == 4:
                self._held.append((weight, weight.data))
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def __exit__(self, *_: object) -> None:
        for weight, data in self._held:
            weight.data = data


def _padded(x: Tensor) -> Tensor:
    """As many images as a power of two, the last ones copies: of few sizes there are few graphs.

    No image's answer depends on the others: the network is in evaluation mode.
    """
    wanted = 1 << (len(x) - 1).bit_length() if len(x) else 0
    if wanted == len(x):
        return x
    return torch.cat([x, x[-1:].expand(wanted - len(x), *x.shape[1:])])


def _brief(error: Exception) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or ["without a word"])[0][:200].rstrip(".")
