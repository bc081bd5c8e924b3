"""Appendix C.1 and figure 3: ℓ∞ robustness of MNIST by binarisation, and how rotation evades it.

A threshold has no gradient, and the paper does not say how its I-FGSM got one: straight through it
would not move at all. Here it takes the bare network's, at the image as it is; BPDA, which takes it
at the binarised image and passes the threshold by, is the honest attack. Beside it stands Madry et
al.'s adversarially trained network, which the same rotation and flips evade.
"""

import math

from torch import Tensor

from holdfast.reproduce import (
    Cell,
    Claim,
    Gallery,
    OfImages,
    Result,
    Scale,
    Step,
    Table,
    Value,
    accuracy,
    at_least,
    at_most,
    clean_error,
    error,
    evaluate,
    less,
    robust_error,
    spec,
)

from ..second_order_attack_and_certifiable_robustness import _networks as so
from . import _networks as eat

MINUTES = {"quick": 0.3, "cpu": 30, "paper": 20}

I_FGSM = "i-fgsm(steps=10)"
TURNED = "spatial(angles=[20.0])"  # figure 3: by 20°
TURNED_ATTACKED = "spatial+i-fgsm(flips=0)"
FLIPPED_ATTACKED = "spatial+i-fgsm(flips=5)"  # and 5 pixels

#: Errors as printed, of the binarised network or of both.
PAPER = {
    "I-FGSM by the bare network's gradient": 0.114,
    "turned by 20°": 0.05,
    "turned, then I-FGSM": 0.35,
    "turned, 5 pixels flipped, then I-FGSM": 0.5,
}


