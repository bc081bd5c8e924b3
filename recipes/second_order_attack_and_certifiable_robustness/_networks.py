"""The networks of SO's experiments on MNIST and what is run on them, shared by tables and figures.

Architecture and training are those of MadryLab's mnist_challenge; the paper's own defence trains
the same network by stability training in place of PGD, and adds noise at test time (section 6,
appendix H). Every network of a row has the same seed, as the paper compares them; nothing here is
crafted on one network and tried on another.

Minutes beyond quick are estimated: from 0.45 ms a gradient of Madry's MNIST network in bfloat16 and
0.9 in float32, measured on one core, and from 1.5 ms a batch of 50 on a GPU, which is a guess. What
items share is counted in each.
"""

from collections.abc import Sequence

from holdfast.reproduce import Scale, Step, Value, evaluate, train

#: Noise on MNIST, in training and at test time, and the stability term's weight (appendix H).
SIGMA, GAMMA = 0.2, 1.0
#: Noise behind the first layer, which the paper mentions (section 4) and does not name; on the
#: scale of that layer's output, which is larger than the image's.
FIRST_LAYER_SIGMA = 0.5

#: Why a smaller scale trains otherwise: with mnist_challenge's rate as with its number of epochs.
LARGER_RATE = "few epochs need a larger rate"
SLOW_RISE = "at the larger rate filters die before they learn, unless it rises slowly"
BF16 = "faster, and networks trained so leave the same under attack"

#: Equation 2, from a random start, as Madry et al. begin; the paper names neither steps nor start.
PGD = "pgd"
#: The same with as many gradients as S-O takes.
PGD_RESTARTED = "pgd(restarts=10)"
#: Equation 4 at one σ, of which the paper says nothing: 0.15 was the best of six (sigma.md).
FIXED = "second-order(sigma=0.15)"
#: Equation 4 with σ falling from 0.3 to 0.05: as strong as the best fixed one, and no choice to
#: make for each network.
S_O = "second-order"

#: Equation 3, one unit draw; 2.8 is as long as a draw of equation 4 on MNIST with σ = 0.1.
UNIT = "second-order-unit-draw(xi=2.8)"


def data(scale: Scale) -> str:
    """The images; those of CIFAR-10 are in _cifar.py."""
    return scale("data", quick="digits", cpu="mnist", paper="mnist")


def seeds(scale: Scale) -> range:
    """Of each network; the paper trained each once."""
    return scale("seeds", quick=range(1), cpu=range(1), paper=range(3))


def further_seeds(scale: Scale) -> range:
    """Of networks that the paper's main claim is judged on beside those, at one size."""
    return scale(
        "further seeds of the claims", quick=range(1, 1), cpu=range(1, 3), paper=range(3, 3)
    )


def sizes(scale: Scale) -> tuple[float, ...]:
    """ℓ2 sizes of the MNIST figures, whose axes end at 3."""
    # The digits' 64 pixels are 3.5 times shorter in ℓ2 than MNIST's 784.
    return scale(
        "ℓ2 sizes",
        quick=(0.3, 0.6, 0.9),
        cpu=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
        paper=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    )


def large(scale: Scale) -> float:
    """The size of the claims, at which the ball reaches past the loss's flat part (figure 7)."""
    return scale("ℓ2 size of the claims", quick=0.9, cpu=2.0, paper=2.0)


def test_images(scale: Scale) -> int:
    """How many; the paper does not say, and its tables have steps of half a percent."""
    return scale("test images", quick=40, cpu=200, paper=10_000)


def natural(scale: Scale, seed: int = 0) -> Step:
    """Plain training."""
    return train(f"natural-{seed}", **_mnist(scale), epochs=_plain_epochs(scale), seed=seed)


def madry(scale: Scale, seed: int = 0, norm: str = "linf") -> Step:
    """Trained against PGD: in ℓ∞ by 40 steps of 0.01 at 0.3 (Madry et al.), or in ℓ2."""
    if norm == "linf":
        # Half of 0.3 on the digits, whose 64 pixels hold far fewer strokes.
        eps = scale("eps of ℓ∞ training", quick=0.15, cpu=0.3, paper=0.3)
        attack = scale(
            "ℓ∞ training attack",
            quick="pgd(steps=5)",
            cpu="pgd(steps=5)",
            paper="pgd(steps=40, step_size=0.01)",
        )
    else:
        # Appendix F names no size for its ℓ2 training; 2 is that of figure 7.
        eps = scale("eps of ℓ2 training", quick=0.6, cpu=2.0, paper=2.0)
        attack = scale(
            "ℓ2 training attack", quick="pgd(steps=5)", cpu="pgd(steps=5)", paper="pgd(steps=40)"
        )
    return train(
        f"madry-{norm}-{seed}",
        **_mnist(scale),
        objective=attack,
        norm=norm,
        eps=eps,
        epochs=scale("epochs, adversarial", quick=10, cpu=10, paper=84),  # 100,000 steps of 50
        seed=seed,
    )


