"""Figure 3: accuracy over the attack's size: PGD in ℓ∞ and ℓ2, and EAD over its weight c.

PGD and EAD go through the chain with one draw a step, as in table 1.
"""

import math

from holdfast.reproduce import Claim, Curves, Line, Measure, Result, Scale, accuracy, at_most, more

from . import _networks as malade

MINUTES = {"quick": 0.3, "cpu": 120, "paper": 2000}  # cpu and paper: estimated

L2 = (1.5, 3.0, 4.5, 6.0, 7.5)  # the text names 4.5, 6 and beyond
WEIGHTS = (0.01, 0.1, 1.0, 10.0, 100.0)


def recipe(scale: Scale) -> Result:
    cnn, madry = malade.cnn(scale), malade.madry(scale)
    all_ = (cnn, madry, malade.purified(cnn, scale), malade.purified(madry, scale))
    linf = {one.name: malade.over_sizes(one, scale) for one in all_}
    l2 = {one.name: _l2(one, scale) for one in all_}
    ead = {one.name: _ead(one, scale) for one in all_}
    parts = [
        Curves(f"({letter}) {title}", x, "accuracy", [Line(*one) for one in of.items()], name=name)
        for letter, title, x, of, name in (
            ("a", "PGD-ℓ∞", "ε", linf, "linf"),
            ("b", "PGD-ℓ2", "ε", l2, "l2"),
            ("c", "EAD", "log₁₀ c", ead, "ead"),
        )
    ]
    chains = ("CNN + MALADE", "Madry + MALADE")
    middle = {name: dict(of)[0.3] for name, of in linf.items()}
    return Result(
        parts,
        [
            Claim(
                "Madry is broken down by PGD-ℓ∞ beyond 0.4, by PGD-ℓ2 beyond 6, and by EAD.",
                "section 4.4",
                [
                    at_most(linf["Madry"][-1][1], 0.1, "ℓ∞ 0.5 leaves a tenth at most"),
                    at_most(l2["Madry"][-1][1], 0.1, "ℓ2 7.5 leaves a tenth at most"),
                    at_most(ead["Madry"][-1][1], 0.1, "EAD leaves a tenth at most"),
                ],
                why="The paper's PGD has 1,000 steps; what fewer leave of few images is a tenth "
                "within chance.",
            ),
            Claim(
                "MALADE is robust to PGD in ℓ∞ and ℓ2 in a wide range of ε, and not completely "
                "broken down by EAD.",
                "section 4.4",
                [
                    more(of[name][-1][1], of["Madry"][-1][1], f"{title}: {name} above Madry")
                    for title, of in (("ℓ∞ 0.5", linf), ("ℓ2 7.5", l2), ("EAD", ead))
                    for name in chains
                ],
                why="At the largest sizes a chain leaves next to nothing of the plain CNN here. "
                "The paper's chains, of other networks, are left far above by the same "
                "gradient of one draw.",
            ),
            Claim(
                "MALADE significantly boosts the robustness of both classifiers.",
                "figure 3",
                [
                    more(middle[f"{name} + MALADE"], middle[name], f"ℓ∞ 0.3: {name}")
                    for name in ("CNN", "Madry")
                ],
                why="In front of the CNN it does. Madry stands what it was trained for, and the "
                "chain in front of it costs answers that it has without; the paper's costs "
                "none.",
            ),
        ],
    )


def _l2(of: malade.Classifier, scale: Scale) -> list[tuple[float, Measure]]:
    shown = scale("ℓ2 sizes", quick=L2[::2], cpu=L2, paper=L2)
    sizes = [malade.l2(scale, size) for size in shown]
    steps = scale("attack's steps, ℓ2", quick=5, cpu=20, paper=1_000)
    attack = f"pgd(steps={steps}, random_start=False)"
    step = malade.attacked(of, [attack], sizes, scale, variants=("plain",), norm="l2")
    return [(x, accuracy(step, eps=eps)) for x, eps in zip(shown, sizes, strict=True)]


def _ead(of: malade.Classifier, scale: Scale) -> list[tuple[float, Measure]]:
    """One c each, without the search of table 1: whether what it weighs suffices to fool."""
    steps = scale("steps, EAD", quick=8, cpu=30, paper=100)  # B.1.4
    attacks = {
        math.log10(c): f"ead(steps={steps}, searches=1, c={c}, step_size=0.01, {malade.ELASTIC})"
        for c in scale("c of EAD", quick=WEIGHTS[::2], cpu=WEIGHTS, paper=WEIGHTS)
    }
    step = malade.attacked(
        of, list(attacks.values()), (math.inf,), scale, variants=("plain",), norm="l1"
    )
    ending = ", plain" if of.purified else ""
    return [(log, accuracy(step, f"{attack}{ending}")) for log, attack in attacks.items()]
