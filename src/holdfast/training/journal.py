"""What training logs: terms of each step, their means over each epoch, and how far it has come."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holdfast import lightning
from holdfast.processes import summed
from holdfast.tensors import widest


@dataclass
class Journal:
    """How far training has come and what it has logged; goes into every checkpoint."""

    step: int = 0  # steps made
    # One entry for each epoch, and the same of what never repeats; whole numbers are read as such.
    log: list[dict[str, int | float]] = field(default_factory=list)
    speed: list[dict[str, int | float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch under way
    count: int = 0  # examples in the sums

    def add(self, terms: Mapping[str, float], examples: int) -> None:
        """Take in the sums of one step's terms over its examples."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += examples

    def close(self, epoch: int, measured: Mapping[str, float]) -> None:
        """End an epoch: turn sums into an entry of the log."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.log.append({"epoch": epoch, "step": self.step, **means, **measured})
        self.sums, self.count = {}, 0

    def brief(self) -> str:
        """The running means, for the progress bar."""
        return " ".join(f"{name} {value / self.count:.3f}" for name, value in self.sums.items())


class Terms:
    """Terms of the last steps, left on the device: to read each at once would make it wait."""

    def __init__(self, fabric: "lightning.Fabric") -> None:
        self._fabric = fabric
        self._steps: dict[int, int] = {}  # examples of each step, all processes together
        self._values: list[tuple[int, str, float, Tensor]] = []

    def begin(self, step: int, examples: int) -> None:
        """A step over so many examples."""
        self._steps[step] = examples

    def add(self, step: int, terms: Mapping[str, Tensor], fraction: float) -> None:
        """Means over this process's ``share`` of the step's examples."""
        self._values += [(step, name, fraction, value.detach()) for name, value in terms.items()]

    def read(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Step, examples, and the terms' sums over them; every process gets all."""
        device = self._fabric.device
        wide = widest(device)
        sums: dict[int, dict[str, float]] = {step: {} for step in self._steps}
        if self._values:
            values = torch.stack([value.to(device, wide) for *_, value in self._values]).tolist()
            for (step, name, fraction, _), value in zip(self._values, values, strict=True):
                weighted = value * (fraction * self._steps[step])
                sums[step][name] = sums[step].get(name, 0.0) + weighted
        if self._fabric.world_size > 1:
            flat = torch.tensor([v for terms in sums.values() for v in terms.values()], dtype=wide)
            total = iter(summed(self._fabric, flat.to(device)).tolist())
            sums = {step: {name: next(total) for name in terms} for step, terms in sums.items()}
        for step, terms in sums.items():
            yield step, self._steps[step], terms
        self._steps, self._values = {}, []


def not_finite(terms: Mapping[str, float]) -> str | None:
    """Name of the first term that is no finite number."""
    return next((name for name, value in terms.items() if not math.isfinite(value)), None)
