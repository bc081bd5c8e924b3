"""What a diagnosis finds, on the points of the plane or on digits."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor, nn

from holdfast import diagnose
from holdfast.attacks import FGSM, IFGSM, PGD, Attack, On, Spatial
from holdfast.data import Data
from holdfast.defenses import MALADE
from holdfast.goals import cross_entropy
from holdfast.random import Stream
from holdfast.threat import L2, Linf
from holdfast.training import IBP, Standard
from tools.site import canvas, pixels, plane
from tools.site.defences import Denoiser

_BALL = Linf(0.2)
_LONG = PGD(_BALL, steps=15, early_stop=False)


def draw(name: str) -> bytes | None:
    """The picture of a diagnosis; None of one that is not known here."""
    return canvas.svg(_DRAWN[name](), name) if name in _DRAWN else None


def _adversarial_directions() -> Figure:
    orders = (1, 2, 4, 8, 16)
    x, y = pixels.images(24)
    counts = diagnose.adversarial_directions(pixels.network(), x, y, L2(2.0), orders=orders)
    figure, axes = canvas.graph("orthogonal directions tried", "of them fool, each image")
    for count in counts.tolist():
        axes.plot(orders, count, color=canvas.FAINT, lw=0.6)
    axes.plot(orders, counts.float().mean(dim=0), color=canvas.MAIN, lw=2.2, label="mean")
    axes.plot(orders, orders, color=canvas.BESIDE, ls=":", lw=1, label="all")
    axes.legend(frameon=False)
    return figure


def _fractions() -> Figure:
    x, y = pixels.images(24)
    figure, axes = canvas.graph("k", "images with k directions or more")
    for eps, colour in ((1.0, canvas.FAINT), (2.0, canvas.MAIN)):
        counts = diagnose.adversarial_directions(
            pixels.network(), x, y, L2(eps), orders=(1, 2, 4, 8, 16)
        )
        found = diagnose.fraction_with_at_least(counts)
        axes.step(np.arange(1, len(found) + 1), found, color=colour, lw=2, label=f"ℓ2 {eps:g}")
    axes.legend(frameon=False)
    return figure


def _convergence() -> Figure:
    model = plane.network()
    epochs: dict[int, nn.Module] = {}
    for epoch in range(6):
        epochs[epoch] = plane.network()
        epochs[epoch].load_state_dict(model.state_dict())
        plane.learn(model, Standard(), steps=8)
    found = diagnose.convergence({e: each.eval() for e, each in epochs.items()}, *plane.points())
    figure, axes = canvas.graph("epoch", "accuracy")
    axes.plot(found["epoch"], found["accuracy"], color=canvas.BESIDE, label="accuracy")
    other = axes.twinx()
    other.plot(found["epoch"], found["rho2"], color=canvas.MAIN, lw=2.2)
    other.set_ylabel("ρ₂", color=canvas.MAIN)
    return figure


def _diagnose_data() -> Figure:
    """A number for each image."""

    def look(
        model: nn.Module, x: Tensor, y: Tensor, *, seed: int, index: Tensor
    ) -> dict[str, Tensor]:
        return {"confidence": model(x).softmax(dim=1).amax(dim=1).detach()}

    diagnosis = diagnose.Diagnosis("confidence", {}, look, lambda found: {})
    x, y = pixels.images(6)
    found = diagnose.diagnose_data(diagnosis, {"net": pixels.network()}, Data.of(x, y))["net"]
    return canvas.strip(x[:, 0], [f"confidence {value:.2f}" for value in found["confidence"]])


@cache
def _answers() -> dict[str, Tensor]:
    """What three networks answer on images of FGSM, of PGD and of a rotation, made on another."""
    models = {str(seed): pixels.network(seed) for seed in (1, 2, 3)}
    x, y = pixels.images(24)
    attacks = {
        "FGSM": FGSM(_BALL),
        "PGD": _LONG,
        "rotation": Spatial(Linf(float("inf")), angles=(40.0,)),
    }
    found = {name: attack(pixels.network(), x, y) for name, attack in attacks.items()}
    return {name: diagnose.predictions(models, x_adv) for name, x_adv in found.items()}


def _discrepancy() -> Figure:
    answers = _answers()
    figure, axes = canvas.graph("", "discrepancy to FGSM")
    others = [name for name in answers if name != "FGSM"]
    values = [diagnose.discrepancy([answers["FGSM"]], answers[name]).value for name in others]
    axes.bar(others, values, color=(canvas.MAIN, canvas.BESIDE), width=0.5)
    return figure


def _predictions() -> Figure:
    figure, axes = canvas.graph("image", "network")
    axes.pcolormesh(_answers()["FGSM"].numpy(), cmap="tab10", vmin=0, vmax=9, edgecolor="face")
    axes.set(yticks=(0.5, 1.5, 2.5), yticklabels=("1", "2", "3"))
    return figure


def _gradient_norms() -> Figure:
    x, y = pixels.images(24)
    norms, _ = diagnose.gradient_norms(pixels.network(), x, y, _LONG)
    figure, axes = canvas.graph("iterate", "‖∇L‖₂")
    axes.plot(norms, color=canvas.FAINT, lw=0.5)
    axes.plot(norms.mean(dim=1), color=canvas.MAIN, lw=2.2, label="mean")
    axes.legend(frameon=False)
    return figure


def _interval_bounds() -> Figure:
    x, y = plane.points()
    sizes = np.linspace(0, 0.08, 17)
    figure, axes = canvas.graph("ε, ℓ∞", "certified")
    trained = plane.learn(plane.network(), IBP(Linf(plane.ROOM / 2)))
    for model, label, colour in (
        (trained, "trained by IBP", canvas.MAIN),
        (plane.plain(), "plainly", canvas.BESIDE),
    ):
        found = [diagnose.interval_bounds(model, x, y, Linf(eps)).certified for eps in sizes]
        axes.plot(sizes, [float(each.float().mean()) for each in found], color=colour, label=label)
    axes.legend(frameon=False)
    return figure


def _leading_eigenvector() -> Figure:
    """Along which direction the loss bends most, point by point, and how much."""
    figure, axes = canvas.square()
    model = plane.plain()
    canvas.regions(axes, model)
    line = torch.linspace(0.05, 0.95, 13)
    x = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)
    score = cross_entropy(model, x, model(x).argmax(dim=1))
    found = diagnose.leading_eigenvector(score, x, Stream.of(0, torch.arange(len(x))), iterations=2)
    size = found.value.clamp(min=0).sqrt()[:, None]
    step = found.vector.flatten(1) * 0.07 * size / size.max()
    ends = torch.stack((x.flatten(1) - step / 2, x.flatten(1) + step / 2))
    axes.plot(*ends.permute(2, 0, 1), color=canvas.MAIN, lw=1.6)
    return figure


def _linearity() -> Figure:
    x, y = pixels.images(24)
    figure, axes = canvas.graph("ε, ℓ∞", "loss of one step / of ten")
    sizes = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
    ratios = []
    for eps in sizes:
        many = IFGSM(Linf(eps), early_stop=False)
        ratios.append(diagnose.linearity(pixels.network(), x, y, FGSM(Linf(eps)), many).ratio)
    axes.plot(sizes, torch.stack(ratios), color=canvas.FAINT, lw=0.5)
    axes.plot(sizes, torch.stack(ratios).nanmean(dim=1), color=canvas.MAIN, lw=2.2, label="mean")
    axes.legend(frameon=False)
    return figure


def _live_filters() -> Figure:
    x, _ = pixels.images(24)
    network = deepcopy(pixels.network())
    bias = dict(network.named_parameters())["0.bias"]
    with torch.no_grad():
        bias[[2, 5]] -= 4  # two die, as of too large a rate
    (live,) = diagnose.live_filters(network, x).values()
    figure, axes = canvas.graph("image", "filter")
    axes.pcolormesh(live.T.float().numpy(), cmap="Oranges", vmin=-0.4, vmax=1.6, edgecolor="white")
    return figure


def _loss_surface() -> Figure:
    x, y = (each[:1] for each in pixels.images(4))
    g, across = diagnose.signed_directions(pixels.network(), pixels.network(1), x, y)
    found = diagnose.loss_surface(pixels.network(), x, y, g, across, reach=0.4, points=25)
    figure, axes = canvas.graph("ε₁, along g", "ε₂, along g⊥")
    lines = axes.contour(found.along, found.across, found.loss[0].T, levels=10, cmap="viridis")
    axes.clabel(lines, fontsize=7)
    axes.plot(0, 0, "o", color=canvas.BESIDE, ms=6)
    return figure


def _signed_directions() -> Figure:
    x, y = (each[:1] for each in pixels.images(4))
    both = diagnose.signed_directions(pixels.network(), pixels.network(1), x, y)
    figure = Figure(figsize=(3.6, 1.5), layout="constrained")
    for i, (image, name, colours, least) in enumerate(
        ((x, "x", "Greys", 0), (both[0], "g", "RdBu", -1), (both[1], "g⊥", "RdBu", -1))
    ):
        axes = figure.add_subplot(1, 3, i + 1)
        canvas.pixels(axes, image[0, 0], colours, least)
        axes.set_title(name, fontsize=9)
    return figure


def _margins() -> Figure:
    figure, axes = canvas.square()
    model, (x, y) = plane.plain(), plane.points()
    canvas.regions(axes, model)
    found = diagnose.margins(model, x, y)
    for (a, b), far in zip(x.flatten(1).tolist(), found.l2.tolist(), strict=True):
        axes.add_patch(Circle((a, b), far, fill=False, edgecolor=canvas.MAIN, lw=1.2))
    plane.scatter(axes)
    return figure


def _perceptual() -> Figure:
    x, y = (each[:1] for each in pixels.images(4))
    large = nn.functional.interpolate(x, scale_factor=2, mode="bilinear").clamp(0, 1)
    turned = Spatial(Linf(float("inf")), angles=(10.0,))(pixels.network(), large, y)
    noise = large + 0.25 * (
        torch.rand(large.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    )
    shown = torch.cat((large, turned, noise.clamp(0, 1)))
    scores, _ = diagnose.perceptual_similarity(large.expand_as(shown), shown)
    words = [f"{w}: {s:.2f}" for w, s in zip(("itself", "turned", "noise"), scores, strict=True)]
    return canvas.strip(shown[:, 0], words)


def _chain(steps: int = 25) -> nn.Module:
    """In front of the digits' network, with the best denoiser that there is for them."""
    images, _ = pixels.images(24)
    layer = MALADE(Denoiser(images, 0.4), steps=steps, alpha=0.02, delta=0.02, sigma=0.4)
    return nn.Sequential(layer, pixels.network()).eval()


