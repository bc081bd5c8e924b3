"""Adversarial examples made once, before training, and looked up by example: Adv. Train I.

    examples = stored(DeepFool(L2(math.inf)), reference, data, out=Path("runs/examples"))
    objective = Adversarial(attack=examples)

What trains on them is any objective that holds an attack.
"""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from holdfast.attacks import Attack, DeepFool
from holdfast.data import Data
from holdfast.errors import GradientError, InputError
from holdfast.evaluation.scoring import Scorer
from holdfast.models.identity import identify
from holdfast.processes import first_of_all
from holdfast.progress import Progress, silent
from holdfast.random import Stream
from holdfast.results import Run, read_images
from holdfast.tensors import eval_mode
from holdfast.threads import suited_threads
from holdfast.threat import L2
from holdfast.training.objectives.adversarial import Adversarial
from holdfast.types import Callback, Images, Labels, Model, Threat

__all__ = ["Stored", "adversarial_training_1", "stored"]


@dataclass(frozen=True, kw_only=True)
class Stored(Attack):
    """The examples that ``attack`` has made on a reference model, whatever the model in training.

    Attributes:
        attack: what made them.
        reference: fingerprint of the model that they were made on.
        data: fingerprint of the data that they were made of.
        seed: of the attack.
        examples: (N, C, H, W), by their place in the data.
    """

    threat: Threat
    attack: Attack
    reference: str
    data: str
    seed: int
    examples: Images = field(repr=False, compare=False)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Look up the examples whose places ``rng`` names; see `Attack.perturb`.

        Raises:
            InputError: if there is no example at some place, or the images have another shape.
        """
        del model, y, callback
        index = rng.index.cpu()
        if int(index.max()) >= len(self.examples) or x0.shape[1:] != self.examples.shape[1:]:
            raise InputError(
                f"there are {len(self.examples)} stored examples of shape "
                f"{tuple(self.examples.shape[1:])}, but number {int(index.max())} of shape "
                f"{tuple(x0.shape[1:])} is asked for; train on the data that they were made of."
            )
        return self.examples[index].to(x0)


def stored(
    attack: Attack,
    reference: Model,
    data: Data,
    *,
    seed: int = 0,
    batch_size: int = 128,
    out: Path | None = None,
    progress: Progress = silent,
) -> Stored:
    """Attack every image of ``data`` once.

    An image that the reference gets wrong, or that the attack cannot fool it with, stays as it is.
    All examples are kept in memory, as float32.

    Args:
        attack: makes the examples.
        reference: the model that they are made on, on the device that is to do the work.
        data: the training set.
        seed: of the attack.
        batch_size: images attacked at once.
        out: run folder to keep the examples and their rows in; interrupted, the same call goes on
            from there, and finished, it reads them.
        progress: told about every batch.

    Raises:
        OutputError: if ``out`` cannot be written, or holds examples of another reference, attack or
            data.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return stored(
                attack,
                reference,
                data,
                seed=seed,
                batch_size=batch_size,
                out=Path(folder) / "run",
                progress=progress,
            )
    with eval_mode(reference):
        identity = identify(reference, data)
    settings = {
        "attack": repr(attack),
        "reference": identity["model_fingerprint"],
        **{f"reference_{name}": identity[f"model_{name}"] for name in ("answers", "source")},
        "data": data.fingerprint(),
        "images": len(data),
        "seed": seed,
        "batch_size": batch_size,
    }

    def work() -> None:
        run = Run(out, "examples", settings)
        threads = suited_threads(data.shape, reference, progress=progress)
        with threads, run.writing() as unfinished:
            if unfinished:
                _fill(run, attack, reference, data, seed, batch_size, progress)

    first_of_all(work)
    examples = read_images(out, 0)["x_adv"]
    return Stored(
        threat=attack.threat,
        attack=attack,
        reference=str(settings["reference"]),
        data=str(settings["data"]),
        seed=seed,
        examples=examples,
    )


def _fill(
    run: Run,
    attack: Attack,
    reference: Model,
    data: Data,
    seed: int,
    batch_size: int,
    progress: Progress,
) -> None:
    judge = Scorer(reference, data, seed, votes=1, batch_size=batch_size, watch=progress.watch)
    progress.start("adversarial examples", len(data))
    for chunk, index in enumerate(data.batches(batch_size)):
        if not run.has(0, chunk):
            began = time.monotonic()
            with eval_mode(reference):
                clean = torch.tensor(judge.clean_rows(index)["prediction"].to_numpy())
                rows, x_adv, skipped = judge.attack_rows("stored", attack, index, clean)
            if "stored" in skipped:
                raise GradientError(skipped["stored"])  # nothing to train on
            run.write_images(0, chunk, {"x_adv": x_adv})
            run.write(0, chunk, rows, time.monotonic() - began)
        progress.advance(len(index))
    rows = run.merge()
    run.finish(fooled=float(rows["fooled"].mean()))
    run.clear()


def adversarial_training_1(
    reference: Model,
    data: Data,
    *,
    share: float = 1.0,
    seed: int = 0,
    batch_size: int = 128,
    out: Path | None = None,
    progress: Progress = silent,
) -> Adversarial:
    """Adv. Train I: train on a fixed set of DeepFool's examples, made on the reference model.

    The paper says no more than that. DeepFool's authors, whom it follows, fine-tune for 5 epochs at
    half the learning rate "only on the perturbed training set", the same in all epochs.

    Args:
        reference: the trained model, from whose weights fine-tuning begins.
        data: the training set.
        share: weight of the adversarial half of the loss in [0, 1]; 1 in Moosavi-Dezfooli et al.
        seed: of no consequence for DeepFool on a deterministic model.
        batch_size: images attacked at once.
        out: see `stored`.
        progress: told about every batch.

    Reference:
        Yan et al., "Deep Defense", NeurIPS 2018, section 4; Moosavi-Dezfooli et al., "DeepFool",
        CVPR 2016, section 4.2.
    """
    examples = stored(
        DeepFool(L2(torch.inf)),
        reference,
        data,
        seed=seed,
        batch_size=batch_size,
        out=out,
        progress=progress,
    )
    return Adversarial(attack=examples, share=share)
