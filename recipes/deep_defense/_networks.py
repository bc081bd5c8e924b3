"""The networks of Deep Defense's experiments: references, and what they are fine-tuned to.

Two conditionings. The authors' code (ZiangYan/deepdefense.pytorch) fine-tunes networks trained by
MatConvNet's examples, on images of 0 to 255 less the mean image, from N(0, 0.01²): the rates of the
supplement's table 3 are for such images, and its ‖x‖ is theirs. On [0, 1], as everything else in
Holdfast, the rates have to be others; the rows "[0, 1]" show that it makes a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.reproduce import Scale, Step, Value, spec, train


@dataclass(frozen=True)
class Network:
    """One of table 1.

    Attributes:
        name: as the paper says it.
        model: as Holdfast says it.
        data: its images.
        epochs: of fine-tuning (supplement, table 3; MNIST's 5 is the authors' code's).
        beta: of Parseval training (section 4).
        c: of Deep Defense (section 4).
    """

    name: str
    model: str
    data: str
    epochs: int
    beta: float
    c: float

    @property
    def conditioning(self) -> "Conditioning":
        """That of its rows in table 1."""
        return AUTHORS if self.data == "mnist" else CHANNELS


@dataclass(frozen=True)
class Conditioning:
    """What images a network is given, and the rates that suit them.

    Attributes:
        options: of the reference's training.
        reference_rate: of it.
        rate: of fine-tuning.
    """

    options: Mapping[str, Value]
    reference_rate: float
    rate: float


#: 255 (x - mean image), N(0, 0.01²), 1e-3 (MatConvNet's cnn_mnist), 5e-4 (supplement, table 3).
AUTHORS = Conditioning(MappingProxyType({"centre": True, "init": "gaussian"}), 1e-3, 5e-4)

#: [0, 1], torch's weights, and rates that were ours to choose on held-out images.
UNIT = Conditioning(MappingProxyType({}), 1e-2, 2e-2)

#: CIFAR-10's images, which MatConvNet normalises by image and whitens, here normalised by channel,
#: and with rates that are ours.
CHANNELS = Conditioning(MappingProxyType({"normalize": True}), 1e-2, 5e-3)

MLP = Network("MLP", "mlp", "mnist", 5, 1e-4, 25.0)
LENET = Network("LeNet", "lenet", "mnist", 5, 1e-4, 25.0)
CONVNET = Network("ConvNet", "convnet", "cifar10", 50, 3e-4, 25.0)
NIN = Network("NIN", "nin", "cifar10", 50, 3e-4, 70.0)
NETWORKS = (MLP, LENET, CONVNET, NIN)


def several(
    scale: Scale, *, quick: Sequence[Network], cpu: Sequence[Network], paper: Sequence[Network]
) -> list[Network]:
    """Those of a figure that a scale has time for, by their names on the page."""
    by_name = {network.name: network for network in NETWORKS}
    names = [tuple(network.name for network in of) for of in (quick, cpu, paper)]
    chosen = scale("networks", quick=names[0], cpu=names[1], paper=names[2])
    return [by_name[name] for name in chosen]


def data(network: Network, scale: Scale) -> str:
    """The images; CIFAR-10's at the cpu scale are a subset."""
    cpu = "cifar10-jpeg" if network.data == "cifar10" else network.data
    return scale(f"data, {network.data}", quick="digits", cpu=cpu, paper=network.data)


def reference(network: Network, scale: Scale, conditioning: Conditioning | None = None) -> Step:
    """The network that fine-tuning begins with."""
    conditioning = conditioning or network.conditioning
    return train(
        f"{network.name}-reference",
        model=scale(f"network {network.name}", quick="mlp", cpu=network.model, paper=network.model),
        data=data(network, scale),
        batch_size=100,  # MatConvNet's cnn_mnist, as are momentum and weight decay
        optimizer=f"sgd(lr={conditioning.reference_rate:g}, momentum=0.9, weight_decay=5e-4)",
        schedule="constant",
        epochs=scale(
            f"epochs, {network.name} reference",
            quick=20,
            cpu={"MLP": 20, "LeNet": 10, "ConvNet": 45, "NIN": 20}[network.name],
            paper=20 if network.data == "mnist" else 45,
        ),
        precision=scale.otherwise(
            "precision, NIN reference",
            quick=None,
            cpu="bf16-mixed",
            paper=None,
            why="twice as fast where the processor has it",
        )
        if network is NIN
        else None,
        **conditioning.options,
    )


def epochs(network: Network, scale: Scale) -> int:
    """Of fine-tuning."""
    cpu = 10 if network is CONVNET else 5
    return scale(f"epochs, {network.name}", quick=4, cpu=cpu, paper=network.epochs)


def fine_tuned(
    name: str,
    network: Network,
    scale: Scale,
    conditioning: Conditioning | None = None,
    *,
    short: bool = False,
    **method: Value | None,
) -> Step:
    """A reference trained on by some method: rate and epochs are the same for all (section 4.2).

    Args:
        name: of the method.
        network: whose reference.
        scale: of the reproduction.
        conditioning: of the reference, if not the network's own.
        short: one of many networks of a sweep, on fewer images at the cpu scale.
        **method: objective or hooks of the training.
    """
    conditioning = conditioning or network.conditioning
    passes = epochs(network, scale)
    few: dict[str, int | None] = {"MLP": None, "LeNet": 20_000, "ConvNet": None, "NIN": 500}
    if short:
        few |= {"MLP": 20_000, "LeNet": 5_000}
    return train(
        f"{network.name}-{name}",
        from_=reference(network, scale, conditioning),
        data=data(network, scale),
        images=scale(
            f"training images, {network.name}{' in a sweep' if short else ''}",
            quick=500,
            cpu=few[network.name],
            paper=None,
        ),
        batch_size=100,  # supplement, table 3
        optimizer=f"sgd(lr={conditioning.rate:g}, momentum=0.9, weight_decay=5e-4)",
        # Halved for MNIST's last epoch (section 4.2), and for CIFAR-10's last 10 (4.3).
        schedule=f"multi-step(at=[{0.8 * passes:g}], factor=0.5)",
        epochs=passes,
        keep_epochs=True,
        **method,
    )


def deep_defense(
    network: Network,
    scale: Scale,
    conditioning: Conditioning | None = None,
    *,
    weight: float = 15.0,
    c: float | None = None,
    layer: str | None = None,
    adv_train_2: float | None = None,
    short: bool = False,
) -> Step:
    """Deep Defense: λ = 15, c = 25 (NIN: 70), d = 5 (section 4).

    The digits' distances are three times as large as MNIST's, and their c is a third.
    """
    share = scale("c, as a share of the paper's", quick=0.3, cpu=1.0, paper=1.0)
    given = {
        "weight": weight,
        "c": (network.c if c is None else c) * share,
        "d": 5.0,
        "layer": None if layer is None else f"'{layer}'",
        "adv_train_2": adv_train_2,
    }
    written = ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in given.items()
        if value is not None
    )
    return fine_tuned(
        "deep-defense",
        network,
        scale,
        conditioning,
        short=short,
        objective=f"deep-defense({written})",
    )


