"""Figure 5: certified accuracy on ImageNet by Rényi's bound and by PixelDP's, for two σ.

At paper scale a network of a library is trained with stability on ImageNet, whose photographs are
looked for in --data-dir and brought to 224 pixels each way; on two cores the same steps are done on
the CIFAR-10 subset.
"""

from holdfast.reproduce import (
    Claim,
    Curves,
    Line,
    Mean,
    Result,
    Scale,
    Scaled,
    Step,
    certified,
    certify,
    more,
    train,
)

MINUTES = {"quick": 0.3, "cpu": 15, "paper": 3000}

CONFIDENCE = 0.95  # section 4


def recipe(scale: Scale) -> Result:
    # Ours, as is the network: the text names neither.
    sigmas = scale("sigmas", quick=(0.15, 0.3), cpu=(0.25, 0.5), paper=(0.25, 0.5))
    steps = {sigma: _proven(scale, sigma) for sigma in sigmas}
    radii = scale(
        "radii",
        quick=(0.0, 0.05, 0.1, 0.2, 0.3),
        cpu=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        paper=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    )
    lines = [
        Line(
            f"{name}, σ = {sigma:g}",
            [(radius, Scaled(_at(step, radius, bound), CONFIDENCE)) for radius in radii],
        )
        for sigma, step in steps.items()
        for name, bound in (("STN", "renyi"), ("PixelDP", "pixeldp"))
    ]
    figure = Curves("Figure 5", x="ℓ2 radius", y="certified accuracy", lines=lines)
    claim = Claim(
        f"Our bound clearly dominates the certified bound from PixelDP.{_here(scale)}",
        "D.1",
        [
            more(
                _at(step, sigma / 2, "renyi"),
                _at(step, sigma / 2, "pixeldp"),
                f"at {sigma / 2:g}, σ = {sigma:g}",
            )
            for sigma, step in steps.items()
        ],
        safe=True,
    )
    return Result(
        [figure],
        [claim],
        notes=["Both bounds are read off the same votes, by Clopper and Pearson's limits."],
    )


def _at(step: Step, radius: float, bound: str) -> Mean:
    return certified(step, radius, bound, "clopper-pearson")


def _data(scale: Scale) -> str:
    return scale("data", quick="digits", cpu="cifar10-jpeg", paper="imagenet")


def _here(scale: Scale) -> str:
    return "" if _data(scale) == "imagenet" else " (Here of small images.)"


def _proven(scale: Scale, sigma: float) -> Step:
    net = train(
        f"stability-{sigma:g}",
        data=_data(scale),
        model=scale("network", quick="small", cpu="convnet", paper="torchvision/resnet18"),
        objective=f"stability(sigma={sigma!r})",
        epochs=scale("epochs", quick=12, cpu=10, paper=90),
        batch_size=scale("batch", quick=64, cpu=64, paper=256),
        optimizer=scale.otherwise(
            "optimizer",
            quick="adam(lr=1e-3)",
            cpu="adam(lr=1e-3)",
            paper="sgd(lr=0.1)",
            why="chosen for few epochs",
        ),
        precision=scale.otherwise(
            "precision",
            quick="32-true",
            cpu="bf16-mixed",
            paper="bf16-mixed",
            why="not needed for the digits",
        ),
    )
    return certify(
        f"stability-{sigma:g}-100",
        model=net,
        data=_data(scale),
        sigma=sigma,
        votes=100,  # section 4
        confidence=CONFIDENCE,
        bounds=("renyi", "pixeldp"),
        intervals=("clopper-pearson",),
        images=scale("images", quick=100, cpu=500, paper=1000),
    )