def stn(scale: Scale, seed: int = 0, sigma: float = SIGMA) -> Step:
    """Stability training, to be asked under the same noise (section 5, appendix H)."""
    return train(
        f"stn-{sigma:g}-{seed}",
        **_mnist(scale),
        objective=f"stability(sigma={sigma}, gamma={GAMMA})",
        epochs=_plain_epochs(scale),
        seed=seed,
    )


def stn_behind(scale: Scale, seed: int = 0) -> Step:
    """The same with the noise behind the first layer (section 4, last paragraph)."""
    return train(
        f"stn-first-layer-{seed}",
        **_mnist(scale),
        objective=f"stability(sigma={FIRST_LAYER_SIGMA}, gamma={GAMMA}, at='first-layer')",
        epochs=_plain_epochs(scale),
        seed=seed,
    )


def on_natural(scale: Scale, seed: int, eps: Sequence[float] | None = None) -> Step:
    """Settings 1 and 3 of table 1."""
    return attacked(f"natural-{seed}", natural(scale, seed), [PGD, S_O], scale, eps=eps)


def on_madry(scale: Scale, seed: int, eps: Sequence[float] | None = None) -> Step:
    """Settings 2 and 4."""
    attacks = [PGD, PGD_RESTARTED, FIXED, S_O]
    return attacked(f"madry-{seed}", madry(scale, seed), attacks, scale, eps=eps)


def on_stn(scale: Scale, seed: int, eps: Sequence[float] | None = None) -> Step:
    """Setting 5: PGD through the defence's noise, which is S-O with its σ, and S-O beside it."""
    return attacked(
        f"stn-{seed}",
        stn(scale, seed),
        [PGD, S_O],
        scale,
        eps=eps,
        **noise(scale),
    )


def on_stn_behind(scale: Scale, seed: int, eps: Sequence[float] | None = None) -> Step:
    """Setting 5 with the noise behind the first layer."""
    return attacked(
        f"stn-first-layer-{seed}",
        stn_behind(scale, seed),
        [PGD, S_O],
        scale,
        eps=eps,
        **noise_behind(scale),
    )


def noise(scale: Scale) -> dict[str, Value | None]:
    """What setting 5's network is asked under."""
    return {"sigma": SIGMA, "votes": votes(scale)}


def noise_behind(scale: Scale) -> dict[str, Value | None]:
    """The same behind the first layer."""
    return {"sigma": FIRST_LAYER_SIGMA, "noise": "first-layer", "votes": votes(scale)}


def votes(scale: Scale) -> int:
    """For a prediction under noise; n of Algorithm 1, which the paper leaves open."""
    return scale("votes of a prediction", quick=10, cpu=50, paper=100)


def attacked(
    name: str,
    network: Step,
    attacks: Sequence[str],
    scale: Scale,
    *,
    eps: Sequence[float] | None = None,
    **options: Value | None,
) -> Step:
    """Attacks on a network of MNIST, in ℓ2 at all sizes if nothing else is said."""
    return evaluate(
        name,
        **{
            "model": network,
            "data": data(scale),
            "images": test_images(scale),
            "norm": "l2",
            "eps": sizes(scale) if eps is None else eps,
            "attacks": attacks,
            **options,
        },
    )


def _plain_epochs(scale: Scale) -> int:
    # As many as with PGD in mnist_challenge: "we remove the adversarial training part" (H).
    return scale("epochs, without attack", quick=10, cpu=3, paper=84)


def _mnist(scale: Scale) -> dict[str, Value | None]:
    """Settings of every training on MNIST."""
    return {
        "data": data(scale),
        "images": scale("training images", quick=None, cpu=30_000, paper=None),
        "model": scale("network", quick="small", cpu="madry-mnist", paper="madry-mnist"),
        "batch_size": 50,  # mnist_challenge
        # 1e-4, constant, in mnist_challenge.
        "optimizer": scale.otherwise(
            "optimizer",
            quick="adam(lr=1e-3)",
            cpu="adam(lr=4e-4)",
            paper="adam(lr=1e-4)",
            why=LARGER_RATE,
        ),
        "schedule": scale.otherwise(
            "schedule", quick="cosine", cpu="cosine(warm_up=2)", paper="constant", why=SLOW_RISE
        ),
        "precision": scale.otherwise(
            "precision", quick="32-true", cpu="bf16-mixed", paper="32-true", why=BF16
        ),
    }
