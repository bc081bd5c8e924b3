"""``holdfast list``: everything that has a name."""

import inspect
from collections.abc import Mapping

from holdfast import data
from holdfast.attacks import ATTACKS, Attack
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli import registry, schedules
from holdfast.cli.common import print_table
from holdfast.defenses import LAYERS, NOISES
from holdfast.models import ARCHITECTURES, DENOISERS
from holdfast.models.external.names import IMAGENET
from holdfast.training import OBJECTIVES


def list_names() -> None:
    """List attacks, objectives, architectures and everything else that has a name.

    Example:
        holdfast list
    """
    print_table("--attacks, and the norms that each is defined in", _attacks())
    print_table(
        "other names of attacks", [{"name": a, "what": b} for a, b in registry.ALIASES.items()]
    )
    print_table("--norm", _described(registry.NORMS))
    print_table(
        "goal of an attack, as in pgd(goal=margin) or goal=top_margin(top=5)",
        [{"name": name} for name in registry.GOALS],
    )
    print_table(
        "gradient of an attack, as in fgsm(gradient=evolution(samples=50, sigma=0.01))",
        _described(registry.GRADIENTS),
    )
    print_table(
        "rule of EAD, as in ead(rule=elastic_net)", [{"name": name} for name in registry.RULES]
    )
    imagenet = [{"name": n, "what": w} for n, w in IMAGENET.items()]
    print_table(
        "--model of train; torchvision/NAME and timm/NAME work for any classifier of theirs",
        _described(ARCHITECTURES) + imagenet,
    )
    print_table(
        "layer in front of any --model, as in binarise(threshold=0.5) | runs/net",
        _described(LAYERS),
    )
    print_table("--model of train with a denoising objective", _described(DENOISERS))
    print_table("--objective", _described(OBJECTIVES))
    print_table(
        "divergence of TRADES, as in trades(eps=0.3, divergence=kl)",
        [{"name": name} for name in registry.DIVERGENCES],
    )
    print_table(
        "draw of eps for each batch, as in fgsm(eps=0.3, draw=uniform), or image: draw_each=True",
        [{"name": name} for name in registry.SIZE_DISTRIBUTIONS],
    )
    print_table("--optimizer", _described(schedules.OPTIMIZERS))
    print_table("--schedule", _described(schedules.SCHEDULES))
    print_table("--hooks", _described(registry.HOOKS))
    print_table(
        "--data; the path of an image folder works too, whose images are all of one size",
        _described(data.DATASETS),
    )
    print_table("--noise", _described({name: noise.layer for name, noise in NOISES.items()}))
    print_table("--bounds", _described(BOUNDS))
    print_table("--intervals", _described(INTERVALS))


def _attacks() -> list[dict[str, str]]:
    """Their names and norms, where these do not hang on parts, and what they are."""
    return [
        {
            "name": line["name"],
            "norms": " ".join(made.norms)
            if isinstance(made, type) and issubclass(made, Attack)
            else "",
            "what": line["what"],
        }
        for line, made in zip(_described(ATTACKS), ATTACKS.values(), strict=True)
    ]


def _described(named: Mapping[str, object]) -> list[dict[str, str]]:
    """Names with the first line of their docstrings."""
    return [
        {"name": name, "what": (inspect.getdoc(thing) or "").splitlines()[0]}
        for name, thing in named.items()
    ]
