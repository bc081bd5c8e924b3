"""``holdfast diagnose``, image by image: a function of the diagnosis's own options each."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from holdfast import data as datasets
from holdfast.attacks import Attack
from holdfast.cli import registry
from holdfast.cli.diagnosing import Shared, Shown, command
from holdfast.cli.options import Counts, Number, Numbers, Words
from holdfast.diagnose import (
    Diagnosis,
    adversarial_directions,
    fraction_with_at_least,
    gradient_norms,
    interval_bounds,
    live_filters,
    loss_surface,
    margins,
    perceptual_similarity,
    predictions,
    second_order_cosines,
    signed_directions,
)
from holdfast.diagnose import linearity as linearity_of
from holdfast.diagnose.by_image import Found
from holdfast.errors import InputError
from holdfast.models import Centred, loading, mean_image
from holdfast.report import diagnoses as figures
from holdfast.report.comparison import Compared, compared
from holdfast.tensors import fingerprint
from holdfast.training import kept_epochs
from holdfast.types import Images, Labels, Model


@command()
def linearity(
    *,
    single: str = "fgsm",
    multi: str = "i-fgsm(early_stop=False)",
    norm: str = "linf",
    eps: Number = Number(0.1),
) -> Shown:
    """Compare one step of an attack with many: where they differ, the gradient is masked.

    The approximation ratio is the loss after one step over the larger of the losses after one and
    after many; EAT does not say of which mean it speaks, so that both are told: the mean of the
    ratios, and the ratio of the mean losses. The cosine is between the two perturbations (EAT,
    section 4 and table 6).

    Example:
        holdfast diagnose linearity --model runs/natural,runs/adversarial --eps 0.3 --out runs/near

    Args:
        single: Attack of one step, as of evaluate.
        multi: Attack of many steps, with early_stop=False.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale.
    """
    threat = registry.threat(norm, eps)
    one, many = registry.attack(single, threat), registry.attack(multi, threat)

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        return vars(linearity_of(model, x, y, one, many, seed=seed, index=index))

    def ratio(found: Found) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # where both losses are 0, nothing can be said
            return found["single_loss"] / found["best_loss"]

    def summary(found: Found) -> dict[str, float]:
        means = {name: found[name].mean() for name in ("clean_loss", "single_loss", "best_loss")}
        return {
            "mean_of_ratios": _mean(ratio(found)),
            "ratio_of_means": ratio(means).item() if means["best_loss"] > 0 else math.nan,
            "cosine": _mean(found["cosine"]),
            **means,
            "gradient_norm": _mean(found["gradient_norm"]),
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        models = [(name, ratio(of), of["cosine"]) for name, of in found.items()]
        return {"linearity": figures.linearity(models)}

    settings = {"single": repr(one), "multi": repr(many)}
    return Shown(Diagnosis("linearity", settings, look, summary), drawn)


@command()
def ibp(*, norm: str = "linf", eps: Numbers = Numbers((0.1,))) -> Shown:
    """Certify a network without noise, by interval bound propagation.

    An image is certified at a size if the bounds of all other logits stay below that of its label
    over the whole ball: no attack of that size can change the answer. Networks that were not
    trained for it, as --objective ibp does, are certified at tiny sizes alone.

    Example:
        holdfast diagnose ibp --model runs/ibp --data mnist --eps 0.1,0.2,0.3

    Args:
        norm: Norm of the ball: linf or l2.
        eps: Sizes of the ball between commas, on the [0, 1] scale.
    """
    threats = {size: registry.threat(norm, size) for size in eps}
    if not threats:
        raise InputError("--eps is empty; give at least one size, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        del seed, index  # nothing is drawn
        found = {size: interval_bounds(model, x, y, threat) for size, threat in threats.items()}
        return {
            "right": next(iter(found.values())).right,
            **{f"margin_{size:g}": of.margin for size, of in found.items()},
            **{f"certified_{size:g}": of.certified for size, of in found.items()},
        }

    def summary(found: Found) -> dict[str, float]:
        proven = {f"certified_{size:g}": _mean(found[f"certified_{size:g}"]) for size in threats}
        return {"accuracy": _mean(found["right"]), **proven}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        curves = [
            Compared(
                name,
                [(size, of[f"certified_{size:g}"].mean(), math.nan, math.nan) for size in threats],
                printed=[],
            )
            for name, of in found.items()
        ]
        where = f"size of the ball, {norm}"
        return {"ibp": compared(where, "certified accuracy", curves, percent=True)}

    settings = {"norm": norm, "eps": list(threats)}
    return Shown(Diagnosis("ibp", settings, look, summary), drawn)


@command()
def gradient_norm(
    *,
    attacks: Words = Words(("pgd(early_stop=False)",)),
    norm: str = "linf",
    eps: Number = Number(0.1),
) -> Shown:
    r"""Follow the norm of the exact gradient over the iterations of attacks.

    It is taken at every iterate of every image, whatever gradient the attack itself follows; where
    it vanishes, an attack of the first order has nothing to go by (SO, figure 2, left).

    Example:
        holdfast diagnose gradient-norm --model runs/net --eps 0.3 \
            --attacks "pgd(early_stop=False),second-order(early_stop=False)" --out runs/norms

    Args:
        attacks: Attacks of so many steps for every image, between commas, as of evaluate: each with
            early_stop=False.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale.
    """
    threat = registry.threat(norm, eps)
    named = {spec: _whole(spec, registry.attack(spec, threat)) for spec in attacks}
    if not named:
        raise InputError("--attacks is empty; give at least one, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        return {
            spec: gradient_norms(model, x, y, attack, seed=seed, index=index)[0].T.contiguous()
            for spec, attack in named.items()
        }

    def summary(found: Found) -> dict[str, float]:
        ends = {}
        for spec in named:
            ends[f"{spec}: first"], ends[f"{spec}: last"] = found[spec][:, [0, -1]].mean(axis=0)
        return ends

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        several = len(found) > 1
        lines = [
            (f"{name}, {spec}" if several else spec, of[spec].T)
            for name, of in found.items()
            for spec in named
        ]
        return {"gradient-norm": figures.gradient_norms(lines)}

    settings = {"attacks": {spec: repr(attack) for spec, attack in named.items()}}
    return Shown(Diagnosis("gradient norm", settings, look, summary), drawn)


def _whole(spec: str, attack: Attack) -> Attack:
    if getattr(attack, "early_stop", None) is not False:
        raise InputError(
            f"--attacks has {spec}, whose images may stop where they fool; a mean over all images "
            "needs an attack with early_stop=False, such as pgd(early_stop=False)."
        )
    return attack


@command(images=2)
def surface(
    *,
    other: str,
    eps: Number = Number(0.3),
    points: int = 41,
) -> Shown:
    r"""Show the loss on the plane through an image along two signed gradients.

    The loss at x + a g + b h, where g is the sign of the model's gradient, and h the vector of
    signs orthogonal to g that follows the gradient of another model best (EAT, figures 1, 4 and 5).
    Every image has a figure from above for each model, and one of landscapes with all of them.

    Example:
        holdfast diagnose surface --model runs/natural,runs/adversarial --other runs/static \
            --data mnist --eps 0.3 --out runs/surface

    Args:
        other: Model whose gradient gives the second direction, trained independently.
        eps: Largest a and b, on the [0, 1] scale.
        points: Along each side of the grid; odd, so that the image itself is one.
    """
    if not (eps > 0 and math.isfinite(eps) and points >= 2):
        raise InputError(
            f"--eps is {eps:g} and --points {points}, but a surface needs a finite positive size "
            "and at least 2 points a side."
        )
    second = loading.load(other).eval()

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        across = second.to(x.device)
        g, h = signed_directions(model, across, x, y, seed=seed, index=index)
        grid = loss_surface(model, x, y, g, h, eps, points=points, seed=seed, index=index)
        clean = predictions({"model": model}, x, seed=seed)[0]
        return {
            "prediction": clean,
            "fooled": (grid.prediction != y[:, None, None]),
            "loss": grid.loss,
            "g": g,
            "across": h,
        }

    def summary(found: Found) -> dict[str, float]:
        return {
            "least_loss": _mean(found["loss"].min(axis=(1, 2))),
            "largest_loss": _mean(found["loss"].max(axis=(1, 2))),
            "fooled": float(found["fooled"].mean()),
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        along = np.linspace(-eps, eps, points)
        made = {}
        for place, image in enumerate(next(iter(found.values()))["index"]):
            for number, (name, of) in enumerate(found.items()):
                made[f"surface-{image}-{number}"] = figures.surface(
                    along, along, of["loss"][place], of["fooled"][place], title=name
                )
            losses = [(name, of["loss"][place]) for name, of in found.items()]
            made[f"landscape-{image}"] = figures.surface_3d(along, along, losses)
        return made

    settings = {
        "other": other,
        "other_fingerprint": fingerprint(second),
        "eps": float(eps),
        "points": points,
    }
    return Shown(Diagnosis("loss surface", settings, look, summary), drawn)


@command()
def subspace(
    *,
    norm: str = "linf",
    eps: Number = Number(0.1),
    orders: Counts = Counts((1, 4, 16, 36)),
) -> Shown:
    r"""Count the orthogonal directions around each image in which a model is fooled (GAAS).

    Of images that the model gets right; the others have none counted. An image has as many as the
    best of the orders finds (EAT, section 4.2, appendix E and figure 2), a lower bound.

    Example:
        holdfast diagnose subspace --model runs/net --data mnist --eps 0.3 \
            --orders 1,4,16,36,64,100 --out runs/subspace

    Args:
        norm: Norm of the directions: linf or l2.
        eps: Their size, on the [0, 1] scale.
        orders: Numbers of directions to try, between commas; in linf of 1, 4, 16, 36, 64, 100, in
            l2 any, and at most as many as an image has values.
    """
    threat = registry.threat(norm, eps)
    if not orders:
        raise InputError("--orders is empty; give at least one, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        answer = predictions({"model": model}, x, seed=seed)[0]
        # Where the answer is right, it is the label; where not, nothing is counted.
        counts = adversarial_directions(model, x, answer, threat, orders, seed=seed, index=index)
        right = answer == y
        counts = torch.where(right[:, None], counts, -1)
        return {"right": right.int(), "directions": counts.amax(dim=1), "counts": counts}

    def fractions(found: Found) -> np.ndarray:
        counts = torch.from_numpy(found["counts"][found["right"] == 1])
        return fraction_with_at_least(counts).numpy() if len(counts) else np.zeros(1)

    def summary(found: Found) -> dict[str, float]:
        most = found["directions"][found["right"] == 1]
        return {
            "right": _mean(found["right"]),
            "at_least_one": _mean(most >= 1),
            "mean_directions": _mean(most),
            "most_directions": float(most.max()) if len(most) else math.nan,
        }

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        return {
            "subspace": figures.directions([(name, fractions(of)) for name, of in found.items()])
        }

    settings = {"threat": repr(threat), "orders": list(orders)}
    return Shown(Diagnosis("orthogonal directions", settings, look, summary), drawn)


@command()
def curvature(
    *,
    xi: Number = Number(0.1),
    sigma: Number = Number(0.1),
    samples: int = 10,
    iterations: int = 30,
) -> Shown:
    """Measure how near the second-order attack comes to the Hessian's leading eigenvector.

    |cos| to the leading eigenvector, at each image, of its gradient, of the gradient after one unit
    draw (SO, equation 3) and of the mean gradient over Gaussian draws (equation 4), beside what a
    random direction has.

    Example:
        holdfast diagnose curvature --model runs/net --images 100 --xi 2.8 --out runs/curvature

    Args:
        xi: Length of the unit draw of equation 3; sigma times the root of the image's size is as
            long as the draws of equation 4.
        sigma: Standard deviation of the draws of equation 4.
        samples: Draws that equation 4 averages over.
        iterations: Hessian-vector products that look for the eigenvector.
    """
    kinds = {
        "gradient": "gradient",
        "one_draw": "one unit draw (eq. 3)",
        "mean_of_draws": "mean of draws (eq. 4)",
    }

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        found = second_order_cosines(
            model,
            x,
            y,
            xi=xi,
            sigma=sigma,
            samples=samples,
            iterations=iterations,
            seed=seed,
            index=index,
        )
        return {
            **{kind: getattr(found, kind) for kind in kinds},
            "eigenvalue": found.leading.value,
            "residual": found.leading.residual,
            "eigenvector": found.leading.vector,
        }

    def chance(found: Found) -> float:
        return float((2 / (math.pi * found["eigenvector"][0].size)) ** 0.5)

    def summary(found: Found) -> dict[str, float]:
        names = (*kinds, "eigenvalue", "residual")
        return {**{name: _mean(found[name]) for name in names}, "chance": chance(found)}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        lines = [
            (f"{name}, {label}" if len(found) > 1 else label, of[kind])
            for name, of in found.items()
            for kind, label in kinds.items()
        ]
        return {"curvature": figures.cosines(lines, chance(next(iter(found.values()))))}

    settings = {
        "xi": float(xi),
        "sigma": float(sigma),
        "samples": samples,
        "iterations": iterations,
    }
    return Shown(Diagnosis("curvature", settings, look, summary), drawn)


@command()
def filters() -> Shown:
    """Count the filters that give 0 on every image: a network of few is none to judge by.

    A filter is a channel of what a ReLU makes of a convolution. Too large a rate kills them before
    they learn, above all against a strong training attack, and what is left may still be accurate.

    Example:
        holdfast diagnose filters --model runs/net --data mnist --images 500
    """

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        del y  # nothing hangs on it
        found = live_filters(model, x, seed=seed, index=index)
        return {f"layer {name}": alive for name, alive in found.items()}

    def summary(found: Found) -> dict[str, float]:
        alive = {name: of.any(axis=0) for name, of in found.items() if name.startswith("layer ")}
        every = np.concatenate(list(alive.values()))
        return {
            "filters": float(every.size),
            "dead": float((~every).mean()),
            "dead_in_worst_layer": max(float((~of).mean()) for of in alive.values()),
            **{f"{name}: dead": float((~of).mean()) for name, of in alive.items()},
        }

    return Shown(Diagnosis("live filters", {}, look, summary), lambda _: {})


@command()
def perceptual(
    *,
    attack: str = "deepfool",
    norm: str = "l2",
    eps: Number = Number(math.inf),
) -> Shown:
    """Score how much adversarial images look like the images that they were made of (PASS).

    Structural similarity after an alignment, 1 for images that look the same; of the images that
    the model gets right and that the attack makes it get wrong (DD, supplement, table 2). Needs
    pip install "holdfast[pass]".

    Example:
        holdfast diagnose perceptual --model runs/natural,runs/deep-defense --out runs/pass

    Args:
        attack: Attack that makes them, as of evaluate.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale; inf for no limit, with attacks that look for the
            smallest perturbation.
    """
    made = registry.attack(attack, registry.threat(norm, eps))

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        x_adv = made(model, x, y, seed=seed, index=index)
        both = [predictions({"model": model}, part, seed=seed)[0] == y for part in (x, x_adv)]
        fooled = both[0] & ~both[1]
        score, aligned = perceptual_similarity(x, x_adv)
        return {
            "fooled": fooled.int(),
            "score": score.to(x.device),
            "aligned": aligned.int(),
            "x_adv": x_adv,
        }

    def scores(found: Found) -> np.ndarray:
        return found["score"][found["fooled"] == 1]

    def summary(found: Found) -> dict[str, float]:
        return {"fooled": _mean(found["fooled"]), "pass": _mean(scores(found))}

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        models = [(name, scores(of)) for name, of in found.items()]
        return {"perceptual": figures.similarities(models)}

    return Shown(Diagnosis("perceptual similarity", {"attack": repr(made)}, look, summary), drawn)


@command()
def margin(*, steps: int = 5, overshoot: float = 0.02, box: bool = False, _told: Shared) -> Shown:
    """Measure how far images are from the boundary, as Deep Defense's authors do.

    Their rho_2: DeepFool without a box, of few steps, from the class that is predicted, also for
    misclassified images; relative to the image less the mean image of the training set (DD,
    equation 7). As an attack, in the box and relative to the image, DeepFool is measured by
    holdfast evaluate.

    Example:
        holdfast diagnose margin --model runs/natural,runs/deep-defense --out runs/margins

    Args:
        steps: Of DeepFool; whether it has crossed the boundary by then does not matter.
        overshoot: By how much more than to the boundary it moves, as a fraction.
        box: Cut its iterates by [0, 1].
    """
    diagnosis = _margins("margin", _told, steps=steps, overshoot=overshoot, box=box)

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        return {"margin": figures.margins([(name, of["relative"]) for name, of in found.items()])}

    return Shown(diagnosis, drawn)


def _epochs(models: Words) -> Words:
    """The networks that runs have kept, for the runs."""
    return Words(str(file) for run in models for file in kept_epochs(Path(run)).values())


@command(expand=_epochs)
def convergence(*, steps: int = 5, overshoot: float = 0.02, _told: Shared) -> Shown:
    """Follow accuracy and rho_2 over the epochs of trainings.

    Of runs that were trained with --keep-epochs true; epoch 0 is where a training began. The
    measure is that of holdfast diagnose margin (DD, figures 2 and 8).

    Example:
        holdfast diagnose convergence --model runs/clean,runs/deep-defense --out runs/curves

    Args:
        steps: Of DeepFool.
        overshoot: By how much more than to the boundary it moves, as a fraction.
    """
    diagnosis = _margins("convergence", _told, steps=steps, overshoot=overshoot, box=False)

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        runs: dict[str, list[dict[str, float]]] = {}
        for name, of in found.items():
            file = Path(name)
            runs.setdefault(str(file.parents[1]), []).append(
                {"epoch": int(file.stem), **diagnosis.summary(of)}
            )
        return {"convergence": figures.convergence([(k, pd.DataFrame(v)) for k, v in runs.items()])}

    return Shown(diagnosis, drawn)


def _margins(name: str, told: Shared, *, steps: int, overshoot: float, box: bool) -> Diagnosis:
    mean = mean_image(datasets.load(told.data, "train", data_dir=told.data_dir))

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        found = margins(
            model,
            x,
            y,
            mean=mean,
            steps=steps,
            overshoot=overshoot,
            box=box,
            seed=seed,
            index=index,
        )
        return {**found._asdict(), "right": found.right.int(), "crossed": found.crossed.int()}

    def summary(found: Found) -> dict[str, float]:
        return {
            "accuracy": _mean(found["right"]),
            "rho2": _mean(found["relative"]),
            "l2": _mean(found["l2"]),
            "crossed": _mean(found["crossed"]),
        }

    settings = {
        "steps": steps,
        "overshoot": overshoot,
        "box": box,
        "mean": fingerprint(Centred(mean)),
    }
    return Diagnosis(name, settings, look, summary)


def _mean(values: np.ndarray) -> float:
    """The mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
