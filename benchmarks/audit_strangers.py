"""Networks of strangers, kept apart: ways to look robust that search and audit did not know.

Each is a layer or a model as somebody might have written it, in front of, within or behind a
network that falls altogether. They were written after the probes, the ways round and the limits of
the checks, and tried with all of them as they were. What they taught since (modules that hand each
other no plain tensors, hooks on modules, layers that work in place, tiny logits) is general, and no
limit was chosen on them.
"""

import hashlib
import os
import random
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from audit_cases import Case, Hidden, Straight, images, network
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks import PGD, Attack, Square
from holdfast.threat import Linf


def base() -> nn.Module:
    """The network that falls altogether in the ball that is tried here."""
    return network("conv", "standard")


class Front(nn.Module):
    """A layer of its own, made of a function."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x)


# Modules that take or return something else than one tensor of numbers


class Levels(nn.Module):
    """A picture as whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return (8 * x).round().long()


class Pixels(nn.Module):
    """A picture again."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 8


class Masks(nn.Module):
    """Which levels each pixel exceeds, as booleans in a list."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x > (k + 0.5) / 8 for k in range(8)]


class Count(nn.Module):
    """A picture of what was exceeded."""

    def forward(self, masks: list[Tensor]) -> Tensor:
        return torch.stack([mask.float() for mask in masks]).mean(dim=0)


class Bands(nn.Module):
    """Low and high frequencies by name, both coarse."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        low = functional.avg_pool2d(x, 3, 1, 1)
        return {"low": (8 * low).round() / 8, "high": (8 * (x - low)).round() / 8}


class Sum(nn.Module):
    """What was taken apart, put together."""

    def forward(self, parts: Mapping[str, Tensor]) -> Tensor:
        return parts["low"] + parts["high"]


class Spectrum(nn.Module):
    """Complex coefficients, coarse."""

    def forward(self, x: Tensor) -> Tensor:
        found = torch.fft.rfft2(x, norm="ortho")
        return torch.complex((4 * found.real).round() / 4, (4 * found.imag).round() / 4)


class Picture(nn.Module):
    """Of complex coefficients."""

    def forward(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=(8, 8), norm="ortho")


class Twofold(nn.Module):
    """Takes a picture and a coarser one, and returns both, changed by each other."""

    def forward(self, x: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        return (8 * (x + coarse) / 2).round() / 8, (4 * coarse).round() / 4


class Pair(nn.Module):
    """A network behind a module of two tensors in and out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.mix, self.model = Twofold(), model

    def forward(self, x: Tensor) -> Tensor:
        fine, coarse = self.mix(x, functional.avg_pool2d(x, 3, 1, 1))
        return self.model((3 * fine + coarse) / 4)


class Codes(nn.Module):
    """Each row of four pixels by the nearest of some rows that were seen in training."""

    codes: Tensor

    def __init__(self, count: int = 96) -> None:
        super().__init__()
        seen, _ = images("digits", "train")
        rows = seen[:count].reshape(-1, 4)
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:count]
        self.register_buffer("codes", rows[chosen])

    def forward(self, x: Tensor) -> Tensor:
        nearest = torch.cdist(x.reshape(-1, 4), self.codes).argmin(dim=1)
        return self.codes[nearest].view_as(x)


class Resized(nn.Module):
    """To an image of another shape, coarse."""

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.interpolate(x, scale_factor=2, mode="nearest")
        return (8 * wide).round() / 8


class Shrunk(nn.Module):
    """By half."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2)


# Models that leave PyTorch, or gradients, on the way


def through_numpy(x: Tensor) -> Tensor:
    values = x.detach().cpu().numpy()
    return torch.from_numpy(np.round(values * 16) / 16).float()


class Undecorated(nn.Module):
    """Whose whole forward takes no gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Inference(nn.Module):
    """Cleans the image in inference mode, whose tensors autograd does not take."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            clean = (8 * x).round() / 8
        return self.model(clean.clone())


class InPlace(nn.Module):
    """Shifts its input where it lies."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(8).round_().div_(8)
        return self.model(x)


class Linear(nn.Module):
    """Of NumPy alone: no parameter, no gradient."""

    def __init__(self) -> None:
        super().__init__()
        x, y = images("digits", "train")
        ones = torch.cat([x.flatten(1), torch.ones(len(x), 1)], dim=1)
        target = 2 * functional.one_hot(y, 10).float() - 1
        self.weights = torch.linalg.lstsq(ones, target).solution.numpy()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.detach().flatten(1).cpu().numpy()
        return torch.from_numpy(flat @ self.weights[:-1] + self.weights[-1])


