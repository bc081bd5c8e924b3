"""Evaluations that can be believed and evaluations that cannot, for `audit_rates.py`.

Networks are small and trained in seconds. What is sound is a network, possibly smoothed or behind a
layer that says what it does, attacked by the suite or by PGD of many steps; what is broken is
attacked too weakly, or hides its gradient, its draws or its memory without a word.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from holdfast import data
from holdfast.attacks import APGD, DDN, FGSM, PGD, Attack, On, Square, Worst, WorstCase
from holdfast.defenses import Binarise, GaussianNoise
from holdfast.evaluation import EvaluationConfig
from holdfast.models import Ensemble, Normalize
from holdfast.random import Stream
from holdfast.threat import L2, Linf
from holdfast.types import Callback, Images, Labels, Model, Threat

#: Where trained networks are kept.
CACHE = Path("runs/audit-rates")


# Networks


def convolutional(shape: tuple[int, ...]) -> nn.Module:
    side = shape[1] // 2
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def perceptron(shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 128),
        nn.Tanh(),
        nn.Linear(128, 64),
        nn.Tanh(),
        nn.Linear(64, 10),
    )


class Residual(nn.Module):
    """A block with a bypass and batch normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.layers(x))


def residual(shape: tuple[int, ...]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(shape[0], 16, 3, stride=shape[1] // 8, padding=1),
        Residual(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        Residual(32),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class Attention(nn.Module):
    """A tiny vision transformer, of patches of a quarter of the side."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.patch = shape[1] // 4
        self.embed = nn.Linear(shape[0] * self.patch**2, 32)
        self.place = nn.Parameter(0.1 * torch.randn(16, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = functional.unfold(x, self.patch, stride=self.patch).transpose(1, 2)
        return self.head(self.layer(self.embed(patches) + self.place).mean(dim=1))


ARCHITECTURES: Mapping[str, Callable[[tuple[int, ...]], nn.Module]] = {
    "conv": convolutional,
    "mlp": perceptron,
    "resnet": residual,
    "vit": Attention,
}


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        steps: of Adam, each of 64 images.
        eps: of PGD of 5 steps in training; 0 for none.
        noise: deviation of Gaussian noise on the images.
        temperature: logits are divided by it in training.
        single: one step of FGSM instead, which can teach a network to hide its gradient.
    """

    steps: int = 300
    eps: float = 0.0
    noise: float = 0.0
    temperature: float = 1.0
    single: bool = False


TRAININGS: Mapping[str, Training] = {
    "standard": Training(),
    "adversarial": Training(steps=400, eps=0.15),
    "noisy": Training(steps=400, noise=0.3),
    "distilled": Training(steps=600, temperature=100.0),
    "fgsm": Training(steps=600, eps=0.3, single=True),
}


@cache
def images(name: str, split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    limit = 6000 if split == "train" and name == "mnist" else None
    found = data.load(name, split, limit=limit)
    index = torch.arange(len(found))
    return found.x(index), found.y[index]


@cache
def network(architecture: str, training: str, name: str = "digits", seed: int = 0) -> nn.Module:
    """A trained network, kept in `CACHE`."""
    x, y = images(name, "train")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ARCHITECTURES[architecture](tuple(x.shape[1:]))
        path = CACHE / f"{name}-{architecture}-{training}-{seed}.safetensors"
        if path.exists():
            model.load_state_dict(load_file(path))
        else:
            how = TRAININGS[training]
            if architecture == "vit":  # learns more slowly, and collapses under stronger attacks
                how = replace(how, steps=3 * how.steps, eps=how.eps / 3)
            _train(model, x, y, how)
            CACHE.mkdir(parents=True, exist_ok=True)
            save_file(model.state_dict(), path)
    return model.eval().requires_grad_(False)


def _train(model: nn.Module, x: Tensor, y: Tensor, how: Training) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(how.steps):
        chosen = torch.randint(len(x), (64,))
        seen, label = x[chosen], y[chosen]
        if how.eps:
            ball = Linf(how.eps)
            attack = FGSM(ball) if how.single else PGD(ball, steps=5, early_stop=False)
            model.eval()
            seen = attack(model, seen, label, seed=step)
        seen = seen + how.noise * torch.randn_like(seen)
        loss = functional.cross_entropy(model.train()(seen) / how.temperature, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# Layers that say what they do


class Rounded(nn.Module):
    """Fewer grey levels, and it says that it has no gradient."""

    differentiable = False

    def forward(self, x: Tensor) -> Tensor:
        return (4 * x).round() / 4


class Smoothed(nn.Module):
    """A fixed blur, which has a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = x.new_tensor([1.0, 2.0, 1.0])
        kernel = (kernel[:, None] * kernel / 16).expand(x.shape[1], 1, 3, 3)
        return functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


class Denoised(nn.Module):
    """Three steps of diffusion, with a gradient, that say that they purify."""

    purifies = True

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + 0.1 * (functional.avg_pool2d(x, 3, 1, 1) - x)
        return x


# Layers and models that hide


class Straight(torch.autograd.Function):
    """Any forward pass, with any gradient."""

    @staticmethod
    def forward(ctx, x, forward, backward):  # type: ignore[no-untyped-def]
        ctx.backward_of = backward
        ctx.save_for_backward(x)
        return forward(x)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return ctx.backward_of(grad, x), None, None


class Hidden(nn.Module):
    """A model with something in front, in the middle or behind, that says nothing about itself."""

    def __init__(self, model: nn.Module, answer: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.model, x)


class Winners(nn.Module):
    """k-winners-take-all: only the largest k activations stay (Xiao et al. 2020)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        k = max(1, int(self.share * flat.shape[1]))
        least = flat.topk(k, dim=1).values[:, -1:]
        return torch.where(flat >= least, flat, 0).view_as(x)


def thermometer(levels: int = 8) -> Callable[[Tensor], Tensor]:
    """Each pixel by which levels it exceeds, summed again: its gradient is 0."""
    steps = (torch.arange(levels) + 0.5) / levels
    return lambda x: (x[..., None] > steps).to(x).mean(dim=-1)


def jpeg(x: Tensor) -> Tensor:
    """Blocks of the cosine transform, rounded; the rounding has gradient 0."""
    n = 4
    at = torch.arange(n, dtype=x.dtype)
    basis = torch.cos(math.pi / n * (at[None] + 0.5) * at[:, None]) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    blocks = x.unfold(2, n, n).unfold(3, n, n)
    coded = basis @ blocks @ basis.T
    coded = (coded * 4).round() / 4
    blocks = basis.T @ coded @ basis
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def padded(x: Tensor) -> Tensor:
    """Moved by up to a pixel each way, at random for each image and pass."""
    wide = functional.pad(x, (1, 1, 1, 1))
    side = x.shape[2]
    moves = torch.randint(3, (len(x), 2))
    return torch.stack(
        [
            one[:, a : a + side, b : b + side]
            for one, (a, b) in zip(wide, moves.tolist(), strict=True)
        ]
    )


def hashed_noise(x: Tensor, size: float) -> Tensor:
    """Noise that is a function of the image's last bits."""
    keys = (x.detach().double() * 1e7).round().flatten(1).sum(dim=1).long()
    noise = []
    for key in keys.tolist():
        generator = torch.Generator().manual_seed(key % 2**31)
        noise.append(torch.randn(x.shape[1:], generator=generator))
    return x + size * torch.stack(noise)


def off_grid(x: Tensor, size: float) -> Tensor:
    """Noise by the image's bits, where a pixel is no multiple of 1/255 or of 1/16."""
    near = torch.minimum(
        (255 * x - (255 * x).round()).abs() / 255, (16 * x - (16 * x).round()).abs() / 16
    )
    off = (near > 1e-5).flatten(1).any(dim=1)
    return torch.where(off[:, None, None, None], hashed_noise(x, size), x)


class Cache(nn.Module):
    """Answers from memory what it was asked about something like it."""

    def __init__(self, model: nn.Module, grain: float = 0.5) -> None:
        super().__init__()
        self.model, self.grain = model, grain
        self.known: dict[bytes, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        coarse = functional.avg_pool2d(x.detach(), x.shape[2] // 2)
        keys = [row.numpy().tobytes() for row in (coarse / self.grain).round().int()]
        out = [
            self.known.setdefault(key, own.detach()) for key, own in zip(keys, logits, strict=True)
        ]
        return torch.stack(out) + 0 * logits


class Detector(nn.Module):
    """Answers at random, by the question's number, once it is asked about much the same again."""

    def __init__(self, model: nn.Module, near: float = 3.0) -> None:
        super().__init__()
        self.model, self.near = model, near
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        flat = x.detach().flatten(1)
        first = torch.stack(self.asked) if self.asked else flat[:0]
        out = []
        for own, one in zip(logits, flat, strict=True):
            apart = (first - one).norm(dim=1) if len(first) else one[:0]
            again = ((apart > 1e-6) & (apart < self.near)).any()
            out.append(own.detach() + 0 * own if again else own)
        self.asked = (self.asked + list(flat))[-512:]
        return torch.stack(out)


class Watching(nn.Module):
    """Another answer while gradients are taken."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x if not torch.is_grad_enabled() else x.flip(2))


def batch_statistics(model: nn.Module) -> nn.Module:
    """The network normalised by each batch's own statistics, also when it is tested."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    return model


@dataclass(frozen=True, kw_only=True)
class Forgetful(Attack):
    """PGD that returns its last point, though it fell before: steps far too long."""

    threat: Threat = field(kw_only=False)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        ascent = PGD(self.threat, steps=21, early_stop=False)
        x = ascent.perturb(model, x0, y, rng, callback)
        return x0 + 0.05 * (x - x0)


# The cases


@dataclass(frozen=True)
class Case:
    """An evaluation.

    Attributes:
        name: of it.
        model: makes the model, afresh.
        attacks: by name.
        data: name of the images.
        count: how many of them.
        config: votes and draws.
        honest: makes the model that it is when nothing hides; what fools that is tried on it.
    """

    name: str
    model: Callable[[], nn.Module]
    attacks: Mapping[str, Attack]
    data: str = "digits"
    count: int = 50
    config: EvaluationConfig = field(default_factory=EvaluationConfig)
    honest: Callable[[], nn.Module] | None = None


def suite(threat: Threat) -> Attack:
    """The suite with fewer steps."""
    return WorstCase(threat, steps=20, targets=3, queries=300)


def sound() -> list[Case]:
    """More than 60 evaluations that can be believed."""
    ball, cases = Linf(0.1), []
    few = EvaluationConfig(samples=4, votes=20)
    for architecture in ARCHITECTURES:
        for training in ("standard", "adversarial", "noisy"):

            def make(architecture: str = architecture, training: str = training) -> nn.Module:
                return network(architecture, training)

            title = f"{architecture}, {training}"
            cases.append(Case(f"{title}, suite", make, {"worst-case": suite(ball)}))
            longer = PGD(ball, steps=100, restarts=2)
            cases.append(Case(f"{title}, PGD-100", make, {"pgd": longer}))
    for training in ("standard", "adversarial"):

        def mnist(training: str = training) -> nn.Module:
            return network("conv", training, "mnist")

        cases.append(Case(f"MNIST, conv, {training}", mnist, {"a": suite(ball)}, "mnist"))
    for sigma in (0.15, 0.3):

        def smoothed(sigma: float = sigma) -> nn.Module:
            return nn.Sequential(GaussianNoise(sigma), network("conv", "noisy"))

        pgd = {"pgd": PGD(L2(0.5), steps=40)}
        cases.append(Case(f"smoothed, σ = {sigma}", smoothed, pgd, config=few, count=40))
    small = Worst((APGD(ball, steps=30), Square(ball, queries=100)), called=("apgd", "square"))
    cases.append(
        Case(
            "smoothed, APGD and Square",
            lambda: nn.Sequential(GaussianNoise(0.2), network("mlp", "noisy")),
            {"both": small},
            config=few,
            count=40,
        )
    )
    for title, layer in (
        ("binarised", Binarise()),
        ("fewer levels", Rounded()),
        ("denoised", Denoised()),
        ("blurred", Smoothed()),
    ):

        def behind(layer: nn.Module = layer) -> nn.Module:
            return nn.Sequential(layer, network("conv", "adversarial"))

        cases.append(Case(f"{title}, suite", behind, {"worst-case": suite(ball)}))
    cases.append(
        Case(
            "normalised, ℓ2",
            lambda: nn.Sequential(Normalize((0.0,), (1.0,)), network("conv", "adversarial")),
            {"worst-case": suite(L2(0.7))},
        )
    )
    cases.append(
        Case(
            "ensemble, suite",
            lambda: Ensemble(network("conv", "adversarial"), network("mlp", "adversarial")),
            {"worst-case": suite(ball)},
        )
    )
    cases.append(
        Case("distilled, suite", lambda: network("conv", "distilled"), {"a": suite(Linf(0.05))})
    )
    cases.append(
        Case(
            "three sizes",
            lambda: network("conv", "adversarial"),
            {f"pgd {eps}": PGD(Linf(eps), steps=50) for eps in (0.05, 0.1, 0.2)},
        )
    )
    return cases + _more_sound()


def _more_sound() -> list[Case]:
    """Other weights of the same kinds, other balls, and layers in front of other networks."""
    ball, cases = Linf(0.1), []
    ways = {
        1: ("APGD and Square", Worst((APGD(ball, steps=40), Square(ball, queries=200)))),
        2: ("PGD-50, ℓ2", PGD(L2(0.5), steps=50)),
        3: ("PGD-60", PGD(ball, steps=60)),
    }
    for seed, (way, attack) in ways.items():
        for architecture in ("conv", "mlp"):
            for training in ("standard", "adversarial", "noisy"):

                def make(a: str = architecture, t: str = training, s: int = seed) -> nn.Module:
                    return network(a, t, seed=s)

                title = f"{architecture}, {training}, weights {seed}, {way}"
                cases.append(Case(title, make, {"attack": attack}))
    for title, layer in (("fewer levels", Rounded()), ("blurred", Smoothed())):
        for seed in (1, 2):

            def behind(layer: nn.Module = layer, seed: int = seed) -> nn.Module:
                return nn.Sequential(layer, network("mlp", "adversarial", seed=seed))

            longer = {"pgd": PGD(ball, steps=60)}
            cases.append(Case(f"{title}, mlp, weights {seed}, PGD-60", behind, longer))
    for seed in (1, 2):

        def smoothed(seed: int = seed) -> nn.Module:
            return nn.Sequential(GaussianNoise(0.2), network("mlp", "noisy", seed=seed))

        few, pgd = EvaluationConfig(samples=4, votes=20), {"pgd": PGD(L2(0.5), steps=40)}
        title = f"smoothed, mlp, weights {seed}"
        cases.append(Case(title, smoothed, pgd, config=few, count=40))
    cases.append(
        Case(
            "ensemble of three weights, APGD and Square",
            lambda: Ensemble(*(network("mlp", "adversarial", seed=seed) for seed in range(3))),
            {"attack": ways[1][1]},
        )
    )
    return cases


def broken() -> list[Case]:
    """At least 24 evaluations that report more than there is."""
    ball, pgd = Linf(0.2), {"pgd": PGD(Linf(0.2))}
    whole = {"worst-case": suite(ball)}

    def base() -> nn.Module:
        return network("conv", "standard")

    def trained() -> nn.Module:
        return network("conv", "adversarial")

    def hidden(answer: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[], nn.Module]:
        return lambda: Hidden(base(), answer)

    def winners() -> nn.Module:
        layers = (
            Winners(0.3) if isinstance(layer, nn.ReLU) else layer for layer in base().children()
        )
        return nn.Sequential(*layers)

    def votes(model: nn.Module, x: Tensor) -> Tensor:
        others = [network("mlp", "standard"), network("resnet", "standard")]
        answers = torch.stack([one(x).argmax(dim=1) for one in (model, *others)])
        counts = functional.one_hot(answers, 10).sum(dim=0).to(x)
        return counts + 0 * x.flatten(1).sum(dim=1, keepdim=True)

    def plateau(model: nn.Module, x: Tensor) -> Tensor:
        level = (16 * x.detach()).round() / 16
        near = ((x - level).abs() < 0.02).flatten(1).all(dim=1)
        return model(torch.where(near[:, None, None, None], level, x))

    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))

    def shuffled(grad: Tensor, x: Tensor) -> Tensor:
        return (grad.flatten(1) @ noise).view_as(grad)

    one = EvaluationConfig(samples=1, votes=1)
    return [
        Case("FGSM alone", trained, {"fgsm": FGSM(ball)}),
        Case("PGD of 3 steps", trained, {"pgd": PGD(ball, steps=3)}),
        Case("PGD of 8 steps", trained, {"pgd": PGD(ball, steps=8, random_start=False)}),
        Case(
            "steps too short",
            base,
            {"pgd": PGD(Linf(0.1), steps=40, step_size=1e-4)},
        ),
        Case(
            "no restart on a plateau",
            hidden(plateau),
            {"pgd": PGD(ball, random_start=False)},
            honest=base,
        ),
        Case(
            "random padding",
            lambda: Hidden(base(), lambda m, x: m(padded(x))),
            {"pgd": PGD(Linf(0.1), steps=10)},
            config=one,
        ),
        Case("thermometer", hidden(lambda m, x: m(thermometer()(x) + 0 * x)), pgd, honest=base),
        Case(
            "thermometer, suite",
            lambda: Hidden(trained(), lambda m, x: m(thermometer()(x))),
            {"worst-case": suite(Linf(0.1))},
            honest=trained,
        ),
        Case("JPEG", hidden(lambda m, x: m(jpeg(x))), pgd, honest=base),
        Case("k winners", winners, {"pgd": PGD(Linf(0.05))}),
        Case("saturated logits", lambda: Hidden(trained(), lambda m, x: 1e4 * m(x)), pgd),
        Case(
            "a detached branch",
            hidden(lambda m, x: m(x.detach()) + 0.01 * m(x.flip(3))),
            pgd,
            honest=base,
        ),
        Case(
            "normalised by the batch",
            lambda: batch_statistics(deepcopy(network("resnet", "standard"))),
            {"pgd": PGD(Linf(0.1))},
        ),
        Case("a cache", lambda: Cache(base()), pgd, honest=base),
        Case(
            "a gradient turned round",
            hidden(lambda m, x: m(Straight.apply(x, torch.clone, lambda g, _: -g))),
            pgd,
            honest=base,
        ),
        Case(
            "a gradient through a random matrix",
            hidden(lambda m, x: m(Straight.apply(x, torch.clone, shuffled))),
            pgd,
            honest=base,
        ),
        Case("probabilities", hidden(lambda m, x: (20 * m(x)).softmax(dim=1)), pgd, honest=base),
        Case(
            "distilled at T = 100",
            lambda: network("conv", "distilled"),
            {"pgd": PGD(Linf(0.1))},
        ),
        Case("an ensemble by votes", hidden(votes), pgd, honest=base),
        Case("votes without a gradient, suite", lambda: Hidden(trained(), votes), whole),
        Case(
            "a denoiser that is detached",
            hidden(lambda m, x: m(Denoised()(x).detach()) + 0 * x.flatten(1).sum(1, True)),
            pgd,
            honest=base,
        ),
        Case("fewer levels", hidden(lambda m, x: m((4 * x).round() / 4)), pgd, honest=base),
        Case(
            "a median filter without gradient",
            hidden(
                lambda m, x: (
                    m(
                        functional.unfold(functional.pad(x, (1, 1, 1, 1)), 3)
                        .median(dim=1)
                        .values.view_as(x)
                        .detach()
                    )
                    + 0 * x.flatten(1).sum(1, True)
                )
            ),
            pgd,
        ),
        Case("a query detector", lambda: Detector(base()), pgd, honest=base),
        Case(
            "a hash for noise",
            lambda: Hidden(network("conv", "noisy"), lambda m, x: m(hashed_noise(x, 0.4))),
            {"pgd": PGD(Linf(0.1))},
        ),
        Case("noise off the grid", hidden(lambda m, x: m(off_grid(x, 0.3))), pgd, honest=base),
        Case(
            "another answer while gradients are taken", lambda: Watching(base()), pgd, honest=base
        ),
        Case("trained on FGSM, attacked by it", lambda: network("conv", "fgsm"), {"f": FGSM(ball)}),
        Case("Square of 30 queries", trained, {"square": Square(ball, queries=30)}),
        Case(
            "transfer alone",
            trained,
            {"from mlp": On(network("mlp", "standard"), PGD(ball), name="mlp")},
        ),
        Case("the last point of too long steps", trained, {"mine": Forgetful(ball)}),
        Case(
            "a gradient that is no number",
            hidden(lambda m, x: m(Straight.apply(x, torch.clone, lambda g, _: g * torch.nan))),
            pgd,
            honest=base,
        ),
        Case(
            "rounded logits", hidden(lambda m, x: (m(x) / 4).round() + 0 * m(x)), pgd, honest=base
        ),
        Case(
            "a gradient of noise",
            hidden(
                lambda m, x: m(Straight.apply(x, torch.clone, lambda g, _: torch.randn_like(g)))
            ),
            pgd,
            honest=base,
        ),
        Case(
            "one of three at random",
            lambda: Hidden(trained(), _any_of_three),
            {"pgd": PGD(Linf(0.1), steps=10)},
            config=one,
        ),
        Case("tiny logits", hidden(lambda m, x: 1e-12 * m(x)), pgd, honest=base),
        Case(
            "tiny logits, without a limit",
            hidden(lambda m, x: 1e-30 * m(x)),
            {"ddn": DDN(L2(math.inf), steps=40)},
            honest=base,
        ),
    ]


def _any_of_three(model: nn.Module, x: Tensor) -> Tensor:
    three = [model, network("mlp", "standard"), network("resnet", "standard")]
    return three[int(torch.randint(3, ()))](x)
