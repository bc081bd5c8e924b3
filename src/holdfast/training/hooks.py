"""Hooks: what is done to a network after each step of its optimiser, such as Parseval's retraction.

A hook changes the weights in place, and says something for the log. Hooks run in the order given,
before the EMA takes in the weights.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from holdfast.random import Stream

__all__ = ["Hook"]


@runtime_checkable
class Hook(Protocol):
    """(network, stream, step) -> terms for the log; its repr is the record of what was run.

    Example:
        >>> from dataclasses import dataclass
        >>> from holdfast.training import Hook
        >>> @dataclass(frozen=True)
        ... class Clip:
        ...     largest: float
        ...     def __call__(self, network, rng, step):
        ...         with torch.no_grad():
        ...             for weight in network.parameters():
        ...                 weight.clamp_(-self.largest, self.largest)
        ...         return {}
        >>> isinstance(Clip(1.0), Hook)
        True
    """

    def __call__(self, network: nn.Module, rng: Stream, step: int) -> Mapping[str, Tensor]:
        """Act on the network, without gradients.

        Args:
            network: as it was built, its weights on their device, in training mode.
            rng: one example's randomness, keyed by (seed, hook, step), so the same in every process
                and after a resume: ``rng.fold(purpose).uniform((rows,))[0]`` is (rows,).
            step: number of the step that has just been made, from 0.

        Returns:
            Scalars by name, finite, the same names at every step; the epoch's log shows their means
            over its examples.
        """
        ...