class Neighbours(nn.Module):
    """Votes of the nearest seven images of training, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.classes = images("digits", "train")

    def forward(self, x: Tensor) -> Tensor:
        nearest = torch.cdist(x.flatten(1), self.seen.flatten(1)).topk(7, largest=False).indices
        return functional.one_hot(self.classes[nearest], 10).sum(dim=1).float()


class Kept(nn.Module):
    """Answers in a dictionary outside of it, behind a lock: no copy is fresh."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.lock = model, threading.Lock()
        self.known: dict[bytes, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        keys = [row.numpy().tobytes() for row in (4 * x.detach()).round().to(torch.int8)]
        with self.lock:
            rows = [
                self.known.setdefault(key, own.detach())
                for key, own in zip(keys, logits, strict=True)
            ]
        return torch.stack(rows)


class Tired(nn.Module):
    """From the 300th question on it answers about the image turned round."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.asked = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.model(x if self.asked < 300 else x.flip(3))


class Adapting(nn.Module):
    """Moves its input to where it is surer, by gradients of its own, before it answers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        moved = x.detach()
        for _ in range(3):
            with torch.enable_grad():
                moved = moved.detach().requires_grad_()
                logs = self.model(moved).log_softmax(dim=1)
                entropy = -(logs.exp() * logs).sum()
                (grad,) = torch.autograd.grad(entropy, moved)
            moved = (moved - 0.02 * grad.sign()).clamp(0, 1)
        return self.model(moved.detach())


class Learning(nn.Module):
    """Goes on learning from what it is asked: a bias for each class, kept from call to call."""

    bias: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("bias", torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        self.bias += 0.3 * (0.1 - logits.detach().softmax(dim=1).mean(dim=0))
        return (4 * (logits + self.bias)).round() / 4


class Early(nn.Module):
    """Answers at once, hard, where a small head is sure; else asks the network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.head, self.model = network("mlp", "standard"), model

    def forward(self, x: Tensor) -> Tensor:
        first = self.head(x).softmax(dim=1)
        sure = first.amax(dim=1, keepdim=True) > 0.6
        hard = 8.0 * functional.one_hot(first.argmax(dim=1), 10).to(x)
        return torch.where(sure, hard, self.model(x))


class Script(nn.Module):
    """Rounds, and was compiled."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(8 * x) / 8


def gradient_hook(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    """A network whose images change the gradient that comes back to them."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        seen = x + 0
        if seen.requires_grad:
            seen.register_hook(change)
        return model(seen)

    return answer


def turned_back(model: nn.Module) -> nn.Module:
    """A network in whose middle a module turns every gradient round."""
    model = deepcopy(model)
    middle = list(model.children())[3]

    def turn(layer: nn.Module, back: Any, given: Any) -> tuple[Tensor]:
        return (-back[0],)

    middle.register_full_backward_hook(turn)
    return model


def coarse_inside(model: nn.Module) -> nn.Module:
    """A network with activations of a few levels in place of its ReLUs."""
    layers = [
        Front(lambda z: (4 * z.clamp(0, 4)).round() / 4) if isinstance(one, nn.ReLU) else one
        for one in model.children()
    ]
    return nn.Sequential(*layers)


def two_digits(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).softmax(dim=1).mul(100).round() / 100


def one_class(model: nn.Module, x: Tensor) -> Tensor:
    return functional.one_hot(model(x).argmax(dim=1), 10).float()


# Draws, and noise from elsewhere than PyTorch's generator


def by_python(model: nn.Module, x: Tensor) -> Tensor:
    side = random.choice((6, 7, 8))
    small = functional.interpolate(x, size=(side, side), mode="bilinear")
    left, top = random.randint(0, 8 - side), random.randint(0, 8 - side)
    return model(functional.pad(small, (left, 8 - side - left, top, 8 - side - top)))


def by_numpy(model: nn.Module, x: Tensor) -> Tensor:
    noise = np.random.normal(0, 0.15, x.shape)  # noqa: NPY002, the old way, as strangers do
    return model(x + torch.from_numpy(noise).to(x))


def by_the_system(model: nn.Module, x: Tensor) -> Tensor:
    drawn = np.frombuffer(os.urandom(x.numel()), dtype=np.uint8).astype(np.float32) / 255 - 0.5
    return model(x + 0.5 * torch.from_numpy(drawn).view(x.shape))


def by_digest(model: nn.Module, x: Tensor) -> Tensor:
    """Noise on the logits from a digest of the image's bytes."""
    logits = model(x)
    rows = []
    for one in x.detach().numpy():
        key = int.from_bytes(hashlib.sha256(one.tobytes()).digest()[:4], "little")
        rows.append(torch.randn(10, generator=torch.Generator().manual_seed(key)))
    return logits + 3 * torch.stack(rows)


def rare_draws(model: nn.Module, x: Tensor) -> Tensor:
    """One pass in thirty is about the image turned upside down."""
    return model(x.flip(2) if random.random() < 1 / 30 else x)


def dropped(model: nn.Module, x: Tensor) -> Tensor:
    return model(functional.dropout(x, 0.2, training=True))


def strangers(eps: float = 0.1) -> list[Case]:
    """Evaluations that report more than there is, if nobody looks; none is in `broken`."""
    ball = Linf(eps)
    tried: Mapping[str, Attack] = {"pgd": PGD(ball), "square": Square(ball, queries=30)}

    def case(name: str, make: Callable[[], nn.Module], *, own: bool = False) -> Case:
        return Case(name, make, tried, honest=None if own else base)

    def behind(answer: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[], nn.Module]:
        return lambda: Hidden(base(), answer)

    def after(*layers: nn.Module) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(*layers, base())

    def front(change: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
        return after(Front(change))

    def halves(grad: Tensor, x: Tensor) -> Tensor:
        turned = torch.ones_like(grad)
        turned[..., ::2, :] = -1
        return grad * turned

    def sign(grad: Tensor, x: Tensor) -> Tensor:
        return 1e-3 * torch.sign(grad).roll(1, dims=-1)

    return [
        case("whole numbers between modules", after(Levels(), Pixels())),
        case("booleans in a list", after(Masks(), Count())),
        case("coarse bands by name", after(Bands(), Sum())),
        case("a coarse spectrum", after(Spectrum(), Picture())),
        case("two tensors in and out", lambda: Pair(base())),
        case("the nearest code", after(Codes())),
        case("another shape, coarse", after(Resized(), Shrunk())),
        case("eight bits", front(lambda x: (255 * x).to(torch.uint8).float() / 255)),
        case("through NumPy", front(through_numpy)),
        case("through NumPy, in its own forward", behind(lambda m, x: m(through_numpy(x)))),
        case("a forward without gradients", lambda: Undecorated(base())),
        case("inference mode", lambda: Inference(base())),
        case("in place", lambda: InPlace(base())),
        case("least squares in NumPy", Linear, own=True),
        case("counted neighbours", Neighbours, own=True),
        case("compiled rounding", lambda: nn.Sequential(torch.jit.script(Script()), base())),
        case("levels inside", lambda: coarse_inside(base())),
        case(
            "a gradient turned in every other row",
            front(lambda x: Straight.apply(x, torch.clone, halves)),
        ),
        case("the sign of another pixel", front(lambda x: Straight.apply(x, torch.clone, sign))),
        case("a hook that turns the gradient", behind(gradient_hook(torch.neg))),
        case("a hook that drops it", behind(gradient_hook(torch.zeros_like))),
        case("a module turned back", lambda: turned_back(base())),
        case("hot logits", behind(lambda m, x: m(x) / 1e-4)),
        case("tiny logits", behind(lambda m, x: 1e-30 * m(x))),
        case(
            "probabilities to two digits",
            behind(two_digits),
        ),
        case("one class, hard", behind(one_class)),
        case("ranks", behind(lambda m, x: m(x).argsort(1).argsort(1).float())),
        case("an early exit", lambda: Early(base())),
        case("answers behind a lock", lambda: Kept(base())),
        case("tired of questions", lambda: Tired(base())),
        case("goes on learning", lambda: Learning(base())),
        case("adapts to each image", lambda: Adapting(base())),
        case("resized by Python's draws", behind(by_python)),
        case("noise of NumPy", behind(by_numpy)),
        case("noise of the system", behind(by_the_system)),
        case("a digest on the logits", behind(by_digest)),
        case("upside down, rarely", behind(rare_draws)),
        case("dropout that stays", behind(dropped)),
    ]
