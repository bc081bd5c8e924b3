"""A trained network that helps to train another, and is not trained itself."""

from dataclasses import dataclass, field
from functools import cached_property

from torch.func import functional_call

from holdfast.errors import HoldfastError, ModelError
from holdfast.tensors import eval_mode, fingerprint
from holdfast.types import Images, Logits, Model

__all__ = ["Frozen"]


@dataclass(frozen=True, eq=False)
class Frozen:
    """A model in evaluation mode whose parameters get no gradient; its input may get one.

    Attributes:
        model: moved to the device of the images when it is first asked, else left as it was.
        name: for the record, such as its run folder.

    Example:
        >>> from holdfast.training import Frozen
        >>> teacher = Frozen(model, name="teacher")
        >>> images = x.clone().requires_grad_()
        >>> teacher(images).sum().backward()
        >>> bool(images.grad.any()), model[1].weight.grad is None
        (True, True)
    """

    model: Model = field(repr=False)
    name: str

    def __repr__(self) -> str:
        return f"Frozen(name={self.name!r}, weights={self.weights!r})"

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the model."""
        return fingerprint(self.model)

    def __call__(self, x: Images) -> Logits:
        """The model's logits.

        Raises:
            ModelError: if the model fails on these images, as one of other images does.
        """
        self.model.to(x.device)
        constants = {name: value.detach() for name, value in self.model.named_parameters()}
        try:
            with eval_mode(self.model):
                logits: Logits = functional_call(self.model, constants, (x,))
        except HoldfastError:
            raise
        except Exception as error:
            raise ModelError(
                f"{self.name}, which helps to train, failed on images of shape {tuple(x.shape)} "
                f"with {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        return logits
