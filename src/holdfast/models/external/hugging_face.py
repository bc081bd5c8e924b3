"""Image classifiers of the Hugging Face hub: ``hf/google/vit-base-patch16-224``.

Those of transformers and those of timm; which one a name means, its config.json says. A folder that
``save_pretrained`` wrote is one too, by its path. What the processor does to an image, to resize,
to cut and to normalise, is the first layer of the model, so that images are in [0, 1] and of any
size. No code of the hub is run.
"""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from holdfast.errors import DamagedFileError, HoldfastError, InputError, MissingFileError
from holdfast.imports import needed
from holdfast.models.external.seen import Seen, scaled

__all__ = ["load"]

#: Pillow's numbers for ways to resize.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}

#: How far the layer may be from the processor, of a deviation of what it makes: pixels are rounded
#: there to 8 bits, and an odd margin is cut a pixel aside.
_ROUNDING = 0.1


def load(name: str, revision: str | None = None, resize: bool = True) -> nn.Module:
    """A classifier of the hub, or of a folder, on images in [0, 1].

    Args:
        name: owner/model, or a path.
        revision: branch, tag or commit of the hub.
        resize: resize and cut images as the processor does; False for images that have been.

    Raises:
        MissingPackageError: if transformers, or timm, is not installed.
        MissingFileError: if the model is not in the cache and cannot be downloaded.
        DamagedFileError: if it is a folder that the library cannot read.
        InputError: if it classifies no images, has no weights for its classes, or its processor
            does what is not known here.

    Example:
        >>> from holdfast.errors import MissingFileError
        >>> from holdfast.models.external import hugging_face
        >>> hugging_face.load("./no-such-folder")
        Traceback (most recent call last):
        holdfast.errors.MissingFileError: there is no model hf/./no-such-folder...
    """
    about = _about(name, revision)
    if "architecture" in about:
        return _of_timm(name, revision, resize)
    return _of_transformers(name, revision, resize)


def _about(name: str, revision: str | None) -> Mapping[str, Any]:
    """What its config.json says."""
    path = Path(name) / "config.json"
    if not path.is_file():
        if name.startswith((".", "/", "~")) or Path(name).is_dir():
            raise MissingFileError(
                f"there is no model hf/{name}: {path} is missing; give a folder that "
                "save_pretrained wrote, or owner/model of the hub."
            )
        with needed("hf", f"hf/{name}"):
            from huggingface_hub import hf_hub_download
        try:
            path = Path(hf_hub_download(name, "config.json", revision=revision))
        except Exception as error:  # of the network, of the hub, of the cache
            raise _missing(name, error) from error
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); remove it.") from error
    if not isinstance(found, Mapping):
        raise DamagedFileError(f"{path} is no configuration; remove it.")
    return found


