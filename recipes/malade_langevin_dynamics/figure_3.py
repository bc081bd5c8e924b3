"""Figure 3: accuracy over the attack's size: PGD in ℓ∞ and ℓ2, and EAD over its weight c.

PGD and EAD go through the chain with one draw a step, as in table 1.
"""

import math

from holdfast.reproduce import Claim, Curves, Line, Measure, Result, Scale, accuracy, at_most, more

from . import _networks as malade

MINUTES = {"quick": 0.3, "cpu": 120, "paper": 2000}  # cpu and paper: estimated

#: What the text names lies between: 0.3 and 0.4 in ℓ∞, 4.5 and 6 in ℓ2.
LINF, L2 = (0.1, 0.2, 0.3, 0.4, 0.5), (1.5, 3.0, 4.5, 6.0, 7.5)


def recipe(scale: Scale) -> Result:
    cnn, madry = malade.cnn(scale), malade.madry(scale)
    all_ = (cnn, madry, malade.purified(cnn, scale), malade.purified(madry, scale))
    linf = {one.name: _linf(one, scale) for one in all_}
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
            ),
            Claim(
                "MALADE significantly boosts the robustness of both classifiers.",
                "figure 3",
                [
                    more(linf[f"{name} + MALADE"][2][1], linf[name][2][1], f"ℓ∞ 0.3: {name}")
                    for name in ("CNN", "Madry")
                ],
            ),
        ],
    )


def _linf(of: malade.Classifier, scale: Scale) -> list[tuple[float, Measure]]:
    sizes = [malade.linf(scale, size) for size in LINF]
    step = malade.attacked(of, [malade.pgd(scale)], sizes, scale, variants=("plain",))
    return [(shown, accuracy(step, eps=eps)) for shown, eps in zip(LINF, sizes, strict=True)]


def _l2(of: malade.Classifier, scale: Scale) -> list[tuple[float, Measure]]:
    sizes = [malade.l2(scale, size) for size in L2]
    steps = scale("attack's steps, ℓ2", quick=5, cpu=20, paper=1_000)
    attack = f"pgd(steps={steps}, random_start=False)"
    step = malade.attacked(of, [attack], sizes, scale, variants=("plain",), norm="l2")
    return [(shown, accuracy(step, eps=eps)) for shown, eps in zip(L2, sizes, strict=True)]


def _ead(of: malade.Classifier, scale: Scale) -> list[tuple[float, Measure]]:
    """One c each, without the search of table 1: whether what it weighs suffices to fool."""
    steps = scale("steps, EAD", quick=10, cpu=30, paper=100)  # B.1.4
    attacks = {
        math.log10(c): f"ead(steps={steps}, searches=1, c={c}, step_size=0.01, beta=0.01)"
        for c in (0.01, 0.1, 1.0, 10.0, 100.0)
    }
    step = malade.attacked(
        of, list(attacks.values()), (math.inf,), scale, variants=("plain",), norm="l1"
    )
    ending = ", plain" if of.purified else ""
    return [(log, accuracy(step, f"{attack}{ending}")) for log, attack in attacks.items()]
