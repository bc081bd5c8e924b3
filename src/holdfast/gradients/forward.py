"""The gradients of many classes from one forward pass."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.counting import backwards_at_once
from holdfast.goals import logits_of
from holdfast.gradients.exact import cut_off
from holdfast.types import Images, Labels, Logits, Model

__all__ = ["Forward"]

#: Bytes of gradients that one backward pass of several classes carries at most on a CPU. More are
#: slower together than apart; fewer are up to a quarter faster. See docs/results/speed.md.
_CACHED = 2**19


class Forward:
    """A forward pass that is kept, to take gradients of its logits at the images more than once.

    Args:
        model: maps (N, C, H, W) to logits (N, K).
        x: (N, C, H, W) images; their own graph is kept.

    Attributes:
        logits: (N, K), with their graph.

    Example:
        >>> from holdfast.gradients import Forward
        >>> Forward(model, x).gradients().shape  # (N, K, C, H, W)
        torch.Size([4, 3, 1, 8, 8])
    """

    def __init__(self, model: Model, x: Images) -> None:
        with torch.enable_grad(), backwards_at_once() as self._at_once:
            self._x = x if x.requires_grad else x.detach().requires_grad_()
            self.logits: Logits = logits_of(model, self._x)

    def gradients(
        self,
        classes: Int[Tensor, "n c"] | None = None,
        *,
        minus: Labels | None = None,
        again: bool = False,
        create_graph: bool = False,
    ) -> Float[Tensor, "n c *image"]:
        """The gradient of every class's logit.

        They come from one backward pass, or on a CPU from as many as leave it `_CACHED` bytes of
        gradients each.

        Args:
            classes: (N, c) which logits to differentiate for each image; all K by default.
            minus: (N,) a class whose logit is subtracted first, at no further cost.
            again: keep the pass for further gradients.
            create_graph: keep the gradients' own graph too, to differentiate them.

        Raises:
            GradientError: if no gradient reaches the images.
        """
        logits, x = self.logits, self._x
        if classes is None:
            classes = torch.arange(logits.shape[1], device=x.device).expand(len(x), -1)
        at_once = classes.shape[1]
        if x.device.type == "cpu":
            at_once = max(1, min(at_once, _CACHED // max(x.nbytes, 1)))
        parts = classes.split(at_once, dim=1)
        grads = [
            self._together(part, minus, again or part is not parts[-1], create_graph)
            for part in parts
        ]
        return grads[0] if len(grads) == 1 else torch.cat(grads, dim=1)

    def _together(
        self, classes: Int[Tensor, "n c"], minus: Labels | None, again: bool, create_graph: bool
    ) -> Float[Tensor, "n c *image"]:
        """The gradients of some classes, from one backward pass."""
        logits, x = self.logits, self._x
        self._at_once[0] = classes.shape[1]
        # As one_hot() would be, which looks through all classes first for one out of range.
        select = logits.new_zeros(classes.shape[1], *logits.shape)
        select.scatter_(2, classes.T[..., None], 1)
        if minus is not None:
            taken = minus.expand(classes.shape[1], -1)[..., None]
            select.scatter_add_(2, taken, select.new_full(taken.shape, -1))
        several = len(select) > 1  # one cotangent needs none of the batching's machinery
        grad = None
        if logits.requires_grad:
            (grad,) = torch.autograd.grad(
                logits,
                x,
                select if several else select[0],  # (k, N, K), one cotangent for each class
                is_grads_batched=several,
                retain_graph=again or create_graph,
                create_graph=create_graph,
                allow_unused=True,
            )
        if grad is None:
            raise cut_off()
        return grad.transpose(0, 1) if several else grad[:, None]