def _of_transformers(name: str, revision: str | None, resize: bool) -> nn.Module:
    with needed("hf", f"hf/{name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    more = {} if revision is None else {"revision": revision}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            processor = AutoImageProcessor.from_pretrained(name, **more)
            network, found = AutoModelForImageClassification.from_pretrained(
                name, output_loading_info=True, **more
            )
    except ValueError as error:
        raise InputError(
            f"hf/{name} is no image classifier of transformers: {_brief(error)}"
        ) from error
    except Exception as error:  # of the network, of the hub, of the cache
        raise _missing(name, error) from error
    if missing := sorted(found["missing_keys"]):  # transformers draws these, and prints a table
        raise InputError(
            f"hf/{name} holds no weights {missing[0]} (of {len(missing)}) for a classifier, which "
            "would be random: give a model that was trained to classify."
        )
    if not resize:
        processor.do_resize = processor.do_center_crop = False
    channels = int(getattr(network.config, "num_channels", None) or 3)
    # Weights of 16 bits are as exact in 32, where gradients of attacks do not vanish.
    return nn.Sequential(_seen(name, processor, channels), _Logits(network.float())).eval()


def _of_timm(name: str, revision: str | None, resize: bool) -> nn.Module:
    with needed("timm", f"hf/{name}"):
        import timm
    at = "" if revision is None else f"@{revision}"
    local = Path(name).is_dir()
    try:
        network = timm.create_model(
            f"local-dir:{name}" if local else f"hf-hub:{name}{at}", pretrained=True
        )
    except Exception as error:  # of the network, of the hub, of the cache
        raise _missing(name, error) from error
    about = cast(Mapping[str, Any], network.pretrained_cfg)
    height, width = about["input_size"][1:]
    sides = [math.floor(side / (about.get("crop_pct") or 1.0)) for side in (height, width)]
    way = about.get("crop_mode") or "center"
    if resize and way not in ("center", "squash"):
        raise InputError(
            f"hf/{name} adds a {way} to its images, which is not known here: resize the images "
            f"yourself and write hf/{name}?resize=False."
        )
    squashed = (sides[0], sides[1]) if way == "squash" else min(sides)
    seen = Seen(
        scaled(about["mean"]),
        scaled(about["std"]),
        squashed if resize else None,
        (height, width) if resize else None,
        about.get("interpolation") or "bicubic",
    )
    return nn.Sequential(seen, network).eval()


def _seen(name: str, processor: Any, channels: int) -> Seen:
    """What transformers' processor does, as a layer, which is held against the processor.

    Raises:
        InputError: if it does what this layer does not.
    """
    image = _probe(channels)
    try:
        seen = _layer(name, processor.to_dict(), channels)
        pixels = (255 * image).round().to(torch.uint8)
        theirs = processor(pixels[0].permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
        ours = seen(pixels / 255)
        same = ours.shape == theirs.shape
        same = same and bool((ours - theirs).abs().mean() <= _ROUNDING * theirs.std())
    except HoldfastError:
        raise
    except Exception:  # processors share no interface beyond their names
        same = False
    if not same:
        raise InputError(
            f"the processor of hf/{name}, {type(processor).__name__}, does to images what is not "
            "known here: give the model by a function of your own, as package.module:function."
        )
    return seen


def _probe(channels: int) -> Tensor:
    """An image that is smooth, so that rounding changes little of it, and like no mirror image."""
    down, across = torch.linspace(0, 1, 240).view(-1, 1), torch.linspace(0, 1, 320)
    waves = [torch.cos(9 * across + (6 + 3 * k) * down + k) for k in range(channels)]
    return (1 + torch.stack(waves)[None]) / 2


def _layer(name: str, processor: Mapping[str, Any], channels: int) -> Seen:
    """The layer that a processor's settings describe."""
    whole = 1.0
    if processor.get("do_rescale"):
        whole = 255 * float(processor["rescale_factor"])
    mean, std = [0.0] * channels, [1.0] * channels
    if processor.get("do_normalize"):
        mean = scaled(processor["image_mean"], channels)
        std = scaled(processor["image_std"], channels)
    if processor.get("include_top"):  # EfficientNet's divides by the deviations once more
        again = scaled(processor["image_std"], channels)
        std = [one * other for one, other in zip(std, again, strict=True)]
    mean, std = [value / whole for value in mean], [value / whole for value in std]
    size, crop = None, None
    if processor.get("do_resize"):
        size, crop = _size(name, processor)
    if processor.get("do_center_crop"):
        cut = processor["crop_size"]
        crop = (cut["height"], cut["width"])
    number = processor.get("resample")
    way = _RESAMPLING.get(2 if number is None else int(number), "another")
    turned = bool(processor.get("do_flip_channel_order"))
    return Seen(mean, std, size, crop, way if size is not None else "bilinear", turned)


def _size(
    name: str, processor: Mapping[str, Any]
) -> tuple[int | tuple[int, int], tuple[int, int] | None]:
    """What is resized to, and cut out for it."""
    size = processor["size"]
    if "height" in size and "width" in size:
        return (size["height"], size["width"]), None
    if set(size) != {"shortest_edge"}:
        raise InputError(
            f"the processor of hf/{name} resizes to {dict(size)}, which is not known here: resize "
            f"the images yourself and write hf/{name}?resize=False."
        )
    side = int(size["shortest_edge"])
    if processor.get("crop_pct") is None:
        return side, None
    if side >= 384:  # ConvNeXT's processor squeezes large images
        return (side, side), None
    return int(side / processor["crop_pct"]), (side, side)


class _Logits(nn.Module):
    """A classifier of transformers, by its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=x).logits
        return logits


def _missing(name: str, error: Exception) -> HoldfastError:
    if Path(name).is_dir():
        return DamagedFileError(
            f"hf/{name} is a folder that cannot be loaded ({_brief(error)}): write model and "
            "processor into it by save_pretrained."
        )
    return MissingFileError(
        f"hf/{name} is neither a folder nor in the Hugging Face cache, and could not be downloaded "
        f"({_brief(error)}); set HF_HOME to the folder of a cache that holds it."
    )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
