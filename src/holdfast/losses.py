"""What an attacker ascends on the logits: one number per example, larger is worse for the model.

Each loss takes logits (N, K) and labels (N,) and returns (N,). The targeted form of a loss is the
larger, the closer the model is to the target.
"""

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.types import Labels, Logits, PerExample

__all__ = [
    "best_other",
    "clipped_cross_entropy",
    "cross_entropy",
    "dlr",
    "kl_divergence",
    "margin",
    "of_class",
    "soft_cross_entropy",
    "top_margin",
    "towards_cross_entropy",
    "towards_dlr",
    "towards_margin",
]


def cross_entropy(logits: Logits, y: Labels) -> PerExample:
    """-log softmax(z)_y.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.

    Returns:
        (N,), at least 0.

    Example:
        >>> from holdfast.losses import cross_entropy
        >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))  # log 2
        tensor([0.6931])
    """
    return functional.cross_entropy(logits, y, reduction="none")


def clipped_cross_entropy(logits: Logits, y: Labels, *, least: float = 1e-7) -> PerExample:
    """-log of softmax(z)_y cut to [least, 1 - least], as Keras takes it of a network's softmax.

    Where the model is surer than that, the gradient is exactly 0: an attack that ascends it stands
    still on the very images that it should move. For comparison with papers whose networks end in a
    softmax (MALADE, table 5), never to judge a defence by.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.
        least: the smallest probability.

    Returns:
        (N,), between -log(1 - least) and -log(least).

    Example:
        >>> from holdfast.losses import clipped_cross_entropy
        >>> clipped_cross_entropy(torch.tensor([[0.0, 90.0]]), torch.tensor([0]))  # 90 unclipped
        tensor([16.1181])
    """
    probability = of_class(logits.softmax(dim=1), y)
    return -probability.clamp(least, 1 - least).log()


def margin(logits: Logits, y: Labels) -> PerExample:
    """max_{k != y} z_k - z_y: the negated margin of Carlini and Wagner; above 0, y has lost.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.

    Returns:
        (N,), above 0 where the model is wrong.

    Reference:
        Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017,
        f_6 without its clamp at 0.

    Example:
        >>> from holdfast.losses import margin
        >>> margin(torch.tensor([[3.0, 1.0, 0.5]]), torch.tensor([0]))
        tensor([-2.])
    """
    return best_other(logits, y) - of_class(logits, y)


def top_margin(logits: Logits, y: Labels, *, top: int) -> PerExample:
    """How far the label is from being behind k others: above 0, it is not among the first k.

    With g_1 ≥ ... ≥ g_k the k largest of z_j - z_y, j ≠ y: g_k once that is above 0, and before it
    Σ_i min(g_i, 0). So all of the k classes that are not ahead yet rise together; to ascend g_k
    alone would raise one of them at each step.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.
        top: k, from 1, where it is `margin`, to K - 1.

    Returns:
        (N,), above 0 where k classes are liked more than the label.

    Example:
        >>> from holdfast.losses import top_margin
        >>> logits = torch.tensor([[3.0, 1.0, 0.5], [0.0, 1.0, 0.5]])
        >>> top_margin(logits, torch.tensor([0, 0]), top=2)
        tensor([-4.5000,  0.5000])
    """
    if top == 1:
        return margin(logits, y)
    others = logits.scatter(1, y[:, None], -torch.inf).topk(top, dim=1).values
    gaps = others - of_class(logits, y)[:, None]
    lacking = torch.where(gaps <= 0, gaps, 0).sum(dim=1)  # clamp has no slope where gaps are 0
    return torch.where(gaps[:, -1] > 0, gaps[:, -1], lacking)


def dlr(logits: Logits, y: Labels) -> PerExample:
    """-(z_y - max_{k != y} z_k) / (z_π1 - z_π3): the margin, invariant to the logits' scale.

    π sorts the logits from the largest. With two classes there is no z_π3 and the quotient would be
    constant, so the plain margin is returned: it ascends the same way.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.

    Returns:
        (N,), at least -1 from three classes on; above 0 where the model is wrong.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020, equation 6.

    Example:
        >>> from holdfast.losses import dlr
        >>> logits, labels = torch.tensor([[3.0, 1.0, -1.0]]), torch.tensor([0])
        >>> dlr(logits, labels), dlr(100 * logits, labels)
        (tensor([-0.5000]), tensor([-0.5000]))
    """
    if logits.shape[1] < 3:
        return margin(logits, y)
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / _positive(top[:, 0] - top[:, 2])


