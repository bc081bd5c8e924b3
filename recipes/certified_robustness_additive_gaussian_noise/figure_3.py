"""Figure 3: robust accuracy of STN for several σ, and without noise (σ = 0), in ℓ2 and ℓ∞.

Every σ has a network of its own, trained with it, and its attacks know it.
"""

from collections.abc import Iterator

from holdfast.reproduce import (
    Claim,
    Curves,
    Mean,
    Result,
    Scale,
    Step,
    accuracy,
    clean_accuracy,
    more,
)

from . import _networks as stn

MINUTES = {"quick": 0.7, "cpu": 55, "paper": 240}

NORMS = ("l2", "linf")


def recipe(scale: Scale) -> Result:
    return Result(
        [_panel(images, norm, scale) for images in stn.BOTH for norm in NORMS],
        [claim for images in stn.BOTH for norm in NORMS for claim in _claims(images, norm, scale)],
        notes=["The σ are ours but for the one of section 6.2: the text does not name them."],
    )


def _steps(images: stn.Images, norm: str, scale: Scale) -> dict[float, list[Step]]:
    return {0.0: stn.attacked("plain", images, scale, stn.plain(images, scale), norm)} | {
        sigma: stn.attacked(
            f"stn-{sigma:.2g}",
            images,
            scale,
            stn.stability(images, scale, sigma),
            norm,
            sigma=sigma,
        )
        for sigma in stn.sigmas(images, scale)
    }


def _panel(images: stn.Images, norm: str, scale: Scale) -> Curves:
    attack = stn.white_box(scale, norm)
    lines = [
        stn.curve(f"σ = {sigma:.2g}", step, attack)
        for sigma, step in _steps(images, norm, scale).items()
    ]
    return stn.panel(images, norm, "Figure 3", lines)


def _claims(images: stn.Images, norm: str, scale: Scale) -> Iterator[Claim]:
    steps, attack = _steps(images, norm, scale), stn.white_box(scale, norm)
    middle = stn.sizes(images, scale, norm)[1]
    large = stn.sizes(images, scale, norm)[-1]
    none, low, *_, high = steps

    def at(sigma: float, eps: float) -> Mean:
        return accuracy(steps[sigma], attack, eps)

    yield Claim(
        f"{images.name}, {norm}: the noise hurts when attacks are small but helps against large "
        "ones.",
        "6.2",
        [
            more(clean_accuracy(steps[low]), clean_accuracy(steps[high]), "hurts without attack"),
            more(at(high, large), at(low, large), f"helps at {large:.2g}"),
        ],
        why="Without an attack the networks differ by less than so few images can tell.",
    )
    yield Claim(
        f"{images.name}, {norm}: σ = 0 is vulnerable, so the noise is essential.",
        "6.2",
        [more(at(low, middle), at(none, middle), f"any σ is better at {middle:.2g}")],
    )
