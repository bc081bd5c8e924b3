"""Passes of a diagnosis, image by image: it is made of one image, by networks that stand in."""

import inspect
from collections.abc import Mapping
from typing import Any

from holdfast.cli.commands import COMMANDS
from holdfast.cli.diagnose.command import LOOKS, Shared
from holdfast.cli.options import Words
from holdfast.cli.passes.about import about
from holdfast.cli.passes.bench import Bench, Kind, Known, example, firm, receding
from holdfast.training.epochs import kept_epochs

#: Diagnoses that look into a network of common layers, and stop nowhere before the end.
_OF_LAYERS = ("filters", "ibp")


def of_diagnosis(name: str, options: Mapping[str, Any], known: Known) -> int | None:
    """Passes at most."""
    found = about(options, "test")
    if found.images is None or found.classes is None:
        return None
    models = options["model"]
    several = (_epochs(run, known) if name == "convergence" else 1 for run in models)
    kinds = (firm,) if name in _OF_LAYERS else (firm, receding)
    each = max(
        _each(name, options, models[0], found.shape, found.classes, known, kind) for kind in kinds
    )
    # One image of every model is looked at beforehand, so that what cannot be had is told.
    return sum(several) * (found.images + 1) * each or None


def _epochs(run: str, known: Known) -> int:
    """Networks that a training keeps: where it began, and after each epoch."""
    command, options = known.get(run, ("", {}))
    return options["epochs"] + 1 if command == "train" else len(kept_epochs(run))


def _each(
    name: str,
    options: Mapping[str, Any],
    model: str,
    shape: tuple[int, ...],
    classes: int,
    known: Known,
    kind: Kind,
) -> int:
    """Passes of an image by one model."""
    command = f"diagnose {name}"
    COMMANDS[command].load()
    function = LOOKS[name.replace("-", "_")]
    takes = inspect.signature(function).parameters
    told: dict[str, Any] = {}
    if "_told" in takes:  # the images of a training set may be read: of one that is at hand
        told, shape = {"_told": Shared(model=Words(options["model"]))}, (1, 8, 8)
    own = {key: options[key] for key in takes if key != "_told"}
    bench = Bench(shape, classes, known, kind)
    with bench.standing_in():
        shown = function(**own, **told)
        network = bench.network(model)
        x, y, index = example(shape)
        before = bench.spent
        shown.diagnosis.look(network, x, y, seed=0, index=index)
    return bench.spent - before
