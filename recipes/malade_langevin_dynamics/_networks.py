"""The classifiers of MALADE's experiments, the chains before them, and the attacks on them.

Attacks are the paper's (appendix B.1) and attack what they are said to attack, the purified model:
by the gradient through the whole chain, or around it (BPDA), with the draws that a row names.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.reproduce import (
    Measure,
    Pictures,
    Scale,
    Spec,
    Step,
    Value,
    accuracy,
    diagnose,
    evaluate,
    spec,
    train,
    tune,
)

from ..second_order_attack_and_certifiable_robustness import _networks as so

#: σ² = 0.15 of the denoiser's noise on MNIST (B.2.1).
SIGMA = 0.3873
#: σ² = 0.01 on CIFAR-10 and TinyImageNet (B.2.1).
SIGMA_PHOTOGRAPHS = 0.1

#: Equation 11 as printed, the plain denoiser of equation 7, and equation 11 with the squared error
#: as a mean over the pixels, a guess at what was run: see the page of figure 5.
SDAE, DAE, MEAN = "sDAE", "DAE", "sDAE (mean)"

#: Sizes of figures 3 to 5; the text names 0.3, 0.4 and beyond.
LINF = (0.1, 0.2, 0.3, 0.4, 0.5)

#: Draws of BPDAwEOT (B.1.2).
EOT = 30

#: EAD's β (table 1). CleverHans, which the paper attacks with, shrinks by it in every step.
ELASTIC = "beta=0.01, shrinkage=0.01"

#: Of attacks without a limit, which undefended images never stand, on a chain.
WITHOUT_LIMIT = (
    "Without a limit an image counts as robust where the point found for some draws of the chain "
    "is on their boundary, and another draw takes it back."
)

#: One chain makes a prediction; voting is the paper's future work (section 5).
VOTES = 1


class Classifier(NamedTuple):
    """A column of the paper's tables."""

    name: str
    step: Step
    purified: bool = False


class Attacked(NamedTuple):
    """An attack of an evaluation."""

    step: Step
    attack: str

    def at(self, eps: float) -> Measure:
        """What it leaves at one of its sizes."""
        return accuracy(self.step, self.attack, eps)


def mnist(scale: Scale) -> str:
    """The images of all but tables 3 and 4."""
    return scale("data", quick="digits", cpu="mnist", paper="mnist")


def linf(scale: Scale, size: float) -> float:
    """An ℓ∞ size."""
    # The digits' 64 pixels hold far fewer strokes, and half of 0.3 leaves a contest.
    return scale(f"ℓ∞ {size:g}", quick=size / 2, cpu=size, paper=size)


def l2(scale: Scale, size: float) -> float:
    """An ℓ2 size; the digits' 64 pixels are 3.5 times shorter in ℓ2 than MNIST's 784."""
    return scale(f"ℓ2 {size:g}", quick=size / 4, cpu=size, paper=size)


def cnn(scale: Scale, seed: int = 0) -> Classifier:
    """The plain network of table 5, on the paper's 50,000 training images."""
    step = train(
        f"CNN-{seed}",
        data=mnist(scale),
        model="malade-cnn",
        images=scale("training images", quick=1_000, cpu=50_000, paper=50_000),  # section 4.1
        epochs=scale("epochs, CNN", quick=10, cpu=6, paper=20),  # ours: the paper has no number
        precision=_precision(scale),
        seed=seed,
    )
    return Classifier("CNN", step)


def madry(scale: Scale) -> Classifier:
    """Adversarially trained at 0.3; the paper took the network that its authors published."""
    # At the cpu and paper scales a network of SO's recipes, so that it is trained once; of seed 1,
    # since in table 2 it and the CNN of seed 0 meet what was crafted on the other.
    step = train(
        "Madry",
        data=mnist(scale),
        images=scale("training images, Madry", quick=1_000, cpu=30_000, paper=None),
        model=scale("network, Madry", quick="small", cpu="madry-mnist", paper="madry-mnist"),
        batch_size=50,  # mnist_challenge
        # 1e-4, constant, in mnist_challenge.
        optimizer=scale.otherwise(
            "optimizer, Madry",
            quick="adam(lr=1e-3)",
            cpu="adam(lr=4e-4)",
            paper="adam(lr=1e-4)",
            why=so.LARGER_RATE,
        ),
        schedule=scale.otherwise(
            "schedule, Madry",
            quick="cosine",
            cpu="cosine(warm_up=2)",
            paper="constant",
            why=so.SLOW_RISE,
        ),
        precision=_precision(scale),
        objective=scale(
            "Madry's training attack",
            quick="pgd(steps=5)",
            cpu="pgd(steps=5)",
            paper="pgd(steps=40, step_size=0.01)",
        ),
        norm="linf",
        eps=linf(scale, 0.3),
        epochs=scale("epochs, Madry", quick=10, cpu=10, paper=84),  # 100,000 steps of 50
        seed=1,
    )
    return Classifier("Madry", step)