@cache
def _attacked() -> tuple[Tensor, Tensor, Mapping[str, Mapping[str, Attack]]]:
    """An image that is fooled, its label, and the attack on it, made without the chain."""
    x, y = pixels.images(24)
    bare, attack = pixels.network(), PGD(Linf(0.2), steps=10)
    first = torch.nonzero(bare(attack(bare, x, y)).argmax(dim=1) != y)[0]
    return x[first], y[first], {"net": {"transfer": On(bare, attack, name="bare")}}


def _purification() -> Figure:
    image, label, attacks = _attacked()
    table, _ = diagnose.purification({"net": _chain()}, image, int(label), attacks, steps=range(26))
    figure, axes = canvas.graph("step of the chain", "probability of the label")
    chain = table[table["step"] >= 0]
    axes.plot(chain["step"], chain["p_label"], color=canvas.MAIN, lw=2.2)
    axes.set(ylim=(-0.02, 1.02))
    return figure


def _trace() -> Figure:
    image, label, attacks = _attacked()
    data, steps = Data.of(image, label), [0, 2, 5, 10, 25]
    table, pictures = diagnose.trace_purification({"net": _chain()}, data, 0, attacks, steps)
    words = ["clean" if step < 0 else f"step {step}" for step in table["step"]]
    return canvas.strip(pictures[:, 0].clamp(0, 1), words)


