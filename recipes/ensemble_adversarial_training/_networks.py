"""The networks of EAT's MNIST experiments, and their errors, shared by its tables and figures.

Targets, static sources and attackers are of different seeds: target s has seed s, its static
sources have 100 + s, attackers 200. Settings are those of the authors' code
(ftramer/ensemble-adv-training) where the text is silent, each with its reason beside it.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from holdfast.reproduce import Mean, Scale, Step, Value, diagnose, evaluate, spec, train

#: `error`, as the authors count, or `robust_error`.
Count: TypeAlias = Callable[..., Mean]

#: The title of a second table of errors, of the same rows.
OURS = "The same where what was wrong without an attack stays wrong: 100 % - robust accuracy"

ARCHITECTURES = ("A", "B", "Bstar", "C", "D")
SHOWN = {"Bstar": "B*"}

#: Which others an ensemble of three is taught by (C.2: {A, C, D} or {B, C, D}).
THREE = {"A": "BCD", "B": "ACD", "Bstar": "ACD", "C": "ACD", "D": "ACD", "Dcode": "ACD"}

#: At the cpu scale, epochs of plain and of adversarial training: D, which is cheap, has as many as
#: in the paper, 6 and 12 (C.2); twelve of C take 45 minutes, and A costs four times as much.
CPU_EPOCHS = {
    "A": (2, 4),
    "B": (3, 6),
    "Bstar": (3, 6),
    "C": (2, 4),
    "Ccode": (2, 4),
    "D": (6, 12),
    "Dcode": (6, 12),
}

#: Networks without convolutions.
CONNECTED = ("D", "Dcode")

#: For the pages of what has one network of a kind.
ONE_OF_A_KIND = (
    "With one network of a kind the intervals are over images: what another seed would give they "
    "do not say."
)

#: For the pages of what has rows of D.
READING_OF_D = (
    "Table 5's D can be read with one dropout behind its four layers, as here, or with one behind "
    "each, as the authors' code has it: appendix-c-2 has the errors of both."
)

#: Of R+FGSM on MNIST: 0.05 of 0.3 in the authors' code. The errors of table 7 hang on it.
ALPHA = 1 / 6

#: R+FGSM with the text's random step, α = ε/2, which it names for ImageNet (table 2).
HALF_RANDOM = "r+fgsm"


def eps(scale: Scale) -> float:
    """The size of all attacks."""
    # C.2; on 64 pixels 0.3 leaves nothing of a digit.
    return scale("ε", quick=0.15, cpu=0.3, paper=0.3)


def data(scale: Scale) -> str:
    """The images."""
    return scale("images of", quick="digits", cpu="mnist", paper="mnist")


def targets(scale: Scale) -> tuple[str, ...]:
    """The architectures whose rows are made."""
    return scale("architectures", quick=("C", "D"), cpu=ARCHITECTURES, paper=ARCHITECTURES)


def attackers(scale: Scale) -> tuple[str, ...]:
    """The architectures that black-box attacks are crafted on."""
    return scale("attackers", quick=("A", "D"), cpu=ARCHITECTURES, paper=ARCHITECTURES)


def seeds(name: str, scale: Scale) -> range:
    """Of the targets; the paper has one of each, and three of D cost little."""
    several = 3 if name in CONNECTED else 1
    return range(scale(f"networks of {name}", quick=1, cpu=several, paper=several))


def architecture(name: str, scale: Scale) -> str:
    """The digits' 8×8 pixels are too few for the convolutional ones."""
    quick = name if name in CONNECTED else "small"
    return scale(f"network {name}", quick=quick, cpu=name, paper=name)


def shared(name: str, scale: Scale) -> dict[str, Value | None]:
    """Settings of every training."""
    return {
        "data": data(scale),
        "batch_size": 64,  # the authors' code
        "optimizer": "adam(lr=1e-3)",  # Keras' default, in the authors' code
        "schedule": "constant",  # the same
        "init": "keras",  # Glorot's uniform draw, He's normal one in D, zero biases
        "precision": None
        if name in CONNECTED
        else scale.otherwise(
            "precision, convolutional networks",
            quick=None,
            cpu="bf16-mixed",
            paper=None,
            why="twice as fast where the processor has it, and measured to change no error",
        ),
    }


def plain(name: str, scale: Scale, seed: int = 0) -> Step:
    """A network without defence."""
    return train(
        f"{name}, seed {seed}",
        model=architecture(name, scale),
        epochs=scale(f"epochs of {name}", quick=4, cpu=CPU_EPOCHS[name][0], paper=6),
        seed=seed,
        **shared(name, scale),
    )


