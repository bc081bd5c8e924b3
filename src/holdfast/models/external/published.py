"""Networks that other libraries publish whole, with their weights, by names that begin with these.

    robustbench/Carmon2019Unlabeled?threat=Linf     hf/owner/model
    openclip/ViT-B-32?pretrained=laion2b_s34b_b79k&classes=names.txt
    onnx/net.onnx                                   onnxruntime/net.onnx

Parameters stand behind a question mark, as in an address, or in brackets as everywhere else:
``robustbench/Carmon2019Unlabeled(threat=Linf)``.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from holdfast.errors import InputError
from holdfast.models.external import hugging_face, onnx, openclip, robustbench
from holdfast.parameters import check_arguments
from holdfast.specs import Spec, arguments, parse

__all__ = ["LOADERS", "published"]

#: What stands before the first slash -> (what stands behind it, parameters) -> network.
LOADERS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "robustbench": robustbench.load,
        "hf": hugging_face.load,
        "openclip": openclip.load,
        "onnx": onnx.converted,
        "onnxruntime": onnx.asked,
    }
)


def published(spec: str) -> nn.Module | None:
    """The network that a name means, in evaluation mode; None if it begins with no such library's.

    Args:
        spec: as above.

    Raises:
        MissingPackageError: if the library is not installed.
        UnknownNameError: if it has no such model or parameter.
        MissingFileError: if weights are missing and cannot be downloaded.
        InputError: if a parameter is wrong.

    Example:
        >>> from holdfast.models.external.published import published
        >>> published("torchvision/resnet18") is None
        True
    """
    library, slash, _ = spec.partition("/")
    if not slash or library not in LOADERS:
        return None
    read = _read(spec)
    name = read.name.removeprefix(f"{library}/")
    if not name:
        raise InputError(f"{spec!r} names no model; write {library}/NAME.")
    load = LOADERS[library]
    given = arguments(read, "model", load, list(inspect.signature(load).parameters)[1:])
    check_arguments(load, given)
    return load(name, **given).eval()


def _read(spec: str) -> Spec:
    """A spec, or an address with a query."""
    name, mark, query = spec.partition("?")
    if not mark or "(" in name:
        return parse(spec, "model", "hf/owner/model(revision=main)")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if not all(key.isidentifier() and equals for key, equals, _ in pairs):
        raise InputError(
            f"{query!r} in {spec} cannot be read; write name=value pairs with & between them, such "
            "as ?threat=Linf&dataset=cifar10."
        )
    said = ", ".join(f"{key}={_value(value)}" for key, _, value in pairs)
    return parse(f"{name}({said})", "model", "hf/owner/model?revision=main")


def _value(text: str) -> str:
    """A value as specs write it: text that is no number or constant in quotes."""
    plain = re.fullmatch(r"True|False|None|-?\d+(\.\d+)?", text)
    return text if plain else repr(text)
