"""What figures 6 and 7 share: every attack on the vote of Algorithm 1."""

from collections.abc import Sequence

from holdfast.reproduce import (
    Claim,
    Curves,
    Line,
    Result,
    Scale,
    accuracy_within,
    clean_accuracy,
    more,
)

from . import _networks as stn

NORMS = ("l2", "linf")
#: Of the second-order attack; SO's on MNIST (its appendix H). One draw of it for each of the
#: defence's, over which the gradient is averaged anyway.
SIGMA = 0.2


def on(images: stn.Images, scale: Scale, title: str) -> Result:
    """Both plots of a figure."""
    found = {norm: _lines(images, norm, scale) for norm in NORMS}
    panels: list[Curves] = [stn.panel(images, norm, title, lines) for norm, lines in found.items()]
    return Result(panels, [_claim(images, norm, lines) for norm, lines in found.items()])


def _lines(images: stn.Images, norm: str, scale: Scale) -> list[Line]:
    sigma = stn.sigma(images, scale)
    nets = stn.stability(images, scale, sigma)
    inside = stn.white_box(scale, norm)
    steps = scale("steps of an attack", quick=5, cpu=10, paper=20)
    second = f"second-order(steps={steps}, sigma={SIGMA:g}, samples=1)"
    queries = scale("queries of the boundary attack", quick=60, cpu=300, paper=5000)
    boundary = f"boundary(queries={queries})"
    whole = stn.attacked("stn", images, scale, nets, norm, sigma=sigma)
    black = stn.attacked(
        "stn-from-madry", images, scale, nets, norm, sigma=sigma, source=stn.madry(images, scale)
    )
    averaged = stn.attacked(
        "stn-second-order", images, scale, nets, norm, sigma=sigma, attacks=[second]
    )
    walk = stn.attacked(
        "stn-boundary",
        images,
        scale,
        nets,
        norm,
        sigma=sigma,
        attacks=[boundary],
        eps=[float("inf")],
    )
    sizes: Sequence[float] = stn.sizes(images, scale, norm)
    return [
        stn.curve("C&W (PGD on the margin)" if norm == "l2" else "PGD", whole, inside),
        stn.curve("from Madry's network", black, inside),
        stn.curve("second-order", averaged, second),
        Line(
            "boundary",
            [
                (0.0, clean_accuracy(walk)),
                *((eps, accuracy_within(walk, eps, norm)) for eps in sizes),
            ],
        ),
    ]


def _claim(images: stn.Images, norm: str, lines: Sequence[Line]) -> Claim:
    inside, *_, boundary = lines
    eps, left = boundary.points[-1]
    return Claim(
        f"{images.name}, {norm}: the boundary attack is not effective in attacking our models.",
        "D.2",
        [
            more(
                left, inside.points[-1][1], f"it leaves more than the one from inside, at {eps:.2g}"
            )
        ],
        why="It ends at the boundary, where the votes are divided, and fresh noise decides again "
        "there: an attack that stops at the nearest image that fools is a weak one on a vote. "
        "And a walk of few queries, see what was reduced, is weak against anything.",
        safe=True,
    )
