"""OpenCLIP as a zero-shot classifier: an image's class is the one whose name is nearest to it.

    openclip/ViT-B-32?pretrained=laion2b_s34b_b79k&classes=names.txt

``classes`` is a file with a name a line, in the order of the labels, and ``template`` the sentence
that a name is put into. Sentences are encoded once; images are resized and normalised as the
weights want it, within the model, so that gradients reach them.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError, InputError, MissingFileError, unknown
from holdfast.files import check_regular
from holdfast.imports import needed
from holdfast.models.external.seen import Seen, scaled

__all__ = ["ZeroShot", "load"]


def load(name: str, pretrained: str, classes: str, template: str = "a photo of a {}.") -> nn.Module:
    """A zero-shot classifier of OpenCLIP.

    Args:
        name: of the architecture.
        pretrained: the tag of published weights, or a file of them.
        classes: a file of the classes' names, one a line.
        template: a sentence with {} for the name.

    Raises:
        MissingPackageError: if open_clip is not installed.
        UnknownNameError: if it has no such architecture.
        MissingFileError: if weights or names are missing.
        InputError: if there are fewer than two names, the template has no place for one, or the
            weights want images with borders.

    Example:
        >>> from holdfast.errors import MissingFileError
        >>> from holdfast.models.external import openclip
        >>> openclip.load("ViT-B-32", "openai", "no-names.txt")
        Traceback (most recent call last):
        holdfast.errors.MissingFileError: there is no file no-names.txt of the classes' names...
    """
    names = _names(Path(classes))
    if template.count("{}") != 1:
        raise InputError(f"template is {template!r}, but has one {{}} for a class's name.")
    with needed("openclip", f"openclip/{name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import open_clip
    if name not in open_clip.list_models():
        raise unknown("model of OpenCLIP", name, open_clip.list_models())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Of the name alone it makes another activation than many weights were trained with.
            quick = bool(open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu"))
            network = open_clip.create_model(
                name, pretrained=pretrained, require_pretrained=True, force_quick_gelu=quick
            ).eval()
            words = open_clip.get_tokenizer(name)([template.replace("{}", one) for one in names])
    except HoldfastError:
        raise
    except Exception as error:  # of the network, of the hub, of the cache
        raise MissingFileError(
            f"the weights {pretrained} of openclip/{name} are neither a file nor in the cache, and "
            f"could not be downloaded ({' '.join(str(error).split())[:200]})."
        ) from error
    return ZeroShot(network, words)


class ZeroShot(nn.Module):
    """A network of images and words as a classifier.

    Args:
        network: with ``encode_image``, ``encode_text``, ``logit_scale`` and ``visual``.
        words: (K, T) tokens of a sentence for each class.

    Example:
        >>> from torch import nn
        >>> from holdfast.models.external.openclip import ZeroShot
        >>> class Both(nn.Module):
        ...     logit_scale = torch.tensor(0.0)
        ...     visual = nn.Identity()
        ...     def encode_image(self, x):
        ...         return x.flatten(1)
        ...     def encode_text(self, words):
        ...         return words.float()
        >>> ZeroShot(Both(), torch.eye(3, dtype=torch.int64))(torch.rand(2, 3, 1, 1)).shape
        torch.Size([2, 3])
    """

    network: Any  # of images and words
    words: Tensor

    def __init__(self, network: nn.Module, words: Tensor) -> None:
        super().__init__()
        self.network = network
        visual = self.network.visual
        size = getattr(visual, "image_size", None)
        sides = (size, size) if isinstance(size, int) else size
        mean = getattr(visual, "image_mean", None) or 0.0
        std = getattr(visual, "image_std", None) or 1.0
        about = getattr(visual, "preprocess_cfg", {})
        fitted = _fitted(sides, about.get("resize_mode", "shortest"))
        way = about.get("interpolation", "bicubic")
        self.seen = Seen(scaled(mean), scaled(std), *fitted, interpolation=way)
        with torch.no_grad():
            self.register_buffer("words", _unit(self.network.encode_text(words)))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits: the cosines of image and sentences, by the network's scale."""
        image = _unit(self.network.encode_image(self.seen(x)))
        logits: Tensor = self.network.logit_scale.exp() * image @ self.words.T
        return logits


def _fitted(
    sides: Sequence[int] | None, mode: str
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """What is resized to and cut out: all of the image squashed, or its middle by the shorter side.

    Raises:
        InputError: if the image is to get borders.
    """
    if sides is None:
        return None, None
    size = (sides[0], sides[1])
    if mode == "longest":
        raise InputError(
            "the weights want images with borders, which is not known here: give the model by a "
            "function of your own, as package.module:function."
        )
    return (size, None) if mode == "squash" else (min(size), size)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _names(path: Path) -> list[str]:
    check_regular(path)
    if not path.is_file():
        raise MissingFileError(
            f"there is no file {path} of the classes' names; write one, a name a line in the order "
            "of the labels."
        )
    names = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    names = [line for line in names if line]
    if len(names) < 2:
        raise InputError(f"{path} has {len(names)} names, but a classifier has at least 2 classes.")
    return names
