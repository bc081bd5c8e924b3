"""``holdfast diagnose filters``: how much of a network is alive?"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from holdfast.cli.diagnose.command import Shown, command
from holdfast.diagnose import Diagnosis, live_filters
from holdfast.diagnose.by_image import Found
from holdfast.types import Images, Labels, Model


@command()
def filters() -> Shown:
    """Count the filters that give 0 on every image: a network of few is none to judge by.

    A filter is a channel of what a ReLU makes of a convolution. Too large a rate kills them before
    they learn, above all against a strong training attack, and what is left may still be accurate.

    Example:
        holdfast diagnose filters --model runs/net --data mnist --images 500
    """

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        del y  # nothing hangs on it
        found = live_filters(model, x, seed=seed, index=index)
        return {f"layer {name}": alive for name, alive in found.items()}

    def summary(found: Found) -> dict[str, float]:
        alive = {name: of.any(axis=0) for name, of in found.items() if name.startswith("layer ")}
        every = np.concatenate(list(alive.values()))
        return {
            "filters": float(every.size),
            "dead": float((~every).mean()),
            "dead_in_worst_layer": max(float((~of).mean()) for of in alive.values()),
            **{f"{name}: dead": float((~of).mean()) for name, of in alive.items()},
        }

    return Shown(Diagnosis("live filters", {}, look, summary), lambda _: {})
