"""Figure 6: whether the attacks have converged: over their iterations, and over EOT's draws.

At ℓ∞ 0.3 on CNN + MALADE; the paper says neither which size nor which classifier.
"""

from holdfast.reproduce import Claim, Curves, Line, Measure, Result, Scale, accuracy, more

from . import _networks as malade

MINUTES = {"quick": 0.3, "cpu": 60, "paper": 1500}  # cpu and paper: estimated


def recipe(scale: Scale) -> Result:
    of = malade.purified(malade.cnn(scale), scale)
    iterations = scale(
        "iterations", quick=(2, 4), cpu=(5, 10, 20, 50, 100), paper=(10, 50, 100, 500, 1000)
    )
    draws = scale("draws of EOT", quick=(1, 4), cpu=(1, 3, 10, 30), paper=(1, 3, 10, 30, 100))
    images = scale("test images", quick=20, cpu=50, paper=10_000)
    eps = (malade.linf(scale, 0.3),)

    def left(attack: str, variant: str) -> Measure:
        one = malade.attacked(of, [attack], eps, scale, variants=(variant,), images=images)
        return accuracy(one)

    through = [(steps, left(malade.pgd(scale, steps=steps), "plain")) for steps in iterations]
    around = [(steps, left(malade.pgd(scale, steps=steps), "bpda")) for steps in iterations]
    # The variant bpda-eot never takes fewer than 30: here the attack's own gradient averages.
    eot = [
        (count, left(malade.pgd(scale, gradient=f"average(samples={count})"), "bpda"))
        for count in draws
    ]
    few, last = eot[0][1], eot[-1][1]
    return Result(
        [
            Curves(
                "(a) Iterations",
                "iterations",
                "accuracy",
                [Line("PGD through the chain", through), Line("BPDA", around)],
                name="iterations",
            ),
            Curves("(b) Draws of EOT", "draws", "accuracy", [Line("BPDAwEOT", eot)], name="draws"),
        ],
        [
            Claim(
                "30 draws are sufficient for the attack to converge.",
                "appendix B.1.2",
                [more(last, eot[-2][1], "the last draws take 5 points at most", by=-0.05)],
            ),
            Claim(
                "More draws make a stronger attack.",
                "figure 6 (b)",
                [more(few, last, "one draw leaves more than the most")],
            ),
        ],
    )