def adversarial(name: str, scale: Scale, seed: int = 0, *, dropout: bool = False) -> Step:
    """FGSM training, against the predicted class so that no label leaks (C.2).

    Args:
        name: of the network.
        scale: at which.
        seed: of the target.
        dropout: behind a layer that drops pixels, as many as B's own.
    """
    model = architecture(name, scale)
    # The authors' code averages the losses of the clean and the adversarial batch, where the text
    # (4.2, ImageNet) replaces half of it; and its attack sees the dropout of training.
    return train(
        f"{name} adv{' behind dropout' if dropout else ''}, seed {seed}",
        model=f"dropout(rate=0.2) | {model}" if dropout else model,
        objective=f"fgsm(eps={eps(scale)}, replace=False, attack_in_eval=False)",
        epochs=_adversarial_epochs(name, scale),
        seed=seed,
        **shared(name, scale),
    )


def ensemble(name: str, scale: Scale, seed: int = 0, *, three: bool = False) -> Step:
    """Ensemble adversarial training (3.4), with one static source of the same kind, or three."""
    several = scale("static sources", quick="CD", cpu=THREE[name], paper=THREE[name])
    static = [plain(source, scale, 100 + seed) for source in (several if three else [name])]
    folders = ", ".join(f"'{{{place}}}'" for place in range(len(static)))
    return train(
        f"{name} adv-ens{'3' if three else ''}, seed {seed}",
        model=architecture(name, scale),
        objective=spec(
            f"ensemble(eps={eps(scale)}, sources=[{folders}], sources_dropout=True, "
            "replace=False, attack_in_eval=False)",
            *static,
        ),
        epochs=_adversarial_epochs(name, scale),
        seed=seed,
        **shared(name, scale),
    )


def _adversarial_epochs(name: str, scale: Scale) -> int:
    return scale(f"epochs of {name} adv", quick=8, cpu=CPU_EPOCHS[name][1], paper=12)


def attacker(name: str, scale: Scale) -> Step:
    """A network that black-box attacks are crafted on; neither target nor static source."""
    return plain(name, scale, 200)


def rfgsm(scale: Scale) -> str:
    """FGSM after a random step (equation 7)."""
    return f"r+fgsm(alpha={ALPHA * eps(scale):g})"


def single(name: str, target: Step, scale: Scale, source: Step | None = None) -> Step:
    """A network under single-step attacks, its own or a source's, on all images."""
    return evaluate(
        name,
        model=target,
        source=source,
        attacks=["fgsm"] if source else ["fgsm", rfgsm(scale)],
        eps=eps(scale),
        data=data(scale),
        images=scale("test images", quick=150, cpu=10_000, paper=10_000),
        attack_all=True,  # as the authors count: also what is wrong before
    )


def half_random(name: str, target: Step, scale: Scale) -> Step:
    """A network under R+FGSM with the text's random step, on all images."""
    return evaluate(
        f"{name}, ε/2",
        model=target,
        attacks=[HALF_RANDOM],
        eps=eps(scale),
        data=data(scale),
        images=scale("test images", quick=150, cpu=10_000, paper=10_000),
        attack_all=True,
    )


#: The black-box attacks of table 8: FGSM, I-FGSM, and PGD on the loss of Carlini and Wagner; 10
#: steps of ε/10 in the authors' code, 40 in Madry's.
ITERATIVE = ("fgsm", "i-fgsm(steps=10)", "pgd(steps=40, goal=margin)")


def iterative(name: str, target: Step, scale: Scale, source: Step) -> Step:
    """A network under all three attacks crafted on a source."""
    return evaluate(
        name,
        model=target,
        source=source,
        attacks=list(ITERATIVE),
        eps=eps(scale),
        data=data(scale),
        images=scale("test images, black box", quick=100, cpu=1_000, paper=10_000),
        attack_all=True,
    )


def linearity(name: str, targets: Sequence[Step], scale: Scale) -> list[Step]:
    """How near FGSM comes to the largest loss that many steps find, for each network."""
    return [
        diagnose(
            "linearity",
            name,
            model=target,
            single="fgsm",
            # The paper's "strong iterative attack" has no name there.
            multi="pgd(steps=40, early_stop=False)",
            eps=eps(scale),
            data=data(scale),
            images=scale("test images, ratio", quick=100, cpu=1_000, paper=1_000),  # section 4
        )
        for target in targets
    ]
