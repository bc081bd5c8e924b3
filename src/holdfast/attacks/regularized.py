"""R: an attack that keeps to images which a purifier leaves alone (MALADE 2.1.2)."""

from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.roles import Role, rebuilt
from holdfast.attacks.engine.transfer import On
from holdfast.goals import Minus, Penalty

__all__ = ["regularize"]


def regularize(attack: Attack, weight: float, penalty: Penalty) -> Attack:
    """The attack with a penalty on its image, R+PGD for PGD; itself if it ascends no goal.

    Args:
        attack: any attack.
        weight: λ, at least 0.
        penalty: such as `holdfast.goals.reconstruction_error`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD, regularize
        >>> from holdfast.goals import reconstruction_error
        >>> def halved(x):  # in place of a denoising autoencoder
        ...     return x / 2
        >>> regularize(PGD(Linf(0.3)), 1.0, reconstruction_error(halved)).goal.weight
        1.0
    """
    return rebuilt(
        attack,
        {
            Role.GOAL: lambda goal: Minus(goal, weight, penalty),
            Role.ATTACK: lambda part: (
                part if isinstance(part, On) else regularize(part, weight, penalty)
            ),
        },
    )
