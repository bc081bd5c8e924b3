"""How an objective makes its adversarial examples."""

from contextlib import nullcontext

from holdfast.attacks import Attack
from holdfast.random import Stream
from holdfast.tensors import eval_mode
from holdfast.types import Images, Labels, Model


def craft(
    attack: Attack, model: Model, x: Images, y: Labels, rng: Stream, *, in_eval: bool
) -> Images:
    """Attack the model in training, and return images through which no gradient flows.

    Args:
        attack: makes the examples.
        model: the network in training.
        x: (N, C, H, W) clean images.
        y: (N,) labels.
        rng: of the batch.
        in_eval: run the model in evaluation mode, which is put back; otherwise in the mode that it
            is in, where dropout draws and batch normalisation also counts the attack's images.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.random import Stream
        >>> from holdfast.training.objectives.crafting import craft
        >>> rng = Stream.of(0, torch.arange(4))
        >>> craft(FGSM(Linf(0.1)), model, x, y, rng, in_eval=True).requires_grad
        False
    """
    with eval_mode(model) if in_eval else nullcontext():
        return attack.perturb(model, x, y, rng.fold("attack")).detach()
