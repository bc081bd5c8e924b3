"""RobustBench's models: ``robustbench/Carmon2019Unlabeled?threat=Linf``.

What is taken of the package are the tables of its model zoo, which make the networks. Importing
``robustbench`` itself fails on a clean install, since it asks for ``autoattack``, which is no
package of the index, and its other requirements pin a timm and a gdown of 2024. So it is installed
without them,

    pip install "holdfast[robustbench]" && pip install --no-deps robustbench

and its ``__init__``, which imports what evaluates and downloads, is left out: the package is
entered into `sys.modules` as a bare one, unless it has been imported already.

A file of weights is looked for where RobustBench puts it, ``MODEL_DIR/DATASET/THREAT/NAME.pt``, and
only numbers are read from it. If it is missing it is downloaded by gdown, where that is installed.
"""

import re
import sys
import warnings
from collections.abc import Mapping
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from holdfast.errors import InputError, MissingFileError, MissingPackageError, unknown
from holdfast.files import check_regular
from holdfast.state_dicts import fill, read_weights

__all__ = ["load"]

Threat: TypeAlias = Literal["Linf", "L2", "corruptions"]
Dataset: TypeAlias = Literal["cifar10", "cifar100", "imagenet"]

_INSTALL = (
    'install it with pip install "holdfast[robustbench]" and pip install --no-deps robustbench'
)

#: Statistics of a normalisation, which some files do not hold since the network has them already.
_STATISTICS = frozenset({"mu", "sigma", "mean", "std"})

#: What some files hold beside the network's weights.
_BESIDE = re.compile(r"model_preact_hl1\.|.*\.scores$")

_WRAPPERS = ("module.", "model.")


def load(
    name: str,
    threat: Threat = "Linf",
    dataset: Dataset = "cifar10",
    model_dir: str = "models",
    weights: str | None = None,
) -> nn.Module:
    """A network of RobustBench's model zoo with its weights; it takes images in [0, 1].

    Args:
        name: as on the leaderboard.
        threat: of the leaderboard.
        dataset: of the leaderboard.
        model_dir: the folder of weights, laid out as RobustBench does.
        weights: a file of weights, wherever it is.

    Raises:
        MissingPackageError: if robustbench, or what its networks need, is not installed.
        UnknownNameError: if the leaderboard has no such model.
        MissingFileError: if weights are missing and cannot be downloaded.
        DamagedFileError: if they are not those of the network, or more than numbers.
        InputError: if the model is a mixture whose parts are put together by RobustBench alone.

    Example:
        >>> from holdfast.errors import HoldfastError
        >>> from holdfast.models.external import robustbench
        >>> try:
        ...     robustbench.load("NoSuchModel")
        ... except HoldfastError as error:  # it is not installed, or has no such model
        ...     "NoSuchModel" in str(error)
        True
    """
    entry = _entry(name, threat, dataset)
    path = Path(model_dir) / dataset / threat / f"{name}.pt" if weights is None else Path(weights)
    source = entry["gdrive_id"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how timm and torchvision are called there
        theirs = not source and weights is None and not path.is_file()
        network = _made(name, threat, dataset, entry, pretrained=theirs)
    if theirs:
        return network.eval()
    if not isinstance(source, list):
        _fill(network, _there(path, source), name)
        return network.eval()
    parts = getattr(network, "models", None)
    if parts is None or len(parts) != len(source):
        raise InputError(
            f"robustbench/{name} is a mixture of {len(source)} files that RobustBench puts "
            "together in a way of its own: load it by robustbench.utils.load_model, in a function "
            "that is given as package.module:function."
        )
    for place, (part, one) in enumerate(zip(parts, source, strict=True)):
        _fill(part, _there(path.with_name(f"{path.name}_m{place}.pt"), one), name)
    return network.eval()


def _entry(name: str, threat: str, dataset: str) -> Mapping[str, Any]:
    """The zoo's line for a model."""
    zoo = _zoo(name)
    tables: Mapping[Enum, Mapping[Enum, Mapping[str, Any]]] = zoo.model_dicts
    boards = {
        (data.value, kind.value): table
        for data, kinds in tables.items()
        for kind, table in kinds.items()
    }
    if (dataset, threat) not in boards:
        there = ", ".join(f"{data} {kind}" for data, kind in boards)
        raise InputError(f"RobustBench has no models for {dataset} {threat}; it has {there}.")
    table = boards[dataset, threat]
    if name not in table:
        raise unknown(f"model of RobustBench for {dataset} {threat}", name, table)
    return table[name]


def _zoo(name: str) -> ModuleType:
    """The module of the model zoo."""
    try:
        if "robustbench" not in sys.modules:
            _enter_bare()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("robustbench.model_zoo.models")
    except ImportError as error:
        raise MissingPackageError(
            f"robustbench/{name} needs the model zoo of robustbench ({error}): {_INSTALL}."
        ) from error


def _enter_bare() -> None:
    """Enter the package without what its ``__init__`` imports."""
    found = find_spec("robustbench")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("No module named 'robustbench'")
    bare = ModuleType("robustbench")
    bare.__path__ = list(found.submodule_search_locations)
    bare.__spec__ = found
    sys.modules["robustbench"] = bare


def _made(
    name: str, threat: str, dataset: str, entry: Mapping[str, Any], *, pretrained: bool
) -> nn.Module:
    """The network; with weights that timm or torchvision download, if it has no file."""
    registered = f"{name.lower().replace('-', '_')}_{dataset}_{threat.lower()}"
    import timm

    try:
        if timm.is_model(registered):
            return timm.create_model(registered, pretrained=pretrained)
        network: nn.Module = entry["model"]()
    except Exception as error:  # of the network, of the hub, of the file system
        brief = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"the weights of robustbench/{name} could not be downloaded ({brief}); give their "
            f"file, robustbench/{name}?threat={threat}&dataset={dataset}&weights=net.pt."
        ) from error
    return network


def _there(path: Path, source: str) -> Path:
    """The path, downloaded if there is nothing yet.

    Raises:
        MissingFileError: if it cannot be.
    """
    check_regular(path)
    if path.is_file():
        return path
    place = f"https://drive.google.com/uc?id={source}"
    try:
        import gdown
    except ImportError as error:
        raise MissingFileError(
            f"there is no file of weights {path}: put {place} there, or install gdown, which "
            "downloads it, or say model_dir or weights."
        ) from error
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        gdown.download(id=source, output=str(part), quiet=True)
        part.replace(path)
    except Exception as error:  # of the network, of the host, of the disk
        part.unlink(missing_ok=True)
        raise MissingFileError(
            f"there is no file of weights {path}, and {place} could not be downloaded "
            f"({' '.join(str(error).split())[:200]}); put the file there."
        ) from error
    return path


def _fill(network: nn.Module, path: Path, name: str) -> None:
    """Load a file into a network, whichever of RobustBench's ways its keys are written in."""
    own = network.state_dict()
    place = {_bare(key): key for key in own}
    given = {
        place.get(_bare(key), key): tensor
        for key, tensor in read_weights(path).items()
        if not _BESIDE.match(_bare(key))
    }
    statistics: dict[str, Tensor] = {
        key: tensor for key, tensor in own.items() if key.rpartition(".")[2] in _STATISTICS
    }
    wrong = f"{path} does not hold weights of robustbench/{name}"
    fill(network, statistics | given, wrong, "remove it to have it downloaded again")


def _bare(key: str) -> str:
    """A weight's name without the wrappers that it was saved in."""
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    return key
