"""Figure 2: STN and TRADES under attack, from inside and from Madry's network, in ℓ2 and ℓ∞.

STN is the vote of Algorithm 1; its attacks follow the mean gradient over draws of the noise (6.2).
The text calls the ℓ2 attack Carlini and Wagner's, and in the authors' code it is PGD on the margin.
"""

from collections.abc import Iterator

from holdfast.reproduce import Claim, Curves, Mean, Result, Scale, Step, accuracy, less, more

from . import _networks as stn

MINUTES = {"quick": 0.7, "cpu": 60, "paper": 240}

NORMS = ("l2", "linf")


def recipe(scale: Scale) -> Result:
    parts = [_panel(images, norm, scale) for images in stn.BOTH for norm in NORMS]
    claims = [
        claim for images in stn.BOTH for norm in NORMS for claim in _claims(images, norm, scale)
    ]
    return Result(
        parts,
        claims,
        notes=[
            "The paper does not say how TRADES and Madry's network were trained, nor on what; here "
            "TRADES has STN's architecture, and so has Madry's network of CIFAR-10; that of MNIST "
            "is Madry et al.'s own. All have their authors' ε, and their steps or fewer.",
        ],
    )


def _steps(images: stn.Images, norm: str, scale: Scale) -> dict[str, list[Step]]:
    sigma = stn.sigma(images, scale)
    smoothed, trades = stn.stability(images, scale, sigma), stn.trades(images, scale)
    source = stn.madry(images, scale)
    return {
        "STN": stn.attacked("stn", images, scale, smoothed, norm, sigma=sigma),
        "STN, black box": stn.attacked(
            "stn-from-madry", images, scale, smoothed, norm, sigma=sigma, source=source
        ),
        "TRADES": stn.attacked("trades", images, scale, trades, norm),
        "TRADES, black box": stn.attacked(
            "trades-from-madry", images, scale, trades, norm, source=source
        ),
    }


def _panel(images: stn.Images, norm: str, scale: Scale) -> Curves:
    attack = stn.white_box(scale, norm)
    lines = [stn.curve(name, step, attack) for name, step in _steps(images, norm, scale).items()]
    return stn.panel(images, norm, "Figure 2", lines)


def _claims(images: stn.Images, norm: str, scale: Scale) -> Iterator[Claim]:
    steps, attack = _steps(images, norm, scale), stn.white_box(scale, norm)
    small, *_, large = stn.sizes(images, scale, norm)
    where = f"{images.name}, {norm}"

    def at(name: str, eps: float) -> Mean:
        return accuracy(steps[name], attack, eps)

    yield Claim(
        f"{where}: STN performs slightly worse than TRADES when attacks are small and becomes "
        "better when they are large.",
        "6.2",
        [
            less(at("STN", small), at("TRADES", small), f"worse at {small:.2g}"),
            more(at("STN", large), at("TRADES", large), f"better at {large:.2g}"),
        ],
        why="Few images were attacked, of networks that were trained for a few epochs: which of "
        "the two leads, and from what size on, hangs on their trainings. See what was "
        "reduced.",
    )
    yield Claim(
        f"{where}: what transfers from Madry's network shows no masking of gradients.",
        "6.2",
        [
            more(
                at("STN, black box", eps),
                at("STN", eps),
                f"STN at {eps:.2g}: the black box leaves no less than the attack from inside",
                by=-0.02,
            )
            for eps in (small, large)
        ],
        why="Where the interval leaves it open, the images are too few to tell two points from "
        "none.",
    )