def towards_cross_entropy(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """Log softmax(z)_t, the cross-entropy of the target, negated; ``y`` plays no part.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.
        target: (N,) classes to go to, integer.

    Returns:
        (N,), at most 0.

    Example:
        >>> from holdfast.losses import towards_cross_entropy
        >>> towards_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0]), torch.tensor([1]))
        tensor([-0.6931])
    """
    del y
    return -cross_entropy(logits, target)


def towards_margin(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """z_t - max_{k != t} z_k: above 0, the target has won; ``y`` plays no part.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.
        target: (N,) classes to go to, integer.

    Returns:
        (N,), above 0 where the target leads.

    Example:
        >>> from holdfast.losses import towards_margin
        >>> towards_margin(torch.tensor([[3.0, 1.0]]), torch.tensor([0]), torch.tensor([1]))
        tensor([-2.])
    """
    del y
    return -margin(logits, target)


def towards_dlr(logits: Logits, y: Labels, target: Labels) -> PerExample:
    """-(z_y - z_t) / (z_π1 - (z_π3 + z_π4) / 2): the targeted DLR loss.

    With three classes z_π4 does not exist and z_π3 stands in for it; with two, the difference is
    not scaled.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.
        target: (N,) classes to go to, integer.

    Returns:
        (N,).

    Reference:
        Croce and Hein 2020, equation 7.

    Example:
        >>> from holdfast.losses import towards_dlr
        >>> towards_dlr(torch.tensor([[3.0, 1.0, -1.0]]), torch.tensor([0]), torch.tensor([1]))
        tensor([-0.5000])
    """
    difference = of_class(logits, target) - of_class(logits, y)
    if logits.shape[1] < 3:
        return difference
    top = logits.topk(min(4, logits.shape[1]), dim=1).values
    return difference / _positive(top[:, 0] - (top[:, 2] + top[:, -1]) / 2)


def kl_divergence(logits: Logits, reference: Logits) -> PerExample:
    """KL(p ‖ q) = Σ_j p_j (log p_j - log q_j), q = softmax(logits), p = softmax(reference).

    Args:
        logits: (N, K).
        reference: (N, K), the logits that are held against.

    Returns:
        (N,), at least 0 but for rounding; in nats.

    Example:
        >>> from holdfast.losses import kl_divergence
        >>> kl_divergence(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        tensor([0.])
    """
    entropy = soft_cross_entropy(reference, reference)
    return soft_cross_entropy(logits, reference) - entropy


def soft_cross_entropy(logits: Logits, reference: Logits) -> PerExample:
    """-Σ_j p_j log q_j, q = softmax(logits), p = softmax(reference).

    Args:
        logits: (N, K).
        reference: (N, K), the logits that are held against.

    Returns:
        (N,), at least 0; in nats.

    Example:
        >>> from holdfast.losses import soft_cross_entropy
        >>> soft_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, 0.0]]))
        tensor([0.6931])
    """
    return functional.cross_entropy(logits, reference.softmax(dim=1), reduction="none")


def of_class(logits: Logits, y: Labels) -> PerExample:
    """The logit of the label, z_y.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.

    Returns:
        (N,).

    Example:
        >>> from holdfast.losses import of_class
        >>> of_class(torch.tensor([[3.0, 1.0]]), torch.tensor([1]))
        tensor([1.])
    """
    return logits.gather(1, y[:, None])[:, 0]


def best_other(logits: Logits, y: Labels) -> PerExample:
    """The largest logit of another class, max_{k != y} z_k.

    Args:
        logits: (N, K).
        y: (N,) labels, integer.

    Returns:
        (N,).

    Example:
        >>> from holdfast.losses import best_other
        >>> best_other(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
        tensor([2.])
    """
    return logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)


def _positive(spread: Tensor) -> Tensor:
    """Keep a quotient finite where all leading logits are equal."""
    return spread.clamp(min=torch.finfo(spread.dtype).tiny)
