"""How to train, whatever the objective."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from holdfast import lightning
from holdfast.errors import InputError
from holdfast.parameters import Seed, at_least_one, check_fields
from holdfast.processes import Processes
from holdfast.training.optimizers import Adam, OptimizerSpec
from holdfast.training.rates import Cosine, Rate

__all__ = ["Schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How to train, whatever the objective.

    Attributes:
        epochs: passes over the data, at least 1.
        batch_size: examples in a step, over all processes and parts.
        optimizer: how a step is made of a gradient.
        lr: learning rate, positive; ``rate`` multiplies it.
        rate: factor of the learning rate over time.
        weight_decay: of all parameters, at least 0.
        clip: largest ℓ2 norm of the whole gradient, which is scaled down to it; None for no limit.
        accumulate: parts of each process's share of a step, computed one after the other, for
            batches that do not fit into memory; at least 1.
        ema: decay in (0, 1) of an exponential moving average of the weights, which then are the
            ones that are validated and handed over; None for none.
        seed: of the order of the data, dropout and the objective's draws.
        precision: "32-true"; "bf16-mixed", several times faster where the hardware has it; or
            "16-mixed", with a scaled loss, for GPUs without bfloat16.
        accelerator: Fabric's: "auto", "cpu", "cuda", ...
        processes: how many train together.

    Example:
        >>> from holdfast.training import SGD, Cosine, Schedule, WarmUp
        >>> rate = WarmUp(rate=Cosine(), epochs=2)
        >>> schedule = Schedule(epochs=30, optimizer=SGD(), lr=0.1, rate=rate)
        >>> schedule.record()["optimizer"]
        'SGD(momentum=0.9, nesterov=False)'
    """

    epochs: int
    batch_size: int = 128
    optimizer: OptimizerSpec = field(default_factory=Adam)
    lr: float = 1e-3
    rate: Rate = field(default_factory=Cosine)
    weight_decay: float = 0.0
    clip: float | None = None
    accumulate: int = 1
    ema: float | None = None
    seed: Seed = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: str = "auto"
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        check_fields(self)
        at_least_one(epochs=self.epochs, batch_size=self.batch_size, accumulate=self.accumulate)
        if not 0 < self.lr < math.inf:
            raise InputError(f"lr is {self.lr}, but a learning rate is positive and finite.")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(
                f"weight_decay is {self.weight_decay}, but must be a finite number of at least 0."
            )
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise InputError(
                f"clip is {self.clip}, but the gradient's largest norm is positive and finite; "
                "for no limit leave it out."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"ema is {self.ema}, but a decay lies between 0 and 1.")

    def launch(self) -> "lightning.Fabric":
        """Start the processes, or find them started."""
        return self.processes.launch(self.accelerator, self.precision)

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain = (int, float, str, type(None))
        return {
            k: value if isinstance(value, plain) else repr(value) for k, value in values.items()
        }
