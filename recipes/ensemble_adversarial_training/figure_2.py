"""Figure 2: how many orthogonal adversarial directions an image has (GAAS in ℓ∞).

The fraction of the rightly classified images around which at least k orthogonal directions of size
ε fool, by the construction of appendix E: a lower bound of what there is.
"""

import pandas as pd

from holdfast.reproduce import (
    Claim,
    Curves,
    Line,
    Mean,
    Result,
    Scale,
    Step,
    at_least,
    at_most,
    diagnose,
    less,
)

from . import _imagenet as imagenet

MINUTES = {"quick": 0.5, "cpu": 40, "paper": 60}


def recipe(scale: Scale) -> Result:
    # ε of 4, 10 and 16 on ImageNet, of 256 as everywhere in the paper; on MNIST, whose images are
    # nearly binary, the sizes of C.2 and two below.
    sizes = scale(
        "sizes", quick=(0.1, 0.2), cpu=(0.1, 0.2, 0.3), paper=(4 / 256, 10 / 256, 16 / 256)
    )
    # Regular Hadamard matrices of these orders (appendix E); 8×8 pixels leave room for fewer.
    orders = scale(
        "orders", quick=(1, 4, 16), cpu=(1, 4, 16, 36, 64, 100), paper=(1, 4, 16, 36, 64, 100)
    )
    names = ("v3", "v3_adv", "v3_adv-ens3")
    parts, found = [], {}
    for size in sizes:
        lines = []
        for name in names:
            model = imagenet.network(name, scale)
            if model is None:
                continue
            step = diagnose(
                "subspace",
                f"{name} at {size:.3g}",
                model=model,
                eps=size,
                orders=",".join(map(str, orders)),
                data=imagenet.images(name, scale),
                # 500 that are classified rightly; of so many nearly all are on MNIST.
                images=scale("images", quick=60, cpu=500, paper=650),
            )
            found[name, size] = {k: _at_least(step, k) for k in orders}
            lines.append(Line(name, [(float(k), of) for k, of in found[name, size].items()]))
        parts.append(
            Curves(
                f"Images with at least k directions, ε = {size:.3g}",
                x="k",
                y="fraction of images",
                lines=lines,
                name=f"directions-{size:.3g}",
            )
        )
    last, many = sizes[-1], orders[-1]
    claims = [
        Claim(
            "Of the network without defence, over 50 orthogonal adversarial directions for 30 % of "
            "the points.",
            "4.2",
            [
                at_least(
                    _at_least(found["v3", last][many].steps[0], many // 2 + 1),
                    0.3,
                    f"more than {many // 2} directions for 30 % of the images",
                )
            ],
            why="The paper does not say of which ε; here it is the largest.",
        ),
        Claim(
            "For most points of the adversarially trained network no adversarial direction is "
            "aligned with the gradient, and for most of the others they are very many.",
            "4.2",
            [
                at_most(found["v3_adv", last][1], 0.5, "at most half of the images have one"),
                at_least(
                    _of_those_with_any(found["v3_adv", last][many].steps[0], many),
                    0.5,
                    f"half of those have at least {many}",
                ),
            ],
            why="The paper has 80 % without one and most of the rest beyond 90, at ε ≥ 10 of 256.",
        ),
    ]
    if ("v3_adv-ens3", last) in found:
        claims.append(
            Claim(
                "Ensemble adversarial training yields a more robust model, with only a small "
                "fraction of points near a large adversarial space.",
                "4.2",
                [
                    less(
                        found["v3_adv-ens3", last][many],
                        found["v3", last][many],
                        f"fewer images with at least {many} directions than without defence",
                    )
                ],
            )
        )
    return Result(parts, imagenet.told(claims, scale), imagenet.stand_in(scale))


def _at_least(step: Step, k: int) -> Mean:
    def reached(rows: pd.DataFrame) -> "pd.Series[float]":
        right = rows[rows["right"] == 1].set_index("index").sort_index()
        return right["directions"] >= k

    return Mean((step,), reached, fraction=True)


def _of_those_with_any(step: Step, k: int) -> Mean:
    """Of the images with a direction, the fraction that has at least k."""

    def reached(rows: pd.DataFrame) -> "pd.Series[float]":
        some = rows[rows["directions"] >= 1].set_index("index").sort_index()
        return some["directions"] >= k

    return Mean((step,), reached, fraction=True)
