"""What the noise meets first: layers in front of a network that change what it means."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from holdfast.goals import logits_of
from holdfast.random import Stream, drawing_from, own_global_generator
from holdfast.types import Images, Model

#: Levels of an 8-bit file.
_LEVELS = 255

#: Of the difference that another change makes to the answers. A network that was hardly trained
#: answers nearly the same whatever it is shown, so that no difference is small by itself.
_NEXT_TO_NONE = 0.01


@torch.no_grad()
def notes_on_what_follows_the_noise(model: Model, x: Images, sigma: float) -> list[str]:
    """A sentence for each way in which the model changes its input after the noise.

    The certificate holds all the same, since it is about whatever the model makes of noisy images;
    but a network that was trained on other noise than it meets here votes worse than it could.

    Args:
        model: in evaluation mode, without the noise.
        x: a few images in [0, 1].
        sigma: of the noise.

    Example:
        >>> from torch import nn
        >>> from holdfast.certify.after_noise import notes_on_what_follows_the_noise
        >>> from holdfast.models import Normalize
        >>> normalized = nn.Sequential(Normalize([0.5], [0.2]), model)
        >>> print(*notes_on_what_follows_the_noise(normalized, x, 0.25))
        the model normalizes its images after the noise: sigma 0.25 and the radius are ...
    """
    notes = []
    std = _normalization(model)
    if std is not None:
        notes.append(
            f"the model normalizes its images after the noise: sigma {sigma:g} and the radius are "
            f"on the [0, 1] scale, and behind a std of {std:.3g} the network meets noise of "
            f"{sigma / std:.3g}; that is right if it was trained with noise before the "
            "normalization, and otherwise sigma should be the training noise times std."
        )
    found = change_after_noise(model, x)
    if found is not None:
        notes.append(f"the model {found} after the noise: {CHANGES[found]}")
    return notes


#: What a model may do to its images, and what that means behind the noise.
CHANGES = {
    "clips its images to [0, 1]": (
        "the certificate holds, but a network that was trained on unclipped noise meets other "
        "images here, and votes worse; let the noise be the last thing before the network."
    ),
    "standardizes each image by its own mean and deviation": (
        "the certificate holds, but the network meets less noise than sigma says; give mean and "
        "std of the whole data set instead, holdfast.models.Normalize."
    ),
    "rounds its images to 8 bits": (
        "the certificate holds, but the network that answers is the one behind the rounding; round "
        "before the noise, or set differentiable = False on the layer that rounds."
    ),
}


@torch.no_grad()
def change_after_noise(model: Model, x: Images) -> str | None:
    """What the model does to its images, of `CHANGES`; None if it does nothing of these.

    A model does what makes no difference to it when it is done before; if next to nothing makes a
    difference, there is no telling.
    """
    own = Stream.of(0, torch.arange(len(x), device=x.device)).fold("what follows the noise")
    # Wide enough to leave the box with nearly every pixel, whatever sigma is.
    noisy = x + own.normal(x.shape[1:], x.dtype)
    little = (own.fold("little").uniform(x.shape[1:]).to(x.dtype) - 0.5) / _LEVELS

    def answer(change: Callable[[Tensor], Tensor]) -> Tensor:
        with drawing_from(own), own_global_generator(0, x.device):
            return logits_of(model, change(noisy))

    before, turned, shaken = answer(lambda i: i), answer(lambda i: -i), answer(lambda i: i + little)

    def same(after: Tensor) -> bool:
        return before.shape == after.shape and torch.allclose(before, after, rtol=1e-4, atol=1e-5)

    def nothing(change: Callable[[Tensor], Tensor], beside: Tensor) -> bool:
        """Whether it makes next to none of the difference that something else makes."""
        after = answer(change)
        if not same(after):
            return False
        return bool((after - before).abs().max() <= _NEXT_TO_NONE * (beside - before).abs().max())

    clips, standardizes, rounds = CHANGES
    if same(turned):  # it looks at nothing, or at too little to tell
        return None
    if nothing(lambda image: image.clamp(0, 1), turned):
        return clips
    if nothing(lambda image: 3 * image + 0.5, turned):
        return standardizes
    to_grid = nothing(lambda image: (image * _LEVELS).round() / _LEVELS, shaken)
    return rounds if to_grid and not same(shaken) else None


def _normalization(model: nn.Module) -> float | None:
    """The mean deviation that the first normalising layer divides by; None without such a layer."""
    for layer in model.modules():
        if type(layer).__name__ == "Normalize" and hasattr(layer, "std"):
            return float(torch.as_tensor(layer.std).float().mean())
    return None
