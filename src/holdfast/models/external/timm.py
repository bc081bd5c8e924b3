"""Classifiers of timm, an optional dependency: ``pip install "holdfast[timm]"``."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from holdfast.data.reading import Reading
from holdfast.errors import MissingFileError, MissingPackageError, unknown
from holdfast.models.external.library import Library, Published
from holdfast.models.shape import Shape

#: Only these does a checkpoint give to ``timm.create_model``, which also takes ``checkpoint_path``,
#: ``pretrained_cfg``, ``cache_dir`` and others that unpickle and download.
_LOADABLE = frozenset(
    """
    attn_drop_rate avg_down base_width block_config bn_size cardinality channels class_token depth
    depths dim dims down_kernel_size drop_block_rate drop_path_rate drop_rate dynamic_img_size
    embed_dim embed_dims expand_ratio fc_norm global_pool growth_rate head_dim head_init_scale
    img_size init_values kernel_size kernel_sizes layer_scale_init_value layers ls_init_value
    memory_efficient mlp_ratio mlp_ratios norm_eps num_features num_heads output_stride
    patch_drop_rate patch_size pos_drop_rate pre_norm proj_drop_rate qk_norm qkv_bias reg_tokens
    stem_width strict_img_size width width_factor window_size zero_init_last
    """.split()  # noqa: SIM905
)


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
    return Published(
        f"timm/{full}", network, about["mean"], about["std"], _shape(about), _reading(about)
    )


def _expects(name: str) -> Shape:
    about = _timm().get_pretrained_cfg(name)
    # A model without an entry has timm's default.
    return (3, 224, 224) if about is None else _shape(about.to_dict())


def _shape(about: dict[str, Any]) -> Shape:
    channels, height, width = about["input_size"]
    return (channels, height, width)


def _reading(about: dict[str, Any]) -> Reading | None:
    """The middle of photographs, cut to a square; other ways are not known here."""
    _, height, width = about["input_size"]
    way, interpolation = about.get("crop_mode") or "center", about.get("interpolation")
    if height != width or way != "center" or interpolation not in ("bilinear", "bicubic"):
        return None
    return Reading(math.floor(height / (about.get("crop_pct") or 1.0)), height, interpolation)


TIMM = Library(_names, _fresh, _published, _expects, _LOADABLE)
