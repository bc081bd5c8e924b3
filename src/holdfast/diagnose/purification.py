"""What purification does to one attacked image, step by step (MALADE, figures 2 and 17 to 20)."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.defenses import MALADE, trace_chain
from holdfast.errors import InputError, ModelError
from holdfast.parameters import Seed
from holdfast.random import Stream
from holdfast.types import Images, Model

__all__ = ["purification"]

#: What stands for the number of the step where the image is not attacked yet.
CLEAN = -1


def purification(
    models: Mapping[str, Model],
    image: Images,
    label: int,
    attacks: Mapping[str, Mapping[str, Attack]],
    steps: Sequence[int],
    *,
    index: int = 0,
    seed: Seed = 0,
) -> tuple[pd.DataFrame, Tensor]:
    """Attack an image, and follow the chain that is to undo it.

        x_0 = attack(x),  x_{t+1} of `MALADE`;  softmax f(x_t) at each of ``steps``

    When:
        To see at which step a purifying defence brings an image back, or loses it.

    When not:
        For a rate: it follows one image.

    Traps:
        All models' chains draw the same noise, so that they compare; another seed is another story.
        The attack may have gone through the chain or not, which decides what is seen.

    Args:
        models: by name; each begins with a `MALADE`, as a tuning run's does. Their chains draw the
            same noise.
        image: (1, C, H, W) in [0, 1], on their device.
        label: its true class.
        attacks: for each model the attacks on it, by what to call them.
        steps: of the chain, to look at; 0 is the attacked image.
        index: identity of the image, which keys all randomness.
        seed: of all randomness.

    Returns:
        One line for each model, attack and step, the first of `CLEAN`: ``prediction`` and its
        probability, that of the label, and the likeliest other class with its own; and the images,
        (lines, C, H, W).

    Raises:
        ModelError: if a model does not begin with a `MALADE`.
        InputError: if a chain has fewer steps.

    Reference:
        Srinivasan et al., "Robustifying models against adversarial attacks by Langevin dynamics",
        2021, figures 2 and 17 to 20.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.defenses import MALADE
        >>> from holdfast.diagnose import purification
        >>> layer = MALADE(nn.Identity(), steps=4, alpha=0.01, delta=0.01, sigma=0.5)
        >>> models = {"malade": nn.Sequential(layer, model).eval()}
        >>> attacks = {"malade": {"pgd": PGD(Linf(0.3), steps=3)}}
        >>> table, images = purification(models, x[:1], int(y[0]), attacks, steps=[0, 4])
        >>> table["step"].tolist(), images.shape  # the clean image, then the attacked one
        ([-1, 0, 4], torch.Size([3, 1, 8, 8]))
    """
    lines, pictures = [], []
    place, y = torch.tensor([index]), torch.tensor([label], device=image.device)
    rng = Stream.of(seed, place.to(image.device)).fold("trace")
    for name, model in models.items():
        layer, classifier = chain_of(name, model, steps)
        for attack_name, attack in attacks[name].items():
            x_adv = attack(model, image, y, seed=seed, index=place)
            trace = trace_chain(layer, classifier, x_adv, rng)
            before = trace_chain(layer, classifier, image, rng)
            shown = [(CLEAN, before, 0), *((step, trace, step) for step in steps)]
            for step, path, at in shown:
                told = {"model": name, "attack": attack_name, "step": step, "label": label}
                lines.append(told | _answer(path.probabilities[at, 0], label))
                pictures.append(path.images[at, 0])
    return pd.DataFrame(lines), torch.stack(pictures)


def chain_of(name: str, model: Model, steps: Sequence[int]) -> tuple[MALADE, nn.Module]:
    """The layer that purifies, with the steps that are to be looked at, and what stands behind it.

    Raises:
        ModelError: if the model does not begin with a `MALADE`.
        InputError: if the chain has fewer steps, or none are asked for.

    Example:
        >>> from holdfast.diagnose.purification import chain_of
        >>> chain_of("mine", model, [1])
        Traceback (most recent call last):
        holdfast.errors.ModelError: mine does not begin with a chain that purifies; ...
    """
    layer, *others = list(model) if isinstance(model, nn.Sequential) else [model]
    if not isinstance(layer, MALADE):
        raise ModelError(
            f"{name} does not begin with a chain that purifies; give the folder of a holdfast tune "
            "malade run."
        )
    wrong = [step for step in steps if not 0 <= step <= layer.steps]
    if wrong or not steps:
        raise InputError(
            f"the chain of {name} has {layer.steps} steps, but {list(steps)} are asked for; give "
            "at least one, none of them larger."
        )
    return layer, nn.Sequential(*others)


def _answer(probabilities: Tensor, label: int) -> dict[str, object]:
    others = probabilities.clone()
    others[label] = -1
    return {
        "prediction": int(probabilities.argmax()),
        "p_label": float(probabilities[label]),
        "other": int(others.argmax()),
        "p_other": float(others.max()),
    }
