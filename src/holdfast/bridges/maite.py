"""Holdfast in MAITE's protocols of image classification: models, data, attacked batches, metrics.

The protocols are structural, so that nothing needs to be installed, and each of these is one:
`HoldfastModel` a Model, `HoldfastDataset` a Dataset, `AttackedBatch` an Augmentation, and
`RobustAccuracyMetric` a Metric. Images are arrays (C, H, W) in [0, 1], targets scores (K,).
"""

from collections.abc import Sequence
from operator import eq
from typing import Any, TypeAlias, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.checks import check_images
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.parameters import Seed
from holdfast.random import hash_seed
from holdfast.tensors import device_of, eval_mode

__all__ = ["AttackedBatch", "HoldfastDataset", "HoldfastModel", "RobustAccuracyMetric"]

#: Images, scores of classes, and what else is said of each; MAITE's batch.
Batch: TypeAlias = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]


class Identity(TypedDict):
    """MAITE's metadata of a thing: a name."""

    id: str


class Classes(Identity, total=False):
    """The same with the names of classes."""

    index2label: dict[int, str]


class HoldfastModel:
    """A network as MAITE's model: a batch of arrays to as many vectors of probabilities.

    Args:
        network: maps images in [0, 1] to logits.
        name: its identity.
        classes: their names, by number.

    Example:
        >>> from holdfast.bridges.maite import HoldfastModel
        >>> [answer.shape for answer in HoldfastModel(model, "net")(list(x.numpy()))]
        [(3,), (3,), (3,), (3,)]
    """

    def __init__(self, network: nn.Module, name: str, classes: Sequence[str] = ()) -> None:
        self.network = network
        self.metadata: Classes = {"id": name, "index2label": dict(enumerate(classes))}

    def __call__(self, batch: Sequence[Any], /) -> Sequence[Any]:
        """(K,) probabilities for each image.

        Raises:
            InputTypeError, InputError: if they are no images in [0, 1].
        """
        x = _images(batch, self.network)
        with torch.no_grad(), eval_mode(self.network):
            return list(self.network(x).softmax(dim=1).cpu().numpy())


class HoldfastDataset:
    """A data set as MAITE's: (image, one-hot target, {"id": place}).

    Example:
        >>> from holdfast import data
        >>> from holdfast.bridges.maite import HoldfastDataset
        >>> image, target, said = HoldfastDataset(data.load("digits", limit=3))[2]
        >>> image.shape, int(target.argmax()), said["id"]
        ((1, 8, 8), 2, '2')
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.metadata: Classes = {"id": data.name, "index2label": dict(enumerate(data.classes))}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, ind: int, /) -> tuple[Any, Any, Identity]:
        if not 0 <= ind < len(self):
            raise IndexError(ind)  # by which a loop over it ends
        image = self.data.x(torch.tensor([ind]))[0].numpy()
        target = np.zeros(len(self.data.classes), dtype=np.float32)
        target[int(self.data.y[ind])] = 1.0
        return image, target, {"id": str(ind)}


class AttackedBatch:
    """An attack as MAITE's augmentation: each image of a batch becomes an adversarial one.

    An image's random numbers are those of the seed and of its ``id``, whatever batch it is in.

    Args:
        network: that is attacked; images in [0, 1] to logits.
        attack: any of Holdfast's.
        seed: of all randomness.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.bridges.maite import AttackedBatch
        >>> targets = list(torch.nn.functional.one_hot(y, 3).numpy())
        >>> batch = (list(x.numpy()), targets, [{"id": str(place)} for place in range(4)])
        >>> attacked, _, _ = AttackedBatch(model, PGD(Linf(0.3)))(batch)
        >>> bool((attacked[2] == PGD(Linf(0.3))(model, x, y)[2].numpy()).all())
        True
    """

    def __init__(self, network: nn.Module, attack: Attack, *, seed: Seed = 0) -> None:
        self.network, self.attack, self.seed = network, attack, seed
        self.metadata: Identity = {"id": repr(attack)}

    def __call__(self, batch: Batch, /) -> Batch:
        """The batch with adversarial images.

        Raises:
            InputTypeError, InputError: if images are none in [0, 1], or targets no scores (K,).
        """
        images, targets, said = batch
        x = _images(images, self.network)
        y = torch.tensor(_classes("target", targets), device=x.device)
        index = torch.tensor([_place(one["id"]) for one in said])
        with eval_mode(self.network):
            found = self.attack(self.network, x, y, seed=self.seed, index=index)
        return list(found.cpu().numpy()), targets, said


class RobustAccuracyMetric:
    """The fraction of images of attacked batches that the model is right on, as MAITE's metric.

    Example:
        >>> from holdfast.bridges.maite import RobustAccuracyMetric
        >>> metric = RobustAccuracyMetric()
        >>> metric.update([[0.9, 0.1], [0.8, 0.2]], [[1, 0], [0, 1]], [{}, {}])
        >>> metric.compute()
        {'robust_accuracy': 0.5}
    """

    def __init__(self, name: str = "robust_accuracy") -> None:
        self.metadata: Identity = {"id": name}
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.right = self.total = 0

    def update(self, preds: Sequence[Any], targets: Sequence[Any], metadatas: Any, /) -> None:
        """Count a batch.

        Raises:
            InputError: if predictions or targets are no finite scores (K,), or not as many.
        """
        del metadatas
        said, right = _classes("prediction", preds), _classes("target", targets)
        if len(said) != len(right):
            raise InputError(
                f"there are {len(said)} predictions and {len(right)} targets, but each image has "
                "one of both."
            )
        self.right += sum(map(eq, said, right))
        self.total += len(said)

    def compute(self) -> dict[str, float]:
        """The fraction; NaN of none."""
        return {self.metadata["id"]: self.right / self.total if self.total else float("nan")}


def _images(batch: Sequence[Any], network: nn.Module) -> Tensor:
    arrays = [np.asarray(image) for image in batch]
    if len(shapes := {array.shape for array in arrays}) > 1:
        raise InputError(
            f"the images have shapes {' and '.join(map(str, sorted(shapes)))}, but those of a "
            "batch are of one size; resize them, or give batches of one image."
        )
    x = torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0)
    check_images(x)
    return x.to(device_of(network), torch.float32)


def _classes(what: str, scores: Sequence[Any]) -> list[int]:
    """The class with the highest score in each vector of them.

    Raises:
        InputError: if one is no vector, or holds what is no finite number.
    """
    found = []
    for place, each in enumerate(map(np.asarray, scores)):
        if each.ndim != 1 or not each.size:
            raise InputError(
                f"{what} {place} has shape {each.shape}, but must be scores of classes (K,); of a "
                "class number its one-hot vector."
            )
        if each.dtype.kind not in "biuf" or not np.isfinite(each).all():
            raise InputError(
                f"{what} {place} is {each}, but the scores of classes must be finite numbers."
            )
        found.append(int(each.argmax()))
    return found


def _place(name: Any) -> int:
    """The identity that keys an image's random numbers: its number, or one made of its name."""
    text = str(name)
    return int(text) if text.isdecimal() and len(text) < 19 else hash_seed(0, text) >> 1