def denoiser(kind: str, scale: Scale, *, balanced: bool = False) -> Step:
    """Table 6 trained as a DAE or, with the CNN frozen behind it, as a sDAE (B.2.1).

    Args:
        kind: `SDAE`, `DAE` or `MEAN`.
        scale: at which.
        balanced: whether a sDAE's classes count equally, as the paper asks after theorem 1.
    """
    classifier = cnn(scale).step
    weights = ", balanced=True" if balanced else ""
    objectives: dict[str, str | Spec] = {
        DAE: f"dae(sigma={SIGMA})",
        SDAE: spec(f"sdae(sigma={SIGMA}, classifier='{{0}}'{weights})", classifier),
        MEAN: spec(f"sdae(sigma={SIGMA}, classifier='{{0}}', weight='mean'{weights})", classifier),
    }
    return train(
        kind,
        data=mnist(scale),
        model="malade-dae",
        objective=objectives[kind],
        images=scale("training images", quick=1_000, cpu=50_000, paper=50_000),
        batch_size=scale("batch, denoiser", quick=32, cpu=128, paper=128),  # ours, like the rest
        optimizer=scale.otherwise(
            "optimizer, denoiser",
            quick="adam(lr=3e-3)",
            cpu="adam(lr=1e-3)",
            paper="adam(lr=1e-3)",
            why=so.LARGER_RATE,
        ),
        epochs=scale("epochs, denoiser", quick=6, cpu=6, paper=20),
        precision=_precision(scale),
        seed=0,
    )


def purified(behind: Classifier, scale: Scale, kind: str = SDAE) -> Classifier:
    """A chain before a classifier, its numbers chosen on training images (B.2.2)."""
    names = {SDAE: "MALADE", MEAN: "MALADE (mean)", DAE: "MALA"}
    step = tune(
        "malade",
        f"{behind.name}-{names[kind]}",
        data=mnist(scale),
        classifier=behind.step,
        # The paper has one architecture and names one denoiser; the CNN's stands before Madry too.
        denoiser=denoiser(kind, scale),
        eps=linf(scale, 0.3),
        seed=0,
        **search(scale),
    )
    return Classifier(f"{behind.name} + {names[kind]}", step, purified=True)


def search(scale: Scale, sigma: float = SIGMA) -> dict[str, Value | None]:
    """What a search tries: α and δ are fractions of σ² and σ, by default `holdfast tune`'s."""
    alpha, delta = (round(sigma**2 / 2, 6),), (round(sigma / 10, 6), round(3 * sigma / 10, 6))
    return {
        "images": scale("images to choose a chain by", quick=40, cpu=100, paper=1_000),
        "steps": scale("chains' lengths to try", quick=(2,), cpu=(10, 25, 40), paper=(10, 25, 40)),
        "alpha": scale("α to try", quick=alpha, cpu=None, paper=None),
        "delta": scale("δ to try", quick=delta, cpu=None, paper=None),
        "attack": scale(
            "attack to choose a chain by",
            quick="pgd(steps=3)",
            cpu="pgd(steps=10)",
            paper="pgd(steps=20)",
        ),
        "first_images": scale("images of the first attack", quick=10, cpu=20, paper=200),
        "finalists": scale("chains that meet all variants", quick=1, cpu=2, paper=5),
        "finalist_images": scale("images of all variants", quick=10, cpu=20, paper=200),
        "samples": scale("draws of the search", quick=2, cpu=3, paper=10),
    }


def fixed(
    scale: Scale,
    kind: str = SDAE,
    *,
    steps: int | None = None,
    anneal: float = 1.0,
    balanced: bool = False,
) -> Classifier:
    """The CNN behind a chain as long as figure 2's, whose other numbers the paper does not give."""
    if steps is None:
        steps = scale("steps of the chain", quick=10, cpu=25, paper=25)
    # α = σ²/2 and δ = 0.3 σ are in the middle of what the search tries, whatever it chooses.
    behind, names = cnn(scale), {SDAE: "MALADE", DAE: "MALA"}
    step = tune(
        "malade",
        f"{behind.name}-{names[kind]}-{steps}",
        data=mnist(scale),
        classifier=behind.step,
        denoiser=denoiser(kind, scale, balanced=balanced),
        eps=linf(scale, 0.3),
        seed=0,
        images=10,
        steps=(steps,),
        alpha=(round(SIGMA**2 / 2, 6),),
        delta=(round(3 * SIGMA / 10, 6),),
        anneal=None if anneal == 1 else (anneal,),
        attack="fgsm",  # with one chain there is nothing to choose
        first_images=1,
        finalists=1,
        finalist_images=1,
        samples=1,
    )
    return Classifier(names[kind], step, purified=True)


