"""``holdfast diagnose convergence``: how do accuracy and margins move while a network trains?"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from holdfast.cli.diagnose.command import Shared, Shown, command
from holdfast.cli.diagnose.margin import diagnosis_of_margins
from holdfast.cli.options import Words
from holdfast.diagnose.by_image import Found
from holdfast.report import diagnoses as figures
from holdfast.training import kept_epochs


def _epochs(models: Words) -> Words:
    """The networks that runs have kept, for the runs."""
    return Words(str(file) for run in models for file in kept_epochs(Path(run)).values())


@command(expand=_epochs)
def convergence(*, steps: int = 5, overshoot: float = 0.02, _told: Shared) -> Shown:
    """Follow accuracy and rho_2 over the epochs of trainings.

    Of runs that were trained with --keep-epochs true; epoch 0 is where a training began. The
    measure is that of holdfast diagnose margin (DD, figures 2 and 8).

    Example:
        holdfast diagnose convergence --model runs/clean,runs/deep-defense --out runs/curves

    Args:
        steps: Of DeepFool.
        overshoot: By how much more than to the boundary it moves, as a fraction.
    """
    diagnosis = diagnosis_of_margins(
        "convergence", _told, steps=steps, overshoot=overshoot, box=False
    )

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        runs: dict[str, list[dict[str, float]]] = {}
        for name, of in found.items():
            file = Path(name)
            runs.setdefault(str(file.parents[1]), []).append(
                {"epoch": int(file.stem), **diagnosis.summary(of)}
            )
        return {"convergence": figures.convergence([(k, pd.DataFrame(v)) for k, v in runs.items()])}

    return Shown(diagnosis, drawn)
