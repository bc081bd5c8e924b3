"""How an objective adds Gaussian noise: to the image, or behind the network's first layer."""

from typing import Literal

from holdfast.defenses.lipschitz import parted
from holdfast.random import Stream
from holdfast.types import Images, Logits, Model

#: Where the noise is added.
Place = Literal["image", "first-layer"]


def under_noise(model: Model, x: Images, sigma: float, rng: Stream, at: Place) -> Logits:
    """f(x + N(0, σ² I)), or with f = after ∘ before, after(before(x) + N(0, σ² I)).

    Raises:
        ModelError: if the network does not begin with a layer that noise can be put behind.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training.objectives.noisy import under_noise
        >>> under_noise(model, x, 0.25, Stream.of(0, torch.arange(4)), at="first-layer").shape
        torch.Size([4, 3])
    """
    if at == "image":
        noisy: Logits = model(x + sigma * rng.normal(x.shape[1:], x.dtype))
        return noisy
    before, after = parted(model)
    hidden = before(x)
    logits: Logits = after(hidden + sigma * rng.normal(hidden.shape[1:], hidden.dtype))
    return logits
