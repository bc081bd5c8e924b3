"""Processes: who computes which part of a step's batch, on which device.

Every process holds the whole network and computes a part of each batch; the gradient is that of the
mean over all examples of the batch, whatever the parts' sizes, so the number of processes and of
parts changes a deterministic objective's training by rounding only. Batch normalisation normalises
each part by itself; its running statistics are averaged over the processes after each step.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from holdfast import lightning
from holdfast.errors import InputError
from holdfast.parameters import at_least_one, check_fields
from holdfast.threads import warn_if_crowded

__all__ = ["Processes"]

#: Processes on a node, and nodes: each further one is started, so a slip must not fill a machine.
_MOST = 1024


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How many processes train together.

    Under torchrun its processes are used, and the numbers must be torchrun's; without it Lightning
    Fabric starts the script again, once for each further device.

    Attributes:
        devices: processes on each node, one for each device, from 1 to 1024.
        num_nodes: nodes, from 1 to 1024.
        strategy: Fabric's: "auto", or "ddp" also for a single process.

    Example:
        >>> from holdfast.training import Processes, Schedule
        >>> Schedule(epochs=1, processes=Processes(devices=4)).processes
        Processes(devices=4, num_nodes=1, strategy='auto')
    """

    devices: int = 1
    num_nodes: int = 1
    strategy: Literal["auto", "ddp"] = "auto"

    def __post_init__(self) -> None:
        check_fields(self)
        at_least_one(devices=self.devices, num_nodes=self.num_nodes)
        for name in ("devices", "num_nodes"):
            if getattr(self, name) > _MOST:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at most {_MOST}.")

    def launch(
        self, accelerator: str, precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    ) -> "lightning.Fabric":
        """Start the processes, or find them started.

        Raises:
            InputError: if this machine has no such devices, or they do not know the precision.
        """
        alone = self.devices * self.num_nodes == 1 and self.strategy == "auto"
        strategy = "auto" if alone else "ddp"
        try:
            with warnings.catch_warnings():
                # Fabric would go on with bfloat16; the check below refuses.
                warnings.filterwarnings("ignore", "You passed")
                fabric = lightning.Fabric(
                    accelerator=accelerator,
                    devices=self.devices,
                    num_nodes=self.num_nodes,
                    strategy=strategy,
                    precision=precision,
                )
            if precision == "16-mixed" and fabric.device.type == "cpu":
                raise InputError("precision 16-mixed needs a GPU; on a CPU choose bf16-mixed.")
            if fabric.device.type == "cpu" and "LOCAL_RANK" not in os.environ:  # the first of them
                warn_if_crowded(self.devices)
            fabric.launch()
        except InputError:
            raise
        except (ValueError, RuntimeError, TypeError, ImportError) as error:
            raise InputError(
                f"accelerator {accelerator!r} with {self.devices} devices on {self.num_nodes} "
                f"nodes cannot be used ({' '.join(str(error).split())})."
            ) from error
        return fabric


class Part(NamedTuple):
    """The part of a step's batch that a process computes at once."""

    number: int  # among all parts of the step
    examples: Int[Tensor, " m"]
    weight: float  # fraction of the step's examples; 0 for a part without examples of its own


def parts_of(batch: Int[Tensor, " n"], accumulate: int, world: int, rank: int) -> list[Part]:
    """The parts of a batch that process ``rank`` of ``world`` computes one after the other.

    All get equally many, so that all log the same terms. One for which there is no example computes
    the first one with weight 0.
    """
    pieces = batch.tensor_split(accumulate * world)
    parts = []
    for start in range(0, min(len(batch), len(pieces)), world):
        examples = pieces[start + rank]
        weight = len(examples) / len(batch)
        parts.append(Part(start + rank, examples if len(examples) else batch[:1], weight))
    return parts


def gather_gradients(fabric: "lightning.Fabric", network: nn.Module) -> None:
    """Sum the gradients over the processes, and average the batch-normalisation statistics.

    One exchange after the backward pass, where DistributedDataParallel would exchange during it:
    an objective may run the network as often as it likes, leave parameters out, and differentiate
    twice, and it sees the network itself. A parameter that no process reached keeps no gradient.
    """
    if fabric.world_size == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    statistics = [
        buffer
        for layer in network.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
        for buffer in (layer.running_mean, layer.running_var)
        if buffer is not None
    ]
    reached = torch.tensor([p.grad is not None for p in parameters], device=fabric.device).float()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    averaged = [buffer / fabric.world_size for buffer in statistics]
    sent = [reached, *gradients, *averaged]
    flat = summed(fabric, torch.cat([part.flatten() for part in sent]))
    reached, *sums = flat.split([part.numel() for part in sent])
    for place, times in enumerate(reached.tolist()):
        if times:
            parameter = parameters[place]
            parameter.grad = gradients[place].copy_(sums[place].view_as(parameter))
    for buffer, mean in zip(statistics, sums[len(parameters) :], strict=True):
        buffer.copy_(mean)


def summed(fabric: "lightning.Fabric", value: Tensor) -> Tensor:
    """The sum over all processes, in each."""
    return torch.as_tensor(fabric.all_reduce(value, reduce_op="sum"))


@contextmanager
def in_precision(network: nn.Module, fabric: "lightning.Fabric") -> Iterator[None]:
    """Let the network's forward passes run in Fabric's precision; its logits have 32 bits.

    Fabric's own wrapper forbids every backward pass but the last, and attacks need theirs.
    """
    if fabric.strategy.precision.precision == "32-true":
        yield
        return
    plain = network.forward

    def forward(x: Tensor) -> Tensor:
        with fabric.autocast():  # for each pass: its copies of weights die with it
            logits: Tensor = plain(x)
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits

    network.forward = forward
    try:
        yield
    finally:
        del network.forward


@contextmanager
def repeatable() -> Iterator[None]:
    """Let cuDNN choose only among algorithms that give the same bits every time."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
