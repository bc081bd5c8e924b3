"""Section 4.1: training on R+FGSM examples alone, and what an iterative attack leaves of it."""

from holdfast.reproduce import (
    Cell,
    Claim,
    Result,
    Scale,
    Table,
    accuracy,
    at_least,
    at_most,
    evaluate,
    train,
)

from . import _networks as eat

MINUTES = {"quick": 0.2, "cpu": 60, "paper": 90}


def recipe(scale: Scale) -> Result:
    # The paper trains A; D at the cpu scale, since A costs forty times as much an epoch there.
    name = scale("network", quick="D", cpu="D", paper="A")
    trained = train(
        f"{name} on R+FGSM",
        model=eat.architecture(name, scale),
        objective=f"r+fgsm(eps={eat.eps(scale)}, attack_in_eval=False)",
        epochs=scale("epochs", quick=10, cpu=100, paper=100),  # 4.1
        **eat.shared(name, scale),
    )
    attacks = [eat.rfgsm(scale), "r+fgsm", "pgd(steps=20)"]
    step = evaluate(
        "R+FGSM-trained",
        model=trained,
        attacks=attacks,
        eps=eat.eps(scale),
        data=eat.data(scale),
        images=scale("test images", quick=150, cpu=10_000, paper=10_000),
        attack_all=True,
    )
    own, half, pgd = (accuracy(step, attack) for attack in attacks)
    table = Table(
        "Accuracy in %",
        {
            f"{name}, trained on R+FGSM": {
                "R+FGSM, α = ε/6": Cell(own, 0.90, why="the paper says more than 90.0"),
                "R+FGSM, α = ε/2": Cell(half),
                "PGD, 20 steps": Cell(pgd, 0.18),
            }
        },
        elsewhere=name != "A",
    )
    claims = [
        Claim(
            "Training on R+FGSM attains more than 90 % accuracy on R+FGSM samples.",
            "4.1",
            [at_least(own, 0.9, "more than 90 %")],
            why="At the smaller scales D stands for the paper's A: it has no convolutions, and "
            "errs more under every attack (table 7).",
        ),
        Claim(
            "It provides only little robustness to iterative attacks.",
            "4.1",
            [at_most(pgd, 0.5, "less than half is left by PGD of 20 steps")],
        ),
    ]
    return Result([table], claims)
