"""CIFAR-10: the networks of figure 3 and of the right of figure 1, and S-O on them.

Architecture and training are those of MadryLab's cifar10_challenge, with four objectives. PixelDP
is trained on noisy images, with STN's σ, so that the two differ in the objective alone.
"""

from collections.abc import Sequence

from holdfast.reproduce import Scale, Step, Value, evaluate, train

from . import _networks as so

#: Standard deviation of the noise in training and at test time (appendix H).
TRAIN_SIGMA, TEST_SIGMA = "100/255", "50/255"

NAMES = ("natural", "Madry", "STN", "PixelDP")
NOISY = ("STN", "PixelDP")

#: What is left by everything that there is, within a tenth of AutoAttack's passes.
SUITE = "worst-case(budget=1500)"

#: Why a smaller scale trains otherwise.
_FEW = "chosen for few epochs"


def data(scale: Scale) -> str:
    """The images; at the cpu scale a subset, an image folder in --data-dir."""
    return scale("data, CIFAR-10", quick="digits", cpu="cifar10-jpeg", paper="cifar10")


def sizes(norm: str, scale: Scale) -> tuple[float, ...]:
    """Of the attacks; 0.031 is 8/255 (section 6)."""
    if norm == "linf":
        return scale(
            "ℓ∞ sizes", quick=(0.05, 0.1), cpu=(0.015, 0.031, 0.062), paper=(0.015, 0.031, 0.062)
        )
    return scale("ℓ2 sizes", quick=(0.3, 0.6), cpu=(0.25, 0.5, 1.0), paper=(0.25, 0.5, 1.0))


def network(name: str, scale: Scale) -> Step:
    """One of the four."""
    objectives: dict[str, dict[str, Value | None]] = {
        "natural": {"objective": "standard"},
        "Madry": {
            "objective": "pgd(steps=7, step_size=2/255)",  # cifar10_challenge
            "norm": "linf",
            "eps": "8/255",
        },
        "STN": {"objective": f"stability(sigma={TRAIN_SIGMA}, gamma={so.GAMMA})"},
        "PixelDP": {"objective": f"noise(sigma={TRAIN_SIGMA})"},
    }
    return train(
        f"cifar-{name}",
        data=data(scale),
        model=scale("network, CIFAR-10", quick="small", cpu="small", paper="madry-cifar10"),
        **objectives[name],
        batch_size=128,  # cifar10_challenge, like the rest of the paper's scale
        epochs=scale("epochs, CIFAR-10", quick=8, cpu=15, paper=205),  # 80,000 steps
        optimizer=scale.otherwise(
            "optimizer, CIFAR-10",
            quick="adam",
            cpu="adam",
            paper="sgd(lr=0.1, weight_decay=0.0002)",
            why=_FEW,
        ),
        schedule=scale.otherwise(
            "schedule, CIFAR-10",
            quick="cosine",
            cpu="cosine",
            paper="multi-step(at=[102, 154])",
            why=_FEW,
        ),
        shift=scale("shift", quick=0, cpu=4, paper=4),
        flip=scale("flip", quick=False, cpu=True, paper=True),
        seed=0,
    )


def attacked(name: str, norm: str, scale: Scale, attacks: Sequence[str] | None = None) -> Step:
    """S-O on one of them, and PGD on Madry's in ℓ2, to see what S-O gains there."""
    if attacks is None:
        attacks = [so.PGD, so.S_O] if (name, norm) == ("Madry", "l2") else [so.S_O]
    return evaluate(
        f"{name}-{norm}",
        model=network(name, scale),
        data=data(scale),
        images=so.test_images(scale),
        norm=norm,
        eps=sizes(norm, scale),
        attacks=attacks,
        **noise(name, scale),
    )


def noise(name: str, scale: Scale) -> dict[str, Value | None]:
    """What one of them is asked under."""
    return {"sigma": TEST_SIGMA, "votes": so.votes(scale)} if name in NOISY else {}
