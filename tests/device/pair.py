"""The CPU and a device beside it: the same work on both, and how far the results lie apart."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from tests.device.parts import FailedError

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pair:
    """The CPU and ``device``.

    Where the device is the CPU as well, its networks have every weight moved by one rounding error:
    so that a comparison which rounding alone breaks is seen without a GPU.
    """

    device: torch.device

    @property
    def alone(self) -> bool:
        """Whether there is no other device than the CPU."""
        return self.device.type == "cpu"

    def both(self, work: Callable[[N, torch.device], T], network: N) -> tuple[T, T]:
        """What ``work`` makes of the network on the CPU, and on the device."""
        return work(copy.deepcopy(network), CPU), work(self.there(network), self.device)

    def there(self, network: N) -> N:
        """A copy of the network on the device."""
        moved = copy.deepcopy(network).to(self.device)
        if self.alone:
            with torch.no_grad():
                for weight in moved.parameters():
                    signs = 1 - 2 * (torch.arange(weight.numel()) % 2).to(weight.dtype)
                    weight.mul_(1 + torch.finfo(weight.dtype).eps * signs.view_as(weight))
        return moved


def difference(here: Tensor, there: Tensor) -> float:
    """The largest difference of two tensors of one shape; NaN beside a number is infinite."""
    if here.shape != there.shape:
        raise FailedError(f"shape {tuple(there.shape)} instead of {tuple(here.shape)}")
    here, there = here.detach().cpu(), there.detach().cpu()
    equal = (here == there) | (here.isnan() & there.isnan())
    apart = torch.where(equal, 0, (here.double() - there.double()).abs()).nan_to_num(torch.inf)
    return float(apart.max()) if apart.numel() else 0.0


def agree(here: Tensor, there: Tensor, within: float, what: str = "difference") -> str:
    """Say how far the two lie apart.

    Raises:
        FailedError: if that is more than ``within``, or the types differ.
    """
    if here.dtype != there.dtype:
        raise FailedError(f"{what}: {there.dtype} instead of {here.dtype}")
    found = difference(here, there)
    if not found <= within:
        raise FailedError(f"{what} {found:.3g}, more than {within:.3g}")
    return f"{what} {found:.1e}" if found else f"{what} 0"


def expect(holds: bool, otherwise: str) -> None:
    """Raise `FailedError` unless it holds."""
    if not holds:
        raise FailedError(otherwise)
