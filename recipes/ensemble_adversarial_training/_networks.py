"""The networks of EAT's MNIST experiments, shared by tables 6, 7, 8 and figure 2.

Targets, static sources and attackers are of different seeds: target s has seed s, its static
sources have 100 + s, attackers 200. Settings are those of the authors' code
(ftramer/ensemble-adv-training) where the text is silent, each with its reason beside it.
"""

from holdfast.reproduce import Scale, Step, Value, spec, train

ARCHITECTURES = ("A", "B", "Bstar", "C", "D")

#: Which others an ensemble of three is taught by (Appendix C.2).
THREE = {"A": "ACD", "B": "BCD", "C": "BCD", "D": "ACD"}


def eps(scale: Scale) -> float:
    """The size of all attacks."""
    # Appendix C; the digits' 64 pixels hold far fewer strokes, and half of it leaves a contest.
    return scale("eps", quick=0.15, cpu=0.3, paper=0.3)


def seeds(scale: Scale) -> range:
    """Of the targets; the paper trained each once."""
    return scale("seeds", quick=range(1), cpu=range(1), paper=range(3))


def data(scale: Scale) -> str:
    """The images."""
    return scale("data", quick="digits", cpu="mnist", paper="mnist")


def architecture(name: str, scale: Scale) -> str:
    """The digits' 8×8 pixels are too few for A, B and C."""
    return scale(f"network {name}", quick="D" if name == "D" else "small", cpu=name, paper=name)


def shared(scale: Scale) -> dict[str, Value | None]:
    """Settings of every training."""
    return {
        "data": data(scale),
        "images": scale("training images", quick=None, cpu=None, paper=None),
        "batch_size": 64,  # the authors' code
        "optimizer": "adam(lr=1e-3)",  # Keras' default, in the authors' code
        "schedule": "constant",  # the same
        "init": "keras",  # Glorot's uniform draw, He's normal one in D, zero biases
    }


def plain(name: str, scale: Scale, seed: int) -> Step:
    """A network without defence: 6 epochs (C.2)."""
    return train(
        f"{name}-{seed}",
        model=architecture(name, scale),
        epochs=scale("epochs, plain", quick=4, cpu=3, paper=6),
        seed=seed,
        **shared(scale),
    )


def adversarial(name: str, scale: Scale, seed: int) -> Step:
    """FGSM training: 12 epochs, against the predicted class so that no label leaks (C.2)."""
    # The authors' code averages the losses of the clean and the adversarial batch in place of
    # replacing half of it, and its attack sees the dropout of training.
    return train(
        f"{name}-adv-{seed}",
        model=architecture(name, scale),
        objective=f"fgsm(eps={eps(scale)}, replace=False, attack_in_eval=False)",
        epochs=_epochs(scale),
        seed=seed,
        **shared(scale),
    )


def ensemble(name: str, sources: str, scale: Scale, seed: int) -> Step:
    """Ensemble adversarial training with static sources, of seeds of their own (3.4, C.2)."""
    static = [plain(source, scale, 100 + seed) for source in sources]
    folders = ", ".join(f"'{{{place}}}'" for place in range(len(static)))
    return train(
        f"{name}-ens{len(static)}-{seed}",
        model=architecture(name, scale),
        objective=spec(
            f"ensemble(eps={eps(scale)}, sources=[{folders}], sources_dropout=True, "
            "replace=False, attack_in_eval=False)",
            *static,
        ),
        epochs=_epochs(scale),
        seed=seed,
        **shared(scale),
    )


def attacker(name: str, scale: Scale) -> Step:
    """A network that black-box attacks are crafted on; neither target nor static source."""
    return plain(name, scale, 200)


def test_images(scale: Scale) -> int:
    """How many; the paper attacks all of them, also those that are wrong before."""
    return scale("test images", quick=200, cpu=10_000, paper=10_000)


def _epochs(scale: Scale) -> int:
    return scale("epochs, adversarial", quick=8, cpu=6, paper=12)
