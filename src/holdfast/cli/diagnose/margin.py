"""``holdfast diagnose margin``: how far are images from the boundary?"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from holdfast import data as datasets
from holdfast.cli.diagnose.command import Shared, Shown, command, mean_known
from holdfast.diagnose import Diagnosis, margins
from holdfast.diagnose.by_image import Found
from holdfast.models import Centred, mean_image
from holdfast.report import diagnoses as figures
from holdfast.tensors import fingerprint
from holdfast.types import Images, Labels, Model


@command()
def margin(*, steps: int = 5, overshoot: float = 0.02, box: bool = False, _told: Shared) -> Shown:
    """Measure how far images are from the boundary, as Deep Defense's authors do.

    Their rho_2: DeepFool without a box, of few steps, from the class that is predicted, also for
    misclassified images; relative to the image less the mean image of the training set (DD,
    equation 7). As an attack, in the box and relative to the image, DeepFool is measured by
    holdfast evaluate.

    Example:
        holdfast diagnose margin --model runs/natural,runs/deep-defense --out runs/margins

    Args:
        steps: Of DeepFool; whether it has crossed the boundary by then does not matter.
        overshoot: By how much more than to the boundary it moves, as a fraction.
        box: Cut its iterates by [0, 1].
    """
    diagnosis = diagnosis_of_margins("margin", _told, steps=steps, overshoot=overshoot, box=box)

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        return {"margin": figures.margins([(name, of["relative"]) for name, of in found.items()])}

    return Shown(diagnosis, drawn)


def diagnosis_of_margins(
    name: str, told: Shared, *, steps: int, overshoot: float, box: bool
) -> Diagnosis:
    """The measure itself, under the name of the diagnosis that asks for it."""
    mean = mean_image(datasets.load(told.data, "train", data_dir=told.data_dir))

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        found = margins(
            model,
            x,
            y,
            mean=mean,
            steps=steps,
            overshoot=overshoot,
            box=box,
            seed=seed,
            index=index,
        )
        return {**found._asdict(), "right": found.right.int(), "crossed": found.crossed.int()}

    def summary(found: Found) -> dict[str, float]:
        return {
            "accuracy": mean_known(found["right"]),
            "rho2": mean_known(found["relative"]),
            "l2": mean_known(found["l2"]),
            "crossed": mean_known(found["crossed"]),
        }

    settings = {
        "steps": steps,
        "overshoot": overshoot,
        "box": box,
        "mean": fingerprint(Centred(mean)),
    }
    return Diagnosis(name, settings, look, summary)
