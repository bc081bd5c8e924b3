"""A small smooth network fitted to imitate a module, on what the module is given."""

import math

import torch
from torch import Tensor, nn

from holdfast.parameters import Seed
from holdfast.random import kept_global_generators, seed_every_generator

#: Passes over batches of `_BATCH` pairs, and the width of every layer.
_STEPS = 300
_BATCH = 32
_WIDTH = 32
_RATE = 3e-3


class Imitation(nn.Module):
    """Maps what the module is given to what it returns; trained by `imitate`.

    Args:
        given: (N, ...) examples of what the module is given.
        returned: (N, ...) what it returned for them.
    """

    centre: Tensor
    scale: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, given: Tensor, returned: Tensor) -> None:
        super().__init__()
        self.shape = returned.shape[1:]
        picture = given.dim() == 4
        if picture and returned.dim() == 4 and returned.shape[2:] == given.shape[2:]:
            self.body: nn.Module = _convolutions(given.shape[1], returned.shape[1])
        else:
            first = _shrinking(given.shape[1:]) if picture else nn.Flatten()
            with torch.no_grad():
                size = first(given[:1].float()).shape[1]
            self.body = nn.Sequential(
                first,
                nn.Linear(size, 4 * _WIDTH),
                nn.GELU(),
                nn.Linear(4 * _WIDTH, math.prod(self.shape)),
            )
        self.register_buffer("centre", given.mean(dim=0, keepdim=True).float())
        self.register_buffer("scale", given.std().clamp(min=1e-6).float())
        self.register_buffer("mean", returned.mean(dim=0, keepdim=True).float())
        self.register_buffer("spread", returned.std().clamp(min=1e-6).float())

    def forward(self, x: Tensor) -> Tensor:
        """In the module's own scale."""
        inner = self.body((x.to(self.centre.dtype) - self.centre) / self.scale)
        return (inner.view(-1, *self.shape) * self.spread + self.mean).to(x.dtype)


def imitate(given: Tensor, returned: Tensor, *, seed: Seed) -> Imitation:
    """Fit a small network by least squares.

    Args:
        given: (N, ...) what the module was given.
        returned: (N, ...) what it returned.
        seed: of the weights and the order.

    Returns:
        In evaluation mode, its weights frozen.
    """
    given, returned = given.detach().float(), returned.detach().float()
    with kept_global_generators(given.device), torch.enable_grad():
        seed_every_generator(seed % 2**63, given.device)
        student = Imitation(given, returned).to(given.device)
        optimizer = torch.optim.Adam(student.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
        for _ in range(_STEPS):
            chosen = torch.randint(len(given), (min(_BATCH, len(given)),), device=given.device)
            error = (student(given[chosen]) - returned[chosen]) / student.spread
            loss = error.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return student.eval().requires_grad_(False)


def _convolutions(first: int, last: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(first, _WIDTH, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(_WIDTH, last, 1),
    )


def _shrinking(shape: torch.Size) -> nn.Module:
    """Convolutions that halve the picture until it is small, whatever its size was."""
    layers: list[nn.Module] = []
    channels, side = shape[0], min(shape[1:])
    while side > 8:
        layers += [nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1), nn.GELU()]
        channels, side = _WIDTH, -(-side // 2)
    layers += [nn.Conv2d(channels, _WIDTH, 3, padding=1), nn.GELU(), nn.Flatten()]
    return nn.Sequential(*layers)