def clean(network: Network, scale: Scale, conditioning: Conditioning | None = None) -> Step:
    """Fine-tuned without a defence: figure 2's "Clean"."""
    return fine_tuned("clean", network, scale, conditioning, objective="standard")


def parseval(network: Network, scale: Scale, conditioning: Conditioning | None = None) -> Step:
    """Parseval training, of 30 % of the rows after each step (section 4)."""
    hook = f"parseval(beta={network.beta:g})"
    return fine_tuned("parseval", network, scale, conditioning, hooks=hook)


def adv_train_1(network: Network, scale: Scale, conditioning: Conditioning | None = None) -> Step:
    """Adv. Train I: DeepFool examples made once, on the reference (section 4)."""
    start = reference(network, scale, conditioning)
    return fine_tuned(
        "adv-train-1",
        network,
        scale,
        conditioning,
        objective=spec("adv-train-1(reference='{0}', cache='{0}-deepfool')", start),
    )


def adv_train_2(
    network: Network,
    scale: Scale,
    eps: float,
    conditioning: Conditioning | None = None,
    *,
    short: bool = False,
) -> Step:
    """Adv. Train II: FGS examples of the network in training (supplement, section 2)."""
    return fine_tuned(
        "adv-train-2",
        network,
        scale,
        conditioning,
        short=short,
        objective=f"adv-train-2(eps={eps:g})",
    )
