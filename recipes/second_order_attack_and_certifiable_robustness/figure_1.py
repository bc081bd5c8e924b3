"""Figure 1: accuracy that Algorithm 1 certifies, over the size of the attack, for several σ.

Each curve on MNIST is a network of stability training with its own σ, asked under the same; on
CIFAR-10 one network is asked under three. The paper draws curves and prints one number of them: at
least 50 % at 0.8 for σ = 0.4.
"""

from collections.abc import Sequence

from holdfast.reproduce import (
    Cell,
    Claim,
    Curves,
    Line,
    Result,
    Scale,
    Step,
    Table,
    at_least,
    certified,
    certify,
    more,
)

from . import _cifar as cifar
from . import _networks as so

MINUTES = {"quick": 0.2, "cpu": 20, "paper": 60}  # cpu and paper: from _networks

#: 0.2 is appendix H's, 0.4 that of the text; the legend's others are not in it.
SIGMAS = (0.1, 0.2, 0.4)
CIFAR_SIGMAS = ("25/255", cifar.TEST_SIGMA, cifar.TRAIN_SIGMA)

#: The one number of the text, and where.
AT, PAPER = 0.8, 0.5

INTERVALS = ("clopper-pearson", "sison-glaz", "stn-2019")


def recipe(scale: Scale) -> Result:
    few = {sigma: [_mnist(sigma, seed, 100, scale) for seed in so.seeds(scale)] for sigma in SIGMAS}
    many = {
        sigma: [_mnist(sigma, seed, _many(scale), scale) for seed in so.seeds(scale)]
        for sigma in SIGMAS
    }
    radii = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    left = Curves(
        "MNIST",
        x="ℓ2 size of the attack",
        y="certified accuracy",
        lines=[
            Line(
                f"σ = {sigma:g}",
                [(r, certified(many[sigma], r, "renyi", INTERVALS[0])) for r in radii],
            )
            for sigma in SIGMAS
        ],
        name="mnist",
    )
    right = Curves(
        "CIFAR-10",
        x="ℓ2 size of the attack",
        y="certified accuracy",
        lines=[_cifar(sigma, radii, scale) for sigma in CIFAR_SIGMAS],
        name="cifar10",
    )
    return Result(
        [left, right, _table(few, many, scale)],
        _claims(few, many),
        notes=[
            "The curves are of Clopper and Pearson's limits, jointly at 95 %, and Rényi's bound.",
            "The paper does not say how many votes it took, nor which interval of 95 %: the table "
            "has what each gives at 0.8. The interval of the authors' later code, stn-2019, held "
            "at 5 % by a mistake that they mended in 2020, and guarantees nothing.",
            "Algorithm 1 prints a minus sign too many before the logarithm; the radius is that of "
            "theorem 2.",
        ],
    )


def _many(scale: Scale) -> int:
    return scale("votes", quick=300, cpu=1000, paper=10_000)


def _mnist(sigma: float, seed: int, votes: int, scale: Scale) -> Step:
    return certify(
        f"mnist-{sigma:g}-{votes}",
        model=so.stn(scale, seed, sigma),
        data=so.data(scale),
        images=so.test_images(scale),
        sigma=sigma,
        votes=votes,
        bounds=["renyi", "cohen"],
        intervals=INTERVALS,
    )


def _cifar(sigma: str, radii: Sequence[float], scale: Scale) -> Line:
    step = certify(
        f"cifar10-{sigma}",
        model=cifar.network("STN", scale),
        data=cifar.data(scale),
        images=so.test_images(scale),
        sigma=sigma,
        votes=_many(scale),
    )
    return Line(f"σ = {sigma}", [(r, certified(step, r)) for r in radii])


def _table(few: dict[float, list[Step]], many: dict[float, list[Step]], scale: Scale) -> Table:
    """The printed number, by everything that the paper leaves open."""
    rows = {}
    for interval in INTERVALS:
        for words, runs in (("100 votes", few), ("more votes", many)):
            for bound in ("renyi", "cohen"):
                measure = certified(runs[0.4], AT, bound, interval)
                rows[f"{interval}, {words}, {bound}"] = {f"σ = 0.4, at {AT}": Cell(measure, PAPER)}
    return Table("The printed number: at least 50 % at 0.8 for σ = 0.4", rows, name="at-0.8")


def _claims(few: dict[float, list[Step]], many: dict[float, list[Step]]) -> list[Claim]:
    return [
        Claim(
            "On MNIST with σ = 0.4, Algorithm 1 achieves at least 50 % accuracy under attacks "
            "smaller than 0.8.",
            "section 6.1",
            [
                at_least(
                    certified(runs[0.4], AT, "renyi", "clopper-pearson"),
                    PAPER,
                    f"Rényi's bound with limits that hold and {words}",
                )
                for words, runs in (("100 votes", few), ("more votes", many))
            ],
            why="With 100 votes Rényi's bound does not reach 0.8 at σ = 0.4 by limits of 95 %, "
            "whatever the network: it ends at 0.527 by Clopper and Pearson's, at 0.677 by Sison "
            "and Glaz's. The number of votes decides, and the paper does not name it.",
        ),
        Claim(
            "A higher σ results in a higher proportion of robust classification at large sizes, "
            "and in a worse accuracy.",
            "section 6.1",
            [
                more(
                    certified(many[0.4], 0.5, "renyi", "clopper-pearson"),
                    certified(many[0.1], 0.5, "renyi", "clopper-pearson"),
                    "σ = 0.4 certifies more at 0.5 than σ = 0.1",
                ),
                more(
                    certified(many[0.1], 0.0, "renyi", "clopper-pearson"),
                    certified(many[0.4], 0.0, "renyi", "clopper-pearson"),
                    "σ = 0.1 is right more often",
                ),
            ],
            why="On so few images of MNIST the two are right equally often: what a higher σ "
            "costs there is less than they can show.",
        ),
    ]
