"""What the public boundary checks, once, before any work starts."""

import copy
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from holdfast.errors import (
    GradientError,
    HoldfastError,
    InputError,
    InputTypeError,
    ModelError,
    kind_of,
)

#: Floating-point types in which one can compute; those of 8 bits only store.
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_model(model: object) -> None:
    """A model is a `torch.nn.Module` whose weights are there.

    Raises:
        InputTypeError: if it is anything else, such as a function.
        ModelError: if its weights are on the meta device, or torch.jit.freeze took its mode.
    """
    if isinstance(model, type):
        raise InputTypeError(
            f"the model is the class {model.__name__}, but must be a network made of it: write "
            f"{model.__name__}(...)."
        )
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            f"the model is {kind_of(model)}, but must be a torch.nn.Module; what calls a "
            "function in its forward is one."
        )
    if any(not hasattr(layer, "training") for layer in model.modules()):
        raise ModelError(
            "the model was frozen by torch.jit.freeze, which leaves nothing of its mode, so that "
            "nobody can tell in which it answers; give the scripted or traced module that it was "
            "made of."
        )
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model's weights are on the meta device, where there are no numbers; load them, as "
            "by model.to_empty(device='cpu') and model.load_state_dict(...)."
        )


def check_grad_mode() -> None:
    """Gradients can be followed, as they can within `torch.no_grad`.

    Raises:
        GradientError: within `torch.inference_mode`.
    """
    if torch.is_inference_mode_enabled():
        raise GradientError(
            "no gradient reaches the images within torch.inference_mode(): attack outside of it, "
            "or within torch.no_grad()."
        )


def check_images(x: Tensor) -> None:
    """Images are a floating-point tensor (N, ...), N >= 1, without NaN, within [0, 1].

    Raises:
        InputTypeError: if ``x`` is no floating-point tensor, or one that holds no plain numbers.
        InputError: if it is empty or has values outside [0, 1].
    """
    if not isinstance(x, Tensor):
        raise InputTypeError(
            f"the images are {kind_of(x)}, but must be a torch tensor (N, C, H, W)."
        )
    _check_plain("the images", x)
    if x.dtype not in _FLOATS:
        how = "x.float()" if x.is_floating_point() else "for 8-bit images x.float() / 255"
        raise InputTypeError(
            f"the images have type {x.dtype}, but must be floating point of at least 16 bits in "
            f"[0, 1]: use {how}."
        )
    if x.dim() < 2 or x.numel() == 0:
        raise InputError(
            f"the images have shape {tuple(x.shape)}, but must be at least one image, (N, C, H, W)."
        )
    flat = x.flatten(1)
    wrong = ~((flat >= 0) & (flat <= 1)).all(dim=1)  # also true for NaN
    if wrong.any():
        first = int(wrong.int().argmax())
        if flat[first].isnan().any():
            raise InputError(f"image {first} contains NaN; images must be numbers in [0, 1].")
        low, high = flat[first].aminmax()
        raise InputError(
            f"image {first} has values from {low:.4g} to {high:.4g}, but images must lie in "
            "[0, 1]; scale them, and let normalisation be a layer of the model, "
            "holdfast.models.Normalize."
        )


def check_index(index: object, count: int) -> Tensor:
    """The identity of each image, integers (N,); 0 ... N - 1 if None is given.

    Raises:
        InputTypeError: if it is no integers.
        InputError: if there are not ``count``.
    """
    if index is None:
        return torch.arange(count)
    try:
        found = torch.as_tensor(index)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"index is {kind_of(index)}, but must be an integer tensor (N,)."
        ) from error
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise InputTypeError(f"index has type {found.dtype}, but must be an integer tensor (N,).")
    _check_plain("the numbers of index", found)
    if found.shape != (count,):
        raise InputError(f"index has shape {tuple(found.shape)}, but names each of {count} images.")
    return found


def check_labels(y: Tensor, count: int) -> None:
    """Labels are an integer tensor (N,), at least 0.

    Raises:
        InputTypeError: if ``y`` is no integer tensor, or one that holds no plain numbers.
        InputError: if there are not ``count`` labels or one is negative.
    """
    integral = isinstance(y, Tensor) and not (y.is_floating_point() or y.is_complex())
    if not integral or y.dtype == torch.bool:
        given = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise InputTypeError(
            f"the labels have type {given}, but must be an integer tensor of class numbers (N,)."
        )
    _check_plain("the labels", y)
    if y.shape != (count,):
        raise InputError(
            f"the labels have shape {tuple(y.shape)}, but there are {count} images; "
            f"give one class number for each, shape ({count},)."
        )
    y = y.long()  # torch compares no unsigned numbers of more than 8 bits
    if (y < 0).any():
        first = int((y < 0).int().argmax())
        raise InputError(f"label {first} is {int(y[first])}, but classes are numbered from 0.")


def _check_plain(what: str, tensor: Tensor) -> None:
    """Raise `InputTypeError` of a tensor that does not hold each of its numbers."""
    if (how := _not_plain(tensor)) is not None:
        raise InputTypeError(f"{what} are {how}.")


def _not_plain(tensor: Tensor) -> str | None:
    """How a tensor does not hold each of its numbers, and what to do; None if it does."""
    if tensor.is_nested:
        return "a nested tensor, but must be a plain one; images of one size are stacked"
    if tensor.layout != torch.strided:
        return "a sparse tensor, but must be a plain one, which to_dense() makes"
    if tensor.is_meta:
        return "on the meta device, where there are no numbers, but must be on one that has them"
    return None


