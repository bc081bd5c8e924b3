"""Gradients of a static source, computed once for the whole training set (EAT 4.2).

A single ℓ∞ step from the clean image needs only the signs of the source's gradient there, which do
not change while another network is trained. They are kept on disk as one byte for each pixel, in
files of 4,096 images; a file is written under a temporary name and renamed, so that a computation
that was killed goes on at the first file that is missing.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.data import Data
from holdfast.declarations import is_stochastic
from holdfast.errors import DamagedFileError, InputError
from holdfast.files import StrPath, as_path, check_file, replace_file
from holdfast.goals import AgainstPrediction, cross_entropy
from holdfast.gradients import autograd
from holdfast.progress import Progress, silent
from holdfast.random import Stream, hash_seed
from holdfast.tensors import device_of, eval_mode, fingerprint
from holdfast.threat import Linf, finite
from holdfast.training.known_images import KnownImages, hash_images
from holdfast.types import Callback, Goal, Images, Labels, Model, Threat

__all__ = ["CachedFGSM", "GradientCache"]

_IN_FILE = 4096
_KINDS = "images", "signs"  # their hashes, and their gradients' signs


class GradientCache:
    """sign(∇L(x, argmax f(x))) of a static source f for every image x of a training set.

    An image is found again by a hash of its content, wherever it stands in the training set. One
    that is not there, such as an image that augmentation has flipped or shifted, is noticed, and
    its gradient is computed afresh: what `at` returns is always the gradient at the very image.

    Args:
        source: f, deterministic; run in evaluation mode, on the device where it is.
        data: the training set.
        folder: where the files go, into a folder named by source, data and goal.
        name: of the source, for the record.
        goal: what to ascend; it meets the source's prediction in place of the label.
        batch_size: images at once.
        progress: told about every batch.

    Raises:
        InputError: if the source is stochastic.
        DamagedFileError: if a file of the folder cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.data import Data
        >>> from holdfast.random import Stream
        >>> from holdfast.training import GradientCache
        >>> cache = GradientCache(model, Data.of(x, y), Path("cache"), name="source")
        >>> cache.at(x, Stream.of(0, torch.arange(4))).shape  # read, not computed
        torch.Size([4, 1, 8, 8])
    """

    def __init__(
        self,
        source: Model,
        data: Data,
        folder: StrPath,
        *,
        name: str,
        goal: Goal = cross_entropy,
        batch_size: int = 256,
        progress: Progress = silent,
    ) -> None:
        if is_stochastic(source):
            raise InputError(
                f"the source {name} draws random numbers, so that its gradients differ from time "
                "to time; compute them during training, without a cache."
            )
        self._source, self._goal, self._name = source, AgainstPrediction(goal), name
        self._weights = fingerprint(source)
        key = f"{self._weights}-{data.fingerprint()}-{hash_seed(0, repr(goal)):016x}"
        self._files, hashes = self._computed(data, as_path(folder) / key, batch_size, progress)
        self._known = KnownImages(hashes)

    def __repr__(self) -> str:
        return f"GradientCache(name={self._name!r}, weights={self._weights!r}, goal={self._goal})"

    def at(self, x: Images, rng: Stream) -> Images:
        """The signs at ``x``, -1, 0 or 1; the stream keys what has to be computed."""
        place, known = self._known.find(x)
        rows = np.zeros((len(x), x[0].numel()), np.int8)
        for row, index in zip(np.flatnonzero(known), place[known], strict=True):
            rows[row] = self._files[index // _IN_FILE][index % _IN_FILE]
        signs = torch.from_numpy(rows).to(x).view(x.shape)
        if not known.all():
            other = torch.from_numpy(~known).to(x.device)
            signs[other] = self._compute(x[other], rng.take(other))
        return signs

    def _compute(self, x: Images, rng: Stream) -> Images:
        self._source.to(x.device)
        unused = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        with eval_mode(self._source):
            score = self._goal(self._source, x, unused)
            return finite(autograd(score)(x, rng).grad).sign()

    def _computed(
        self, data: Data, folder: Path, batch_size: int, progress: Progress
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Signs mapped into memory, and all hashes; files that are missing are made first."""
        folder.mkdir(parents=True, exist_ok=True)
        progress.start(f"gradients of {self._name}", len(data))
        files, hashes = [], []
        for number, part in enumerate(torch.arange(len(data)).split(_IN_FILE)):
            hash_file, sign_file = (folder / f"{number:05d}.{kind}.npy" for kind in _KINDS)
            if not (hash_file.exists() and sign_file.exists()):
                parts = [self._rows(data, some) for some in part.split(batch_size)]
                for path, rows in zip(
                    (hash_file, sign_file), zip(*parts, strict=True), strict=True
                ):
                    replace_file(path, partial(_save, np.concatenate(rows)))
            files.append(_open(sign_file, (len(part), math.prod(data.shape)), np.int8))
            hashes.append(_open(hash_file, (len(part),), np.int64))
            progress.advance(len(part))
        return files, np.concatenate(hashes)

    def _rows(self, data: Data, index: Int[Tensor, " m"]) -> tuple[np.ndarray, np.ndarray]:
        """(m,) hashes of the images, and (m, C·H·W) signs."""
        x = data.x(index).to(device_of(self._source))
        signs = self._compute(x, Stream.of(0, index.to(x.device))).to(torch.int8)
        return hash_images(x).cpu().numpy(), signs.flatten(1).cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class CachedFGSM(Attack):
    """x + ε · s(x), cut by the box: FGSM or Step-LL on a static source, whose sign s is cached.

    The model that is attacked is not looked at.

    Attributes:
        threat: an ℓ∞ ball; its ε is the step.
        cache: the signs of the source's gradients.

    Raises:
        InputError: if the ball is not one of ℓ∞.

    Example:
        >>> from pathlib import Path
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.data import Data
        >>> from holdfast.training import CachedFGSM, GradientCache
        >>> cache = GradientCache(model, Data.of(x, y), Path("cache"), name="source")
        >>> x_adv = CachedFGSM(threat=Linf(0.1), cache=cache)(model, x, y)
        >>> bool((x_adv == FGSM(Linf(0.1))(model, x, y)).all())
        True
    """

    threat: Threat
    cache: GradientCache = field(compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.threat, Linf):
            raise InputError(
                f"the threat is {self.threat}, but the sign of a gradient makes a step in linf "
                "alone; use the source without a cache."
            )

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """One step; see `Attack.perturb`."""
        del model, y, callback
        return self.threat.project(x0 + self.threat.eps * self.cache.at(x0, rng), x0)


def _save(rows: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, rows)


def _open(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    check_file(path)
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}; remove it to make it anew.") from error
    if rows.shape != shape or rows.dtype != dtype:
        raise DamagedFileError(f"{path} holds no gradient signs of this data; remove it.")
    return rows
