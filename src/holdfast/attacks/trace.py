"""A record of an attack's iterations, for figures such as SO figure 2."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from holdfast.errors import InputError
from holdfast.tensors import norm
from holdfast.types import Step

__all__ = ["Trace"]


class Trace:
    """Loss, gradient norm and success of every example at every iteration.

    Pass it as ``callback`` to one attack call:

        trace = Trace()
        x_adv = PGD(Linf(0.3))(model, x, y, callback=trace)
        trace.grad_norm.nanmean(dim=1)  # SO figure 2, left

    An example that early stopping has dropped is NaN from then on in ``loss`` and ``grad_norm``,
    and stays fooled in ``fooled``. Restarts follow each other along the first axis.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, Trace
        >>> trace = Trace()
        >>> x_adv = PGD(Linf(0.3), steps=5, early_stop=False)(model, x, y, seed=0, callback=trace)
        >>> trace.grad_norm.shape  # five iterates of four images
        torch.Size([5, 4])
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        """Record one iteration; the images themselves are not kept."""
        self._steps.append(
            Step(
                step.step,
                step.position.cpu(),
                step.x[:0].cpu(),
                step.value.cpu(),
                None if step.grad is None else norm(step.grad, 2).cpu(),
                step.reached.cpu(),
            )
        )

    @property
    def loss(self) -> Float[Tensor, "steps n"]:
        """What was ascended, at each iterate before its step."""
        return self._table([step.value for step in self._steps])

    @property
    def grad_norm(self) -> Float[Tensor, "steps n"]:
        """‖g‖₂ of the gradient that was followed, over C·H·W; NaN where none was taken."""
        none = torch.tensor(torch.nan)
        return self._table(
            [none.expand_as(s.value) if s.grad is None else s.grad for s in self._steps]
        )

    @property
    def fooled(self) -> Bool[Tensor, "steps n"]:
        """Whether the goal has been reached by that iterate or an earlier one."""
        reached = self._table([step.reached.float() for step in self._steps])
        return (reached == 1).cummax(dim=0).values

    def _table(self, rows: list[Tensor]) -> Tensor:
        if not rows:
            raise InputError("the trace is empty; pass it as callback to an attack first.")
        count = 1 + max(int(step.position.max()) for step in self._steps)
        table = torch.full((len(rows), count), torch.nan)
        for line, (step, row) in enumerate(zip(self._steps, rows, strict=True)):
            table[line, step.position] = row.to(table.dtype)
        return table
