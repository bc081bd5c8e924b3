"""Several models as one, to craft examples that fool all of them and so transfer to another."""

import math

import torch
from torch import Tensor, nn

from holdfast.errors import InputError
from holdfast.goals import logits_of
from holdfast.types import Images, Logits

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of the members' probabilities: logits z_k = log (1/m Σ_i softmax(f_i(x))_k).

    Its cross-entropy is -log of the mean probability, so that every attack runs on it as on any
    model, through one backward pass over all members. The mean of the members' losses is another
    thing: `holdfast.goals.AverageOf`.

    Args:
        *members: at least one, all on one device and with the same classes.

    Raises:
        InputError: if there is no member.

    Reference:
        Liu et al., "Delving into transferable adversarial examples and black-box attacks",
        ICLR 2017, the ensemble-based approaches, with equal weights.

    Example:
        >>> from torch import nn
        >>> from holdfast.models import Ensemble
        >>> both = Ensemble(model, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
        >>> both(x).exp().sum(dim=1).round(decimals=3)  # probabilities
        tensor([1., 1., 1., 1.], grad_fn=<RoundBackward1>)
    """

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        if not members:
            raise InputError("there is no member; an ensemble has at least one.")
        self.members = nn.ModuleList(members)

    def forward(self, x: Images) -> Logits:
        """The log of the mean probabilities."""
        each = torch.stack([logits_of(member, x).log_softmax(dim=1) for member in self.members])
        mean: Tensor = each.logsumexp(dim=0) - math.log(len(each))
        return mean
