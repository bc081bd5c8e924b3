"""EMA: an average of the weights, which is often more accurate and more robust than the last ones.

    W̄ <- W̄ + (1 - d_t) (W - W̄),   d_t = min(d, (1 + t) / (10 + t)) after step t = 1, 2, ...

The smaller decay of the first steps lets go of the initial weights, as TensorFlow's
ExponentialMovingAverage does. Buffers of floating point, such as batch normalisation's statistics,
are averaged in the same way, since they belong to the averaged weights; counters are copied.

Reference:
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; in
    adversarial training Gowal et al., "Uncovering the limits of adversarial training", 2020.
"""

import copy

import torch
from torch import Tensor, nn


class EMA:
    """The exponential moving average of a network's weights and buffers.

    Args:
        network: where the average begins.
        decay: d in (0, 1).

    Example:
        >>> from torch import nn
        >>> from holdfast.training.ema import EMA
        >>> network = nn.Linear(1, 1, bias=False)
        >>> average, before = EMA(network, decay=0.999), network.weight.item()
        >>> _ = nn.init.constant_(network.weight, before + 1)
        >>> average.update(network, step=1)  # d_1 = 2 / 11
        >>> round(average.network.weight.item() - before, 4)
        0.8182
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` steps, from 1."""
        fraction = 1 - min(self._decay, (1 + step) / (10 + step))
        averages: list[Tensor] = []
        values: list[Tensor] = []
        state = network.state_dict()
        places: set[int] = set()
        for name, average in self.network.state_dict().items():
            if average.data_ptr() in places:  # tied: taken in under its other name
                continue
            places.add(average.data_ptr())
            if average.is_floating_point():
                averages.append(average)
                values.append(state[name])
            else:
                average.copy_(state[name])
        torch._foreach_lerp_(averages, values, fraction)
