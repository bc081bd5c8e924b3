"""Images shifted and mirrored at random before any objective sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.errors import InputError
from holdfast.parameters import check_fields
from holdfast.random import Stream
from holdfast.tensors import expand
from holdfast.training.paced import paced
from holdfast.types import Images, Labels, Model, Objective

__all__ = ["Augmented"]


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """An objective on images that are shifted by whole pixels and mirrored, each at random.

    The usual augmentation of CIFAR-10, ``shift=4, flip=True``: black borders of 4 pixels and a crop
    of the old size. Every epoch draws anew.

    Attributes:
        objective: what to minimise on the images that come out.
        shift: largest shift in either direction, in pixels, at least 0; black moves in.
        flip: whether left and right change places with probability 1/2.

    Raises:
        InputError: if the shift is negative; at the first batch, if it is no less than the images'
            sides.

    Reference:
        He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import Augmented, Standard
        >>> objective = Augmented(objective=Standard(), shift=2, flip=True)
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> loss.shape, sorted(terms)
        (torch.Size([]), ['accuracy', 'loss'])
    """

    objective: Objective
    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shift < 0:
            raise InputError(f"shift is {self.shift}, but is a number of pixels of at least 0.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        return self.objective(model, self.moved(x, rng.fold("augment")), y, rng)

    def during(self, progress: float) -> Objective:
        """With what the objective is on the way; see `holdfast.training.Paced`."""
        return replace(self, objective=paced(self.objective, progress))

    def moved(self, x: Images, rng: Stream) -> Images:
        """(N, C, H, W) the images that the objective gets."""
        if self.flip:
            x = torch.where(expand(rng.fold("flip").uniform(()) < 0.5, x), x.flip(-1), x)
        if self.shift:
            if self.shift >= min(x.shape[-2:]):
                raise InputError(
                    f"shift is {self.shift}, but images of {x.shape[-2]} x {x.shape[-1]} pixels "
                    "could be moved out of sight: give fewer pixels than they are wide and high."
                )
            corner = (rng.fold("shift").uniform((2,)) * (2 * self.shift + 1)).long()
            rows = corner[:, :1] + torch.arange(x.shape[-2], device=x.device)
            columns = corner[:, 1:] + torch.arange(x.shape[-1], device=x.device)
            framed = functional.pad(x, [self.shift] * 4)
            example = torch.arange(len(x), device=x.device)[:, None, None]
            # The channels come last in such an index.
            x = framed[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x