def _hadamard() -> Figure:
    figure, axes = canvas.square()
    canvas.pixels(axes, diagnose.regular_hadamard(16), "Oranges", -1)
    axes.set(xlim=(0, 16), ylim=(0, 16))
    return figure


def _cosines() -> Figure:
    x, y = pixels.images(24)
    found = diagnose.second_order_cosines(
        pixels.network(), x, y, xi=0.8, sigma=0.1, samples=10, iterations=12
    )
    kinds = {
        "∇L(x)": found.gradient,
        "∇L(x + ξd)": found.one_draw,
        "mean of 10": found.mean_of_draws,
    }
    figure, axes = canvas.graph("", "|cos| to the leading eigenvector")
    axes.boxplot(list(kinds.values()), tick_labels=list(kinds), medianprops={"color": canvas.MAIN})
    axes.axhline(found.chance, color=canvas.FAINT, ls=":", lw=1)
    axes.set(ylim=(0, 1))
    return figure


_DRAWN: Mapping[str, Callable[[], Figure]] = {
    "adversarial_directions": _adversarial_directions,
    "convergence": _convergence,
    "diagnose_data": _diagnose_data,
    "discrepancy": _discrepancy,
    "fraction_with_at_least": _fractions,
    "gradient_norms": _gradient_norms,
    "interval_bounds": _interval_bounds,
    "leading_eigenvector": _leading_eigenvector,
    "linearity": _linearity,
    "live_filters": _live_filters,
    "loss_surface": _loss_surface,
    "margins": _margins,
    "perceptual_similarity": _perceptual,
    "predictions": _predictions,
    "purification": _purification,
    "regular_hadamard": _hadamard,
    "second_order_cosines": _cosines,
    "signed_directions": _signed_directions,
    "trace_purification": _trace,
}
