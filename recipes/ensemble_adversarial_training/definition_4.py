"""Definition 4: an adaptive black box, which trains its own network on what the target answers.

The paper defines it and leaves it open. The surrogate, of another architecture, learns the target's
answers on the training images; what is crafted on it is beside what an attacker's network reaches
that was trained on the labels.
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
    spec,
    train,
)

from . import _networks as eat

MINUTES = {"quick": 0.4, "cpu": 40, "paper": 60}


def recipe(scale: Scale) -> Result:
    rows: dict[str, dict[str, Cell]] = {}
    ours: dict[str, dict[str, Cell]] = {}
    claims = []
    for label, made in (("adv", eat.adversarial), ("adv-ens", eat.ensemble)):
        target = made("D", scale)
        of = scale("surrogate", quick="C", cpu="C", paper="A")
        surrogate = train(
            f"surrogate of D {label}",
            model=eat.architecture(of, scale),
            objective=spec("distillation(teacher='{0}')", target),
            epochs=scale("epochs of the surrogate", quick=4, cpu=3, paper=6),  # as plain training
            seed=300,  # neither a target's, a source's nor an attacker's
            **eat.shared(of, scale),
        )
        adaptive = _from(f"D {label}, adaptive", target, surrogate, scale)
        fixed = _from(f"D {label}, not adaptive", target, eat.attacker(of, scale), scale)
        for count, table in ((error, rows), (robust_error, ours)):
            table[f"D_{label}"] = {
                f"{attack}, {how}": Cell(count(step, attack))
                for attack in eat.ITERATIVE
                for how, step in (("adaptive", adaptive), ("not adaptive", fixed))
            }
        strongest = eat.ITERATIVE[-1]
        claims.append(
            Claim(
                f"D {label}: an adversary that asks the target is the stronger one.",
                "Appendix A",
                [more(error(adaptive, strongest), error(fixed, strongest), "by PGD")],
            )
        )
    return Result([Table("Errors in %", rows), Table(eat.OURS, ours, name="ours")], claims)


def _from(name: str, target: Step, source: Step, scale: Scale) -> Step:
    return evaluate(
        name,
        model=target,
        source=source,
        attacks=list(eat.ITERATIVE),
        eps=eat.eps(scale),
        data=eat.data(scale),
        images=scale("test images", quick=100, cpu=1_000, paper=10_000),
        attack_all=True,
    )
