"""Which filters of a network live: those that give more than 0 somewhere on some image.

Training at too large a rate, above all against a strong attack, drives filters below 0 on every
image before they have learnt anything; no gradient reaches them any more. A network of a few
filters is accurate enough to be taken for a sound one, and shows attacks what no other would.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from holdfast.attacks.engine.attack import prepared
from holdfast.errors import ModelError
from holdfast.parameters import Seed
from holdfast.types import Images, Model

__all__ = ["live_filters"]


def live_filters(
    model: Model, x: Images, *, seed: Seed = 0, index: Tensor | None = None
) -> Mapping[str, Bool[Tensor, "n _"]]:
    """Whether each filter gives more than 0 anywhere on each image.

        live(c, x) = max over places p of ReLU(W_c * x + b_c)_p > 0

    A filter is a channel of what a ReLU makes of a convolution; a ReLU that is called as a function
    is not seen. One that is False on all images of a large sample is dead.

    When:
        After a training that failed, or that went too well.

    When not:
        On networks whose ReLUs are called as functions, which are not seen, or that have another
        activation.

    Traps:
        Dead on a few images is not dead: take a large sample. A network of few live filters is
        accurate enough to be taken for sound, and shows attacks what no other would.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, ...) images in [0, 1].
        seed: of a stochastic model's noise.
        index: (N,) identity of each image; 0 ... N - 1.

    Returns:
        For each ReLU behind a convolution, by its name in the model: (N, filters).

    Raises:
        ModelError: if there is none.

    Reference:
        None: found in reproducing SO
        (docs/results/second-order-attack-and-certifiable-robustness/madry.md).

    Example:
        >>> from torch import nn
        >>> from holdfast.diagnose import live_filters
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        >>> live_filters(network, x)["1"].shape
        torch.Size([4, 4])
    """
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def note(_: nn.Module, __: object, out: Tensor) -> None:
            if out.dim() == 4:
                alive = (out > 0).flatten(2).any(dim=2)
                seen[name] = seen[name] | alive if name in seen else alive

        return note

    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)  # nothing hangs on it
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.ReLU)}
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        with prepared(model, x, y, seed, index) as (checked, x0, _, _), torch.no_grad():
            checked(x0)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise ModelError(
            "the model has no ReLU behind a convolution, so that no filter of it can be counted; "
            "give one that has, its ReLUs being modules."
        )
    return seen
