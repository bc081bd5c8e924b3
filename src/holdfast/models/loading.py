"""Models as the command line names them.

A training or tuning run, a checkpoint, a Python callable, or a pretrained model of torchvision or
timm.
"""

import os
from difflib import get_close_matches
from pathlib import Path

from torch import nn

from holdfast.built import build
from holdfast.errors import InputError, MissingFileError, ModelError
from holdfast.files import check_regular
from holdfast.models.checkpoint import MODEL, is_ours, read_model
from holdfast.models.external.names import LibraryModel
from holdfast.models.external.published import published
from holdfast.models.layers import in_front, layers_and_network
from holdfast.models.purified import PURIFIED, read_purified
from holdfast.models.registry import ARCHITECTURES, DENOISERS, Architecture
from holdfast.models.stand_in import stand_in
from holdfast.models.weights import FileOfWeights
from holdfast.results import ABOUT, read_about
from holdfast.state_dicts import SUFFIXES, read_weights

__all__ = ["load", "load_denoiser"]


def load(spec: str, shape: tuple[int, ...] | None = None) -> nn.Module:
    """Load a classifier: in evaluation mode, but a callable's as the callable made it.

    Args:
        spec: the folder of a training or tuning run, a model.safetensors file,
            ``torchvision/resnet18(weights='DEFAULT')`` or ``timm/resnet18(weights='DEFAULT')``,
            ``hf/owner/model`` and others (`holdfast.models.external.published`), or
            ``package.module:callable``, which returns a `torch.nn.Module` that maps images in
            [0, 1] to logits (`holdfast.built`), also with a file of weights,
            ``mynet:Net(weights=net.pth)``; or an architecture's name with one,
            ``torchvision/resnet18(weights=net.pth)`` (`holdfast.models.weights`); any of them with
            layers in front,
            ``binarise(threshold=0.5) | runs/net``.
        shape: (C, H, W) of the images, for an architecture that is built for them.

    Raises:
        MissingFileError: if there is no such folder or file, or weights cannot be downloaded.
        DamagedFileError: if a file is damaged.
        MissingPackageError: if the model's library is not installed.
        UnknownNameError: if the library has no such model or weights.
        ModelError: if the checkpoint holds a denoiser, or the callable cannot be imported or
            called, or returns no module.
        InputError: if ``spec`` is an architecture, which has no weights yet.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import save_model
        >>> from holdfast.models.loading import load
        >>> small = Architecture(name="small", shape=(1, 8, 8), classes=10)
        >>> save_model("model.safetensors", small.build(seed=0), small)
        >>> load("model.safetensors")(x).shape
        torch.Size([4, 10])
    """
    if os.path.exists(spec):  # which a spec that is too long for a path does not
        return _load(spec, denoiser=False, shape=shape)
    layers, network = layers_and_network(spec)
    return in_front(layers, _load(network, denoiser=False, shape=shape))


def load_denoiser(spec: str) -> nn.Module:
    """Load a denoiser, images to images, in evaluation mode; else as `load`.

    Args:
        spec: the folder of a training run, a model.safetensors file, or
            ``package.module:callable``.

    Raises:
        ModelError: if it is a classifier.

    Example:
        >>> from holdfast.models import Architecture
        >>> from holdfast.models.checkpoint import save_model
        >>> from holdfast.models.loading import load_denoiser
        >>> denoiser = Architecture(name="malade-dae", shape=(1, 28, 28), classes=10)
        >>> save_model("model.safetensors", denoiser.build(seed=0), denoiser)
        >>> load_denoiser("model.safetensors")(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """
    return _load(spec, denoiser=True)


def _instead(path: Path) -> str:
    """What to do about a folder without a network: a run that is finished makes none again."""
    about = read_about(path) if (path / ABOUT).exists() else {"kind": "train", "complete": False}
    if about["kind"] not in ("train", "tune"):
        return f"its run is one of holdfast {about['kind']}, so give the folder of a training"
    if about["complete"]:
        return "its run is finished, so put the copy back, or repeat the run with another --out"
    return (
        f"run the holdfast {about['kind']} command that made the folder again, and it will go on "
        "where it stopped"
    )


def _load(spec: str, denoiser: bool, shape: tuple[int, ...] | None = None) -> nn.Module:
    if not spec:  # as a path it would be the working directory
        raise InputError(
            "no model is named; give the folder of a training run, or another of what --model "
            'takes, behind layers as in "binarise(threshold=0.5) | runs/net".'
        )
    other = stand_in(spec, denoiser)
    if other is not None:
        return other
    path = Path(spec)
    check_regular(path)
    if (path / PURIFIED).is_file():
        path = path / PURIFIED
    if path.name == PURIFIED and path.is_file():
        if denoiser:
            raise ModelError(
                f"{path} holds a purified classifier; give its denoiser by the run that trained it."
            )
        return read_purified(path)
    if path.is_dir():
        if not (path / MODEL).exists():
            raise MissingFileError(
                f"{path} holds no finished network: there is no {MODEL} in it; {_instead(path)}."
            )
        path = path / MODEL
        check_regular(path)
    if path.is_file() and path.suffix in SUFFIXES and not is_ours(path):
        read_weights(path)  # says what is wrong with it
        raise InputError(
            f"{path} holds weights, and not which network's: name its architecture with it, "
            f"torchvision/resnet18(weights={path}), or the function or class that builds it, "
            f"package.module:Net(weights={path})."
        )
    if path.is_file() and path.suffix == ".onnx":
        raise InputError(
            f"{path} is a network in ONNX: write onnx/{path}, which has gradients, or "
            f"onnxruntime/{path}, which has answers alone."
        )
    if path.is_file():
        network, architecture = read_model(path)
        if architecture.denoises is not denoiser:
            raise _other_kind(path, architecture)
        return network
    weights = FileOfWeights.read(spec)
    if weights is not None:
        return weights.fitting(shape).load()
    whole = published(spec)
    if whole is not None:
        if denoiser:
            raise ModelError(
                f"{spec} is a classifier; give a denoiser, which makes images of images."
            )
        return whole
    model = LibraryModel.read(spec)
    if model is not None and model.weights is not None:
        return model.load(model.weights)
    if model is not None or spec in ARCHITECTURES or spec in DENOISERS:
        offered = f", or ask for the library's: \"{spec}(weights='DEFAULT')\"" if model else ""
        raise InputError(
            f"{spec} is an architecture without weights; train it with holdfast train --model "
            f"{spec}, then give the folder of that run{offered}."
        )
    if ":" in spec:
        return build(spec)
    beside = [other.name for other in path.parent.glob("*")]
    near = get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.with_name(near[0])}? Or " if near else ""
    raise MissingFileError(
        f"there is no model {spec}: {hint}give the folder of a holdfast train run, a "
        "model.safetensors file, package.module:callable, a pretrained model of a library, "
        "torchvision/resnet18(weights='DEFAULT'), or an architecture with a file of its weights, "
        "torchvision/resnet18(weights=net.pth)."
    )


def _other_kind(path: Path, architecture: Architecture) -> ModelError:
    if architecture.denoises:
        return ModelError(
            f"{path} holds the denoiser {architecture.name}, which maps images to images; give a "
            "classifier, which maps them to logits."
        )
    return ModelError(
        f"{path} holds the classifier {architecture.name}, which maps images to logits; give a "
        f"denoiser, which maps them to images: train one, such as {next(iter(DENOISERS))}."
    )
