"""Classifiers of timm, an optional dependency: ``pip install "holdfast[timm]"``."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from holdfast.errors import MissingFileError, MissingPackageError, unknown
from holdfast.models.library import Library, Published
from holdfast.models.shape import Shape


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise MissingPackageError(
            f"models named timm/... need timm, which cannot be imported ({error}); install it with "
            'pip install "holdfast[timm]".'
        ) from error
    return timm


def _names() -> Sequence[str]:
    return _timm().list_models()


def _fresh(name: str, shape: Shape, classes: int, parameters: dict[str, Any]) -> nn.Module:
    return _timm().create_model(
        name, pretrained=False, num_classes=classes, in_chans=shape[0], **parameters
    )


def _published(name: str, weights: str, parameters: dict[str, Any]) -> Published:
    timm = _timm()
    full = name if weights == "DEFAULT" else f"{name}.{weights}"
    if not timm.is_model_pretrained(full):
        raise unknown("pretrained model of timm", full, timm.list_models(pretrained=True))
    try:
        network = timm.create_model(full, pretrained=True, **parameters)
    except TypeError:  # a wrong parameter
        raise
    except Exception as error:  # of the network, of the hub, of the file system
        brief = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"the weights of timm/{full} are not in the Hugging Face cache and could not be "
            f"downloaded ({brief}); set HF_HOME to the folder of a cache that holds them."
        ) from error
    about = network.pretrained_cfg
    return Published(f"timm/{full}", network, about["mean"], about["std"], _shape(about))


def _expects(name: str) -> Shape:
    about = _timm().get_pretrained_cfg(name)
    # A model without an entry has timm's default.
    return (3, 224, 224) if about is None else _shape(about.to_dict())


def _shape(about: dict[str, Any]) -> Shape:
    channels, height, width = about["input_size"]
    return (channels, height, width)


TIMM = Library(_names, _fresh, _published, _expects)
