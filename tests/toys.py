"""Models whose right answer is known in closed form."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits W·x + b over the flattened image, float64 inside for exact answers."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat @ self.weight.to(flat.dtype).T + self.bias.to(flat.dtype)


def two_class(normal: Tensor, offset: float) -> Linear:
    """Class 0 where normal·x < offset, class 1 beyond; the margin is normal·x - offset."""
    weight = torch.stack([torch.zeros_like(normal), normal])
    return Linear(weight, torch.tensor([0.0, -offset]))


def random_linear(classes: int, size: int, seed: int = 0) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    return Linear(torch.randn(classes, size, generator=generator))


def small_network(
    shape: tuple[int, int, int] = (1, 6, 6), classes: int = 4, seed: int = 0
) -> nn.Module:
    """A random convolutional network; nothing is known of it but that it is smooth enough."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(shape[0], 8, 3, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(8 * shape[1] * shape[2], classes),
        ).eval()


class Plateau(nn.Module):
    """Two classes parted by a plane, but the logits are constant within ``width`` of a data point.

    Around the clean image the gradient is exactly 0, as around a point that adversarial training
    has flattened, so a first-order attack that begins there cannot move; the decision boundary lies
    within reach all the same.
    """

    def __init__(self, centre: Tensor, width: float) -> None:
        super().__init__()
        self.centre, self.width = centre, width
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)[:, 0] - self.centre
        beyond = nn.functional.relu(pixel.abs() - self.width)
        return torch.stack([torch.full_like(beyond, 0.2), 2 * beyond], dim=1)


class Saturated(nn.Module):
    """Another model with its logits scaled, so that the softmax saturates in float32."""

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.model(x)


def images(
    count: int, shape: tuple[int, ...] = (1, 6, 6), seed: int = 0, margin: float = 0.0
) -> Tensor:
    """Random images, ``margin`` away from the sides of the box."""
    generator = torch.Generator().manual_seed(seed)
    return margin + (1 - 2 * margin) * torch.rand(count, *shape, generator=generator)


class Wrapped(nn.Module):
    """A model made of any function on images."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Two(nn.Module):
    """Two parameters: logits (a·x, b·x) of a one-pixel image."""

    def __init__(self, a: float = 1.0, b: float = -0.5) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)[:, 0]
        return torch.stack([self.a * pixel, self.b * pixel], dim=1)


def smooth(seed: int = 0, classes: int = 3) -> nn.Module:
    """A small smooth network in float64, in evaluation mode, for finite differences."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, classes)]
        return nn.Sequential(*layers).double().eval()
