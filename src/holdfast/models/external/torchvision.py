"""Classifiers of torchvision.

Its models take three channels; grey images are shown to them as three equal ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from holdfast.data.reading import Reading
from holdfast.errors import DamagedFileError, InputError, MissingFileError, unknown
from holdfast.files import check_regular
from holdfast.models.external.library import Grey, Library, Published
from holdfast.models.shape import Shape

#: These two would return three tensors in training mode, and warn about how weights are drawn.
_PLAIN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "inception_v3": {"aux_logits": False, "init_weights": True},
        "googlenet": {"aux_logits": False, "init_weights": True},
    }
)

#: Only these does a checkpoint give to torchvision's builders, which also take ``weights`` and
#: ``pretrained``, and download.
_LOADABLE = frozenset(
    """
    alpha attention_dropout aux_logits block_config bn_size depths drop_rate dropout dropout_aux
    embed_dim groups growth_rate hidden_dim image_size init_weights input_size layer_scale
    memory_efficient mlp_dim mlp_dropout mlp_ratio num_heads num_init_features num_layers
    patch_size replace_stride_with_dilation representation_size round_nearest stochastic_depth_prob
    transform_input width_mult width_per_group window_size zero_init_residual
    """.split()  # noqa: SIM905
)


def _names() -> Sequence[str]:
    from torchvision import models  # two seconds of import that other models need not pay

    return models.list_models(module=models)


def _fresh(name: str, shape: Shape, classes: int, parameters: dict[str, Any]) -> nn.Module:
    from torchvision import models

    if shape[0] not in (1, 3):
        raise InputError(
            f"torchvision/{name} takes images of 1 or 3 channels, but these have {shape[0]}; "
            "choose a model of Holdfast or timm."
        )
    network: nn.Module = models.get_model(
        name, weights=None, num_classes=classes, **{**_PLAIN.get(name, {}), **parameters}
    )
    return network if shape[0] == 3 else nn.Sequential(Grey(), network)


def _published(name: str, weights: str, parameters: dict[str, Any]) -> Published:
    from torchvision import models

    known = models.get_model_weights(name)
    if weights not in known.__members__:
        raise unknown(f"weights of torchvision/{name}", weights, known.__members__)
    entry = known[weights]
    _read_safely(f"torchvision/{name}", entry)
    network = models.get_model(name, weights=entry, **parameters)
    if isinstance(network, models.Inception3):
        network.aux_logits, network.AuxLogits = False, None
    mean, std = _statistics(network, entry)
    return Published(f"torchvision/{name}", network, mean, std, _shape(entry), _reading(entry))


def _statistics(network: Any, entry: Any) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel that the network wants taken out.

    Some take ImageNet's and turn them into 0.5 and 0.5 by themselves. Going there at once is the
    same and lets the network, which is changed here, be what it is with fresh weights.
    """
    if getattr(network, "transform_input", False):
        network.transform_input = False
        return [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
    return entry.transforms().mean, entry.transforms().std


def _expects(name: str) -> Shape:
    from torchvision import models

    return _shape(models.get_model_weights(name).DEFAULT)


def _shape(entry: Any) -> Shape:
    side = int(entry.transforms().crop_size[0])
    return (3, side, side)


def _reading(entry: Any) -> Reading:
    way = entry.transforms()
    return Reading(int(way.resize_size[0]), int(way.crop_size[0]), way.interpolation.value)


def _read_safely(model: str, entry: Any) -> None:
    """Download the weights if they are missing, and see that they are nothing but numbers.

    torchvision's own loading, which comes after, would execute what a file in its cache says.

    Raises:
        MissingFileError: if they are missing and cannot be downloaded.
        DamagedFileError: if the file is damaged or holds more than numbers.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(entry.url).path).name
    check_regular(path)
    there = path.exists()
    try:
        entry.get_state_dict(check_hash=True, weights_only=True)
    except Exception as error:  # of the network, of the file system, of unpickling
        brief = " ".join(str(error).split())[:200]
        if there:
            raise DamagedFileError(
                f"{path} is damaged or holds more than weights ({brief}); remove it to have it "
                "downloaded again."
            ) from error
        raise MissingFileError(
            f"the weights of {model} are not at {path} and could not be downloaded from "
            f"{entry.url} ({brief}); put the file there, or set TORCH_HOME to the folder whose "
            "hub/checkpoints holds it."
        ) from error


TORCHVISION = Library(_names, _fresh, _published, _expects, _LOADABLE)
