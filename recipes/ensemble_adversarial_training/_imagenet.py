"""EAT's ImageNet networks by the names that libraries know them by, and what stands for them.

At the smaller scales each is a network of MNIST of the same role: C, tanh and pooled, stands for
Inception v3, since FGSM training masks its gradient most, as Step-LL training does with v3; D
stands for Inception-ResNet v2; B for Inception v4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.reproduce import (
    Cell,
    Claim,
    Scale,
    Step,
    Table,
    Value,
    error,
    evaluate,
    robust_error,
)

from . import _networks as eat

TARGETS = ("v4", "v3", "v3_adv", "IRv2", "IRv2_adv")

#: IRv2_adv, v3_adv-ens3 and v3_adv-ens4 were never given to timm or torchvision.
_PUBLISHED = {
    "v4": "timm/inception_v4(weights='tf_in1k')",
    "v3": "timm/inception_v3(weights='tf_in1k')",
    "v3_adv": "timm/inception_v3(weights='tf_adv_in1k')",
    "IRv2": "timm/inception_resnet_v2(weights='tf_in1k')",
    "IRv2_adv-ens": "timm/inception_resnet_v2(weights='tf_ens_adv_in1k')",
}
#: Shorter sides that timm brings images to, by bicubic interpolation, to cut out 299 each way.
_RESIZED = {"v4": 341, "v3": 341, "v3_adv": 341, "IRv2": 333, "IRv2_adv-ens": 333}
#: At the smaller scales.
_STAND = "B for v4, C for v3, D for IRv2"
#: Of those that meet in a transfer, where no two share one; each of them other items train too.
_APART = {"v4": 200, "v3": 100, "v3_adv": 0, "IRv2": 102, "IRv2_adv": 1}
MISSING = "its weights were not published where timm or torchvision has them."


def network(name: str, scale: Scale, seed: int = 0) -> Value | None:
    """The network of a name; None if it cannot be had."""
    chosen = scale(
        "networks", quick=f"of digits: {_STAND}", cpu=f"of MNIST: {_STAND}", paper="of ImageNet"
    )
    if chosen == "of ImageNet":
        return _PUBLISHED.get(name)
    made: dict[str, Step] = {
        "v4": eat.plain("B", scale, seed),
        "v3": eat.plain("C", scale, seed),
        "v3_adv": eat.adversarial("C", scale, seed),
        "v3_adv-ens3": eat.ensemble("C", scale, seed, three=True),
        "IRv2": eat.plain("D", scale, seed),
        "IRv2_adv": eat.adversarial("D", scale, seed),
        "IRv2_adv-ens": eat.ensemble("D", scale, seed, three=True),
    }
    return made.get(name)


def on_imagenet(scale: Scale) -> bool:
    """Whether the networks are those of the paper's images."""
    return network("v4", scale) == _PUBLISHED["v4"]


def stand_in(scale: Scale) -> list[str]:
    """A note for the pages of what was not done on ImageNet."""
    if on_imagenet(scale):
        return []
    return [
        f"Networks of small images stand for those of ImageNet: {_STAND}. The paper's numbers are "
        "of ImageNet: which way an effect goes can be held against them, not how large it is."
    ]


def told(claims: Sequence[Claim], scale: Scale) -> list[Claim]:
    """The paper's claims, which say that they were judged on stand-ins where they were."""
    here = "" if on_imagenet(scale) else " (Here of networks of small images.)"
    return [replace(claim, sentence=claim.sentence + here) for claim in claims]


def apart(name: str, scale: Scale) -> Value | None:
    """The same for transfers: no other that it meets there began with its seed."""
    return network(name, scale, _APART[name])


def eps(scale: Scale) -> float:
    """The size of all attacks."""
    # 16/256 on ImageNet, as printed; 0.3 on MNIST (C.2).
    return scale("ε", quick=0.15, cpu=0.3, paper=16 / 256)


def images(name: str, scale: Scale) -> str:
    """The images, as the network of a name takes them: in a transfer, the target."""
    return scale(
        "images of",
        quick="digits",
        cpu="mnist",
        paper=f"imagenet(resize={_RESIZED.get(name, 341)}, crop=299, interpolation=bicubic)",
    )


def attacked(
    target: str,
    model: Value,
    attacks: list[str],
    scale: Scale,
    source: tuple[str, Value] | None = None,
    *,
    iterative: bool = False,
) -> Step:
    """A network under attacks on itself, or on a source with its name.

    Args:
        target: name of the network.
        model: it.
        attacks: as typed.
        scale: at which.
        source: what to craft on instead.
        iterative: whether an attack of many steps is among them, for fewer images at the cpu scale.
    """
    name, crafted_on = source or (target, model)
    return evaluate(
        target if crafted_on == model else f"{target} from {name}",
        model=model,
        source=None if crafted_on == model else crafted_on,
        attacks=attacks,
        eps=eps(scale),
        data=images(target, scale),
        images=scale(
            f"test images{', iterative attacks' if iterative else ''}",
            quick=100,
            cpu=1_000 if iterative else 10_000,
            paper=10_000,
        ),
        attack_all=True,  # as the authors count: also what is wrong before
    )


def transfer(
    attack: str, printed: Mapping[int, Mapping[str, tuple[float, ...]]], scale: Scale
) -> list[Table]:
    """Errors of every target under an attack crafted on every source.

    Args:
        attack: as typed.
        printed: by top 1 and top 5, the errors of each target in %, in the order of the sources.
        scale: at which.

    Returns:
        A table for each top as the paper counts, then as many as robust accuracy counts.
    """
    sources = {name: apart(name, scale) for name in TARGETS}
    papers: dict[int, dict[str, dict[str, Cell]]] = {}
    ours: dict[int, dict[str, dict[str, Cell]]] = {}
    for top, rows in printed.items():
        papers[top], ours[top] = {}, {}
        for target, errors in rows.items():
            papers[top][target], ours[top][target] = {}, {}
            for (name, source), paper in zip(sources.items(), errors, strict=True):
                model, found, stays = sources[target], None, None
                if model is not None and source is not None:
                    step = attacked(target, model, [attack], scale, (name, source))
                    found, stays = error(step, top=top), robust_error(step, top=top)
                why = "" if found else MISSING
                papers[top][target][name] = Cell(found, paper / 100, why=why)
                ours[top][target][name] = Cell(stays, why=why)
    return [*(table(top, rows, scale) for top, rows in papers.items()), *in_ours(ours)]


def table(top: int, rows: dict[str, dict[str, Cell]], scale: Scale) -> Table:
    """Errors as the paper counts."""
    elsewhere = not on_imagenet(scale)
    return Table(f"Errors in %, top {top}", rows, name=f"top-{top}", elsewhere=elsewhere)


def in_ours(found: Mapping[int, dict[str, dict[str, Cell]]]) -> list[Table]:
    """Errors as robust accuracy counts, a table for each top."""
    return [
        Table(f"{eat.OURS}, top {top}", rows, name=f"ours-top-{top}") for top, rows in found.items()
    ]