def check_logits(logits: object, count: int) -> None:
    """A model's output is (N, K), K >= 2, of finite floating-point numbers.

    Args:
        logits: what the model returned.
        count: number of images N that it was given.

    Raises:
        ModelError: if the output is anything else.
    """
    found = form_checked(logits, count)
    bad = ~found.isfinite().all(dim=1)
    if bad.any():
        first = int(bad.int().argmax())
        what = "NaN" if found[first].isnan().any() else "infinite logits"
        raise ModelError(
            f"the model returned {what} for image {first}; a model must give a finite number for "
            "every class of every image in [0, 1]."
        )


def form_checked(logits: object, count: int) -> Tensor:
    """The output, if it is a tensor (N, K), K >= 2, of floating-point numbers.

    Unlike `check_logits` it looks at no number, so that no GPU is waited for.

    Raises:
        ModelError: if the output is anything else.
    """
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"the model returned {kind_of(logits)}, but must return logits (N, K) as one tensor; "
            "put a module around it whose forward returns them alone."
        )
    if (how := _not_plain(logits)) is not None:
        raise ModelError(f"the model returned logits that are {how}.")
    if logits.dim() != 2 or logits.shape[0] != count or logits.shape[1] < 2:
        raise ModelError(
            f"the model returned shape {tuple(logits.shape)} for {count} images, but must return "
            f"logits (N, K): ({count}, number of classes), with at least 2 classes."
        )
    if logits.dtype not in _FLOATS:
        raise ModelError(
            f"the model returned type {logits.dtype}, but must return floating-point logits, which "
            "tell small steps apart."
        )
    return logits


def check_classes(y: Tensor, classes: int, what: str = "label") -> None:
    """Every label, or what else names a class, has one of the model.

    Raises:
        InputError: if one is not below ``classes``.
    """
    if (y >= classes).any():
        first = int((y >= classes).int().argmax())
        raise InputError(
            f"{what} {first} is {int(y[first])}, but the model has {classes} classes, numbered 0 "
            f"to {classes - 1}."
        )


def try_model(model: nn.Module, x: Tensor) -> Tensor:
    """The model's output for ``x``, a failure of the user's code told as one sentence.

    It is given a copy: what works in place spoils the caller's images, and no leaf of a graph.

    Raises:
        ModelError: if the model raises anything.
    """
    try:
        output: Tensor = model(x.clone())
    except HoldfastError:
        raise
    except Exception as error:
        raise ModelError(
            f"the model failed on images of shape {tuple(x.shape)} with {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    return output


def training_notes(model: nn.Module) -> list[str]:
    """A sentence if layers are left in training mode; Holdfast evaluates and puts the mode back."""
    layers = [layer for layer in model.modules() if not list(layer.children())]
    if not any(layer.training for layer in layers):
        return []
    return [
        "the model is in training mode, where dropout and batch normalisation act differently: it "
        "is run in evaluation mode and put back afterwards; call model.eval() to be rid of this "
        "warning."
    ]


def warn_if_training(model: nn.Module) -> None:
    """Warn about layers left in training mode."""
    warn_of(training_notes(model), stacklevel=4)


def warn_of(notes: Iterable[str], stacklevel: int = 3) -> None:
    """Warn of each note, as of the line that called the caller."""
    for note in notes:
        warnings.warn(note, stacklevel=stacklevel)


def probability_notes(output: Tensor, why: str) -> list[str]:
    """A sentence if a model's output looks like probabilities, where logits are expected.

    Args:
        output: of the model, for a few images.
        why: what goes wrong then.
    """
    total = output.double().sum(dim=1)
    if not ((output >= 0).all() and torch.allclose(total, torch.ones_like(total), atol=1e-3)):
        return []
    return [
        "the model's outputs look like probabilities (none is negative and each row sums to 1), "
        f"where logits are expected: {why}; return the logits, or the logarithm of the "
        "probabilities."
    ]


class Checked(nn.Module):
    """A model whose first forward pass is checked; the others cost nothing.

    Args:
        model: the model.
        y: labels that the model must have classes for.
        dtype: of the images. If given, one may also ask in float64, about images in it: a copy of
            the model answers, and the model stays as it is.
    """

    def __init__(
        self, model: nn.Module, y: Tensor | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._y = y
        self._dtype = dtype
        self._exact: list[nn.Module] = []  # no layer of this one: it declares nothing
        self._checked = False
        self.answered: torch.dtype | None = None  # the type of its first answer

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits."""
        if x.dtype == torch.float64 and self._dtype not in (None, torch.float64):
            return self._in_float64(x)
        logits: Tensor = self.model(x)
        if not self._checked:
            check_logits(logits, len(x))
            if self._y is not None:
                check_classes(self._y, logits.shape[1])
            self._checked, self.answered = True, logits.dtype
        return logits

    def _in_float64(self, x: Tensor) -> Tensor:
        """What a copy of the model in float64 answers; raises where it cannot be one."""
        if not self._exact:
            self._exact.append(copy.deepcopy(self.model).double())
        logits: Tensor = self._exact[0](x)
        return logits


def rounding_of(model: nn.Module, x: Tensor) -> float:
    """How coarsely a model computes about images: as their type rounds, or that of its answers.

    Under autocast images have 24 bits and answers 8. What a model that is not `Checked`, or was not
    asked yet, answers in is not known.

    Example:
        >>> from holdfast.checks import Checked, rounding_of
        >>> checked = Checked(model)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     checked(x).dtype
        torch.bfloat16
        >>> rounding_of(checked, x)
        0.0078125
    """
    answered = model.answered if isinstance(model, Checked) else None
    return max(torch.finfo(dtype).eps for dtype in (x.dtype, answered or x.dtype))