def recipe(scale: Scale) -> Result:
    plain = eat.plain("C", scale)
    rounded = spec("binarise | {0}", plain)  # 0.5, the middle
    images = scale("test images", quick=100, cpu=1_000, paper=10_000)
    shared: dict[str, Value | None] = {
        "eps": eat.eps(scale),
        "data": eat.data(scale),
        "images": images,
        "attack_all": True,
    }
    without = evaluate("C", model=plain, attacks=[I_FGSM], **shared)
    kept = evaluate("C, its images", model=plain, attacks=[I_FGSM], keep_images=images, **shared)
    bare = evaluate("C, binarised", model=rounded, source=plain, attacks=[I_FGSM], **shared)
    honest = evaluate(
        "C, binarised, BPDA",
        model=rounded,
        attacks=[I_FGSM, TURNED_ATTACKED, FLIPPED_ATTACKED],
        **shared,
    )
    trained = so.madry(scale, seed=1)
    madry = evaluate(
        "Madry", model=trained, attacks=[I_FGSM, TURNED_ATTACKED, FLIPPED_ATTACKED], **shared
    )
    # No ball around the image holds it turned.
    alone = {**shared, "attacks": [TURNED], "eps": math.inf}
    turned = evaluate("C, binarised, turned", model=rounded, **alone)
    madry_turned = evaluate("Madry, turned", model=trained, **alone)
    bare_gradient = "I-FGSM by the bare network's gradient"
    attacked = {
        "C, binarised": {
            bare_gradient: (bare, I_FGSM),
            "I-FGSM, BPDA": (honest, I_FGSM),
            "turned by 20°": (turned, TURNED),
            **_of_figure_3(honest),
        },
        "Madry": {
            "I-FGSM by its own gradient": (madry, I_FGSM),
            "turned by 20°": (madry_turned, TURNED),
            **_of_figure_3(madry),
        },
        "C": {bare_gradient: (without, I_FGSM)},
    }
    clean = {"C, binarised": bare, "Madry": madry, "C": without}
    rows: dict[str, dict[str, Cell]] = {}
    ours: dict[str, dict[str, Cell]] = {}
    for name, columns in attacked.items():
        rows[name] = {"clean error": Cell(clean_error(clean[name]))}
        ours[name] = {"clean error": Cell(clean_error(clean[name]))}
        for column, (step, attack) in columns.items():
            printed = None if (name, column) == ("C", bare_gradient) else PAPER.get(column)
            why = "the paper says below 5" if attack == TURNED else ""
            rows[name][column] = Cell(error(step, attack), printed, why=why)
            ours[name][column] = Cell(robust_error(step, attack))
    claims = [
        Claim(
            "Binarising the inputs of a network trained without defence gives robustness to "
            "I-FGSM: at most 11.4 % error.",
            "C.1",
            [
                at_most(error(bare), 0.114, "at most 11.4 %"),
                less(error(bare), error(without, I_FGSM), "below the bare network's"),
            ],
            why="By BPDA the same network falls as far as the table shows.",
        ),
        Claim(
            "Turned by 20°, then attacked by I-FGSM, the rounding model keeps only 65 %, where "
            "turned alone it errs in less than 5 %.",
            "C.1",
            [
                at_most(accuracy(honest, TURNED_ATTACKED), 0.65, "at most 65 % are left"),
                at_most(error(turned, TURNED), 0.05, "turned alone at most 5 % err"),
            ],
            why="Here the attack goes round the threshold (BPDA); the paper's went through it.",
        ),
        Claim(
            "Turned by 20°, then attacked by I-FGSM, Madry et al.'s model too keeps only 65 %, and "
            "under 50 % if 5 pixels are flipped besides.",
            "C.1",
            [
                at_most(error(madry_turned, TURNED), 0.05, "turned alone at most 5 % err"),
                at_most(accuracy(madry, TURNED_ATTACKED), 0.65, "at most 65 % are left"),
                at_most(accuracy(madry, FLIPPED_ATTACKED), 0.5, "with the flips at most 50 %"),
            ],
            why="The paper's network is the published one, of 40 steps on all images; one of a "
            "shorter training, see what was reduced, errs a little more when it is turned.",
        ),
    ]
    shown = evaluate(
        "C, figure 3", model=rounded, attacks=[FLIPPED_ATTACKED], keep_images=16, **shared
    )
    figure = Gallery("Figure 3", shown, FLIPPED_ATTACKED, eps=math.inf)
    pixels = {
        "all images": {
            "pixels of 0 or 1": Cell(OfImages(kept, _black_or_white), 0.8, why="over 80 %"),
            "pixels in [0.2, 0.8]": Cell(OfImages(kept, _grey), 0.06),
            "pixels that the attack moves across 0.5": Cell(
                OfImages(kept, _crossed), 0.06, why="at most 6 %"
            ),
        }
    }
    claims.append(
        Claim(
            "Over 80 % of an image's pixels are 0 or 1, and only 6 % lie in [0.2, 0.8].",
            "C.1",
            [
                at_least(OfImages(kept, _black_or_white), 0.8, "80 % are 0 or 1"),
                at_most(OfImages(kept, _grey), 0.07, "6 % are grey, to a percent"),
            ],
        )
    )
    tables = [
        Table("Errors in %", rows),
        Table(eat.OURS, ours, name="ours"),
        Table("Pixels, in %", pixels, name="pixels"),
    ]
    return Result([*tables, figure], claims)


def _of_figure_3(step: Step) -> dict[str, tuple[Step, str]]:
    return {
        "turned, then I-FGSM": (step, TURNED_ATTACKED),
        "turned, 5 pixels flipped, then I-FGSM": (step, FLIPPED_ATTACKED),
    }


def _black_or_white(x: Tensor, x_adv: Tensor) -> Tensor:
    return ((x == 0) | (x == 1)).double().flatten(1).mean(dim=1)


def _grey(x: Tensor, x_adv: Tensor) -> Tensor:
    return ((x >= 0.2) & (x <= 0.8)).double().flatten(1).mean(dim=1)


def _crossed(x: Tensor, x_adv: Tensor) -> Tensor:
    return ((x > 0.5) != (x_adv > 0.5)).double().flatten(1).mean(dim=1)