def traces(images: Sequence[int], scale: Scale, variant: str) -> list[Pictures]:
    """Figures 17 to 20: two images on their way through the chain, attacked at several sizes."""
    return [
        Pictures(
            f"({letter}) test image {image}",
            diagnose(
                "purification",
                f"image {image}",
                data=mnist(scale),
                model=fixed(scale).step,
                image=image,
                attack=pgd(scale),
                variant=variant,
                samples=1 if variant == "plain" else EOT,
                eps=[linf(scale, size) for size in (0.1, 0.2, 0.3, 0.4)],
                at=scale("steps shown", quick=(1, 5, 10), cpu=(1, 5, 10, 25), paper=(1, 5, 10, 25)),
                seed=0,
            ),
            ["traces"],
            name=f"{letter}-",
        )
        for letter, image in zip("ab", images, strict=True)
    ]


def pgd(scale: Scale, name: str = "pgd", steps: int | None = None, **more: Value) -> str:
    """PGD, or another by its name, as in B.1.1: 1000 steps of 0.01 from the image itself."""
    if steps is None:
        steps = scale("attack's steps", quick=4, cpu=20, paper=1_000)
    size = scale("attack's step size", quick=0.05, cpu=0.04, paper=0.01)
    given = {"steps": steps, "step_size": size, "random_start": False, **more}
    if name == "mim":
        del given["random_start"]  # it always begins at the image
    return f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})"


def test_images(scale: Scale) -> int:
    """How many of the 10,000."""
    return scale("test images", quick=20, cpu=100, paper=10_000)


def attacked(
    of: Classifier,
    attacks: Sequence[str],
    eps: Sequence[float],
    scale: Scale,
    *,
    variants: Sequence[str] = (),
    samples: int = 1,
    source: Classifier | None = None,
    images: int | None = None,
    data: str | None = None,
    **more: Value | None,
) -> Step:
    """Attacks on a classifier; of a purified one by these variants, with so many draws a step.

    Args:
        of: the classifier.
        attacks: as typed.
        eps: their sizes.
        scale: at which.
        variants: of those that a chain calls for; each has a line of its own where several.
        samples: draws that a gradient, or an answer without gradients, averages over.
        source: craft on this one instead.
        images: how many; else as many as everywhere.
        data: other images than MNIST's.
        more: other options of ``holdfast evaluate``.
    """
    several = len(variants) > 1 or (variants == ("r",) and "penalties" in more)
    drawn = of.purified or (source is not None and source.purified)
    crafted_on = of if source is None else source
    return evaluate(
        f"{of.name}{'' if source is None else f' from {source.name}'}",
        data=mnist(scale) if data is None else data,
        model=of.step,
        source=None if source is None else source.step,
        attacks=attacks,
        eps=eps,
        images=test_images(scale) if images is None else images,
        votes=VOTES if drawn else None,
        samples=samples if drawn else None,
        variants=variants or None if crafted_on.purified else None,
        each=True if of.purified and source is None and several else None,
        keep_images=0,
        **more,
    )


#: What the paper calls the variants of an attack on a chain.
ADAPTED = {"PGD": "plain", "R+PGD": "r", "BPDA": "bpda", "BPDAwEOT": "bpda-eot"}


def adapted(of: Classifier, sizes: Sequence[float], scale: Scale) -> dict[str, Attacked]:
    """PGD on a classifier; on a chain also R+PGD, BPDA and BPDAwEOT, each on every image."""
    attack = pgd(scale)
    step = attacked(of, [attack], sizes, scale, variants=tuple(ADAPTED.values()))
    if not of.purified:
        return {"PGD": Attacked(step, attack)}
    return {name: Attacked(step, f"{attack}, {variant}") for name, variant in ADAPTED.items()}


def over_sizes(
    of: Classifier, scale: Scale, source: Classifier | None = None
) -> list[tuple[float, Measure]]:
    """What PGD leaves over the ℓ∞ sizes of figures 3 to 5, through a chain with one draw a step."""
    shown = scale("ℓ∞ sizes", quick=LINF[::2], cpu=LINF, paper=LINF)
    sizes = [linf(scale, size) for size in shown]
    step = attacked(of, [pgd(scale)], sizes, scale, variants=("plain",), source=source)
    return [(x, accuracy(step, eps=eps)) for x, eps in zip(shown, sizes, strict=True)]


def _precision(scale: Scale) -> str:
    return scale.otherwise(
        "precision", quick="32-true", cpu="bf16-mixed", paper="32-true", why=so.BF16
    )
