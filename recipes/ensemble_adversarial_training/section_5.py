"""Section 5: R+FGSM by an adversary who sees the target's confidences and nothing else.

The paper says that it could be done by finite differences, and leaves it open. Differences of two
answers for every pixel give the gradient, and R+FGSM, from the same random step, its example.
"""

from holdfast.reproduce import (
    Cell,
    Claim,
    Result,
    Scale,
    Step,
    Table,
    error,
    evaluate,
    more,
    robust_error,
)

from . import _networks as eat

MINUTES = {"quick": 0.2, "cpu": 20, "paper": 60}  # cpu and paper: estimated


def recipe(scale: Scale) -> Result:
    name = scale("target", quick="D", cpu="D", paper="A")
    rows: dict[str, dict[str, Cell]] = {}
    ours: dict[str, dict[str, Cell]] = {}
    claims = []
    for label, made in (("", eat.plain), ("_adv", eat.adversarial), ("_adv-ens", eat.ensemble)):
        shown, target = f"{name}{label}", made(name, scale)
        steps = {
            "R+FGSM by its gradient": _attacked(shown, target, eat.rfgsm(scale), scale),
            "R+FGSM by differences of its confidences": _attacked(
                shown, target, _by_differences(scale), scale
            ),
            "FGSM from C": _attacked(shown, target, "fgsm", scale, eat.attacker("C", scale)),
        }
        for count, table in ((error, rows), (robust_error, ours)):
            table[shown] = {column: Cell(count(step)) for column, step in steps.items()}
        exact, found, transferred = map(error, steps.values())
        claims.append(
            Claim(
                f"{shown}: an adversary who is told full confidences could estimate the gradient "
                "by finite differences and fool the target with R+FGSM.",
                "section 5",
                [
                    more(found, exact, "as often as by the gradient, to a point", by=-0.01),
                    more(found, transferred, "more often than by transfer from C"),
                ],
                why="In float32 a confident network's confidence is exactly 1 and does not change "
                "by a small step: on MNIST, after a random step of 0.05, on 21 % of the first "
                "1,000 test images for D, 16 % for D_adv, 12 % for D_adv-ens (seed 0). Such "
                "an adversary would ask for logits, or more digits.",
            )
        )
    return Result([Table("Errors in %", rows), Table(eat.OURS, ours, name="ours")], claims)


def _by_differences(scale: Scale) -> str:
    # 0.01 on either side: logits hardly bend there, and float32 tells such answers apart.
    return eat.rfgsm(scale).replace(")", ", gradient=finite_differences(h=0.01))")


def _attacked(
    name: str, target: Step, attack: str, scale: Scale, source: Step | None = None
) -> Step:
    return evaluate(
        name,
        model=target,
        source=source,
        attacks=[attack],
        eps=eat.eps(scale),
        data=eat.data(scale),
        # 1,569 passes each on MNIST; the paper has no such experiment, and so no number of images.
        images=scale("test images", quick=50, cpu=1_000, paper=1_000),
        attack_all=True,
    )
