"""Deep Defense: the length of DeepFool's perturbation as a part of the training loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from holdfast.attacks import deepfool_perturbation
from holdfast.errors import InputError
from holdfast.models.centred import centre_of
from holdfast.parameters import at_least_one
from holdfast.random import Stream
from holdfast.tensors import eval_mode, norm
from holdfast.threat import L2, Linf
from holdfast.training.objectives.standard import Standard
from holdfast.types import Flags, Images, Labels, Model, Objective, PerExample, Threat

__all__ = ["DeepDefense"]

#: Largest exponent of a misclassified image: e^10 is reached at ‖Δ‖ = 2 ‖x‖ for the paper's d = 5.
_LARGEST_EXPONENT = 10.0

#: The norms that DeepFool is for.
_NORMS: Mapping[float, Threat] = {2.0: L2(math.inf), math.inf: Linf(math.inf)}


@dataclass(frozen=True, kw_only=True)
class DeepDefense:
    """Σ_k L_k + λ Σ_T exp(-c ‖Δ_k‖ / ‖x_k‖) + λ Σ_F exp(+d ‖Δ_k‖ / ‖x_k‖), over the batch size.

    T are the images that the model classifies rightly, and Δ leads to their nearest boundary; F are
    the others, and Δ leads to their label (DD 3.4). Δ is DeepFool's perturbation, differentiable in
    the weights: the gradients that it is made of keep their graph, so that autograd's double
    backward takes the place of the paper's "reverse network". The perturbation and the parting into
    T and F are those of the model in evaluation mode.

    x_k is what the network is given: behind a `Centred` layer ‖x_k‖ is that of the image less the
    mean image, as in the authors' code; the layer's factor of 255 cancels.

    Both sums of equation 3 run over the same images, so λ weighs a mean against a mean: divided by
    the batch size, as here, λ = 15 means the same for every batch. (The authors' code does so.)

    When:
        To fine-tune a trained network for larger distances (ρ₂).

    When not:
        From fresh weights: the paper fine-tunes. Nor for a robust accuracy, which larger distances
        to DeepFool are not: run the suite.

    Traps:
        λ, c and d belong to the conditioning of the input: on [0, 1] and on 0–255 less the mean
        image they are other methods (docs/results/deep-defense/unit-interval.md). The paper's ρ₂ is
        that of `holdfast.diagnose.margins`, not of DeepFool as an attack. The larger c, the fewer
        images count, those of the least distance.

    Attributes:
        weight: λ >= 0; 15 for MNIST and CIFAR-10, 5 for ImageNet.
        c: > 0; the larger, the more only the least robust images count; 25 for MNIST and CIFAR-10,
            70 for NIN, 500 for ImageNet.
        d: > 0; 5 everywhere.
        p: of the norm, 2 or infinity; 2 in all the paper's experiments.
        steps: of DeepFool, at least 1; 5 in the authors' code.
        overshoot: of DeepFool, at least 0; equations 1 and 2 have none, the authors' code has 0.02.
        classes: how many classes DeepFool looks at, beside the label.
        layer: name of the one layer, a module of the model, whose parameters the regulariser moves,
            while the classification loss moves all (DD figure 4); None for all. Behind wrappers the
            end of the module's name is enough.
        base: the classification loss Σ L. `Total` of `Standard` and `Adversarial` with FGSM and
            weight 1 makes the method combined with Adv. Train II (DD supplement 2).

    Raises:
        InputError: if a number is out of range; at the first batch, if there is no such layer.

    Reference:
        Yan, Guo and Zhang, "Deep Defense: training DNNs with improved adversarial robustness",
        NeurIPS 2018, equations 3 to 6.

    Differs from the paper in that the exponent of an image of F stops at 10, where it has no
        gradient any more and the classification loss alone moves the image: an image that is nearly
        black has a ‖Δ‖ / ‖x‖ without bound, and e^89 overflows. An image that is all black has no
        ‖Δ‖ / ‖x‖ and is in neither sum. No single step of DeepFool is longer than the diameter of
        the box [0, 1], so that a vanishing gradient gives no infinite Δ; one cut so has no
        derivative.

    Example:
        >>> from holdfast.random import Stream
        >>> from holdfast.training import DeepDefense
        >>> objective = DeepDefense(weight=15.0, c=25.0, d=5.0, steps=3)
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> loss.backward()  # through DeepFool's steps
        >>> bool(model[1].weight.grad.any())
        True
    """

    weight: float = 15.0
    c: float = 25.0
    d: float = 5.0
    p: float = 2.0
    steps: int = 5
    overshoot: float = 0.0
    classes: int = 10
    layer: str | None = None
    base: Objective = field(default_factory=Standard)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise InputError(f"weight is {self.weight}, but is a number of at least 0.")
        if not (0 < self.c < math.inf and 0 < self.d < math.inf):
            raise InputError(f"c and d are {self.c} and {self.d}, but must be positive.")
        if self.p not in _NORMS:
            raise InputError(f"p is {self.p}, but DeepFool is for the norms 2 and infinity.")
        at_least_one(steps=self.steps, classes=self.classes)
        if not 0 <= self.overshoot < math.inf:
            raise InputError(f"overshoot is {self.overshoot}, but is a number of at least 0.")

    def __call__(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of one batch; see `holdfast.types.Objective`."""
        loss, logs = self.base(model, x, y, rng)
        length, wrong = self._perturbation(model, x, y, rng.fold("deepfool"))
        centre = centre_of(model)
        size = norm(x if centre is None else x - centre, self.p)
        ratio = length / torch.where(size > 0, size, 1)
        exponent = torch.where(wrong, self.d * ratio, -self.c * ratio)
        penalty = exponent.clamp(max=_LARGEST_EXPONENT).exp()  # equation 6
        regularizer = torch.where(size > 0, penalty, 0).mean()
        total = loss + self.weight * regularizer  # equation 3
        return total, {
            **logs,
            "loss": total,
            "regularizer": regularizer,
            "rho": torch.where(size > 0, ratio, 0).mean(),
        }

    def _perturbation(
        self, model: Model, x: Images, y: Labels, rng: Stream
    ) -> tuple[PerExample, Flags]:
        """‖Δ‖ of every image, differentiable in the weights, and whether it is misclassified."""
        regularized = model if self.layer is None else _OnlyLayer(model, self.layer)
        # Of fused attention, as in transformers, PyTorch has no second derivative.
        with eval_mode(model), sdpa_kernel(SDPBackend.MATH):
            walk = deepfool_perturbation(
                regularized,
                x,
                y,
                threat=_NORMS[self.p],
                rng=rng,
                steps=self.steps,
                overshoot=self.overshoot,
                classes=self.classes,
                box=False,
                to_label=True,
                create_graph=True,
            )
        return norm(walk.delta, self.p), walk.margin_at_x0 > 0


class _OnlyLayer(nn.Module):
    """A model whose parameters are constants, but for those of one layer.

    Args:
        model: the model.
        layer: name of one of its modules.

    Raises:
        InputError: if no module, or more than one, has that name, or it has no parameters.
    """

    def __init__(self, model: Model, layer: str) -> None:
        super().__init__()
        self.model = model
        kept = {id(parameter) for parameter in _module(model, layer).parameters()}
        if not kept:
            raise InputError(f"layer {layer!r} has no parameters; name one that has.")
        # By module, each once: a wrapper may hold one module twice, and a tied parameter stands in
        # two modules.
        self._constants = {
            f"{path}.{name}".removeprefix("."): parameter.detach()
            for path, module in model.named_modules()
            for name, parameter in module.named_parameters(recurse=False)
            if id(parameter) not in kept
        }

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits."""
        logits: Tensor = functional_call(self.model, self._constants, (x,), tie_weights=False)
        return logits


def _module(model: Model, name: str) -> nn.Module:
    """The module of that name; of several whose names end so, the outermost."""
    names = [other for other, _ in model.named_modules() if other]
    found = [other for other in names if name and f".{other}".endswith(f".{name}")]
    if not found:
        raise InputError(f"the model has no layer {name!r}; choose from {', '.join(names)}.")
    outermost = min(other.count(".") for other in found)
    found = [other for other in found if other.count(".") == outermost]
    if len(found) > 1:
        raise InputError(f"layer {name!r} may be {' or '.join(found)}; give a longer name.")
    return model.get_submodule(found[0])
