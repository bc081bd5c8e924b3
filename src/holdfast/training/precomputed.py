"""Adversarial examples made once, before training, and looked up by image: Adv. Train I.

    examples = precompute(DeepFool(L2(math.inf)), reference, data, out=Path("runs/examples"))
    objective = Adversarial(attack=examples)

What trains on them is any objective that holds an attack.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from holdfast.attacks import Attack, DeepFool
from holdfast.checks import Checked, check_model
from holdfast.data import Data
from holdfast.errors import DamagedFileError, InputError
from holdfast.files import StrPath
from holdfast.group import first_of_all
from holdfast.models.identity import identify
from holdfast.parameters import Seed, at_least_one, check_arguments
from holdfast.progress import Progress, silent
from holdfast.random import Stream
from holdfast.results import Missing, Part, Run, kept_or_temporary, read_images
from holdfast.tensors import device_of, distances, eval_mode
from holdfast.threads import suited_threads
from holdfast.threat import L2
from holdfast.training.known_images import KnownImages, hash_images
from holdfast.training.objectives.adversarial import Adversarial
from holdfast.types import Callback, Images, Labels, Model, Threat
from holdfast.votes import take_votes_apart

__all__ = ["Precomputed", "adversarial_training_1", "precompute"]


@dataclass(frozen=True, kw_only=True)
class Precomputed(Attack):
    """The examples that ``attack`` has made on a reference model, whatever the model in training.

    Attributes:
        attack: what made them.
        reference: fingerprint of the model that they were made on.
        data: fingerprint of the data that they were made of.
        seed: of the attack.
        examples: (N, C, H, W), by their place in the data.
        known: by which an image finds its example, wherever it stands in a part of the data.

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DeepFool
        >>> from holdfast.data import Data
        >>> from holdfast.training import precompute
        >>> examples = precompute(DeepFool(L2(float("inf"))), model, Data.of(x, y))
        >>> part = examples(model, x[2:], y[2:], index=torch.tensor([0, 1]))  # by their content
        >>> bool((part == examples.examples[2:]).all())
        True
    """

    threat: Threat
    attack: Attack
    reference: str
    data: str
    seed: Seed
    examples: Images = field(repr=False, compare=False)
    known: KnownImages = field(repr=False, compare=False)

    def perturb(
        self, model: Model, x0: Images, y: Labels, rng: Stream, callback: Callback | None = None
    ) -> Images:
        """Look up the examples of the images; see `Attack.perturb`.

        Raises:
            InputError: if there is no example of one.
        """
        del model, y, rng, callback
        mend = "train on the images that they were made of, neither shifted nor mirrored"
        if x0.shape[1:] != self.examples.shape[1:]:
            raise InputError(
                f"the precomputed examples have shape {tuple(self.examples.shape[1:])}, and the "
                f"images {tuple(x0.shape[1:])}; {mend}."
            )
        place, known = self.known.find(x0)
        if not known.all():
            raise InputError(
                f"there are {len(self.examples)} precomputed examples, but none of "
                f"{(~known).sum()} of {len(x0)} images; {mend}."
            )
        return self.examples[torch.from_numpy(place)].to(x0)


def precompute(
    attack: Attack,
    reference: Model,
    data: Data,
    *,
    seed: Seed = 0,
    batch_size: int = 128,
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Precomputed:
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

    Example:
        >>> from holdfast import L2
        >>> from holdfast.attacks import DeepFool
        >>> from holdfast.data import Data
        >>> from holdfast.training import precompute
        >>> examples = precompute(DeepFool(L2(float("inf"))), model, Data.of(x, y)).examples
        >>> bool((model(examples).argmax(dim=1) != y).all())
        True
    """
    check_model(reference)
    check_arguments(precompute, locals())
    at_least_one(batch_size=batch_size)
    with eval_mode(reference):
        identity = identify(reference, data)
    record = {
        "attack": repr(attack),
        "reference": identity["model_fingerprint"],
        **{f"reference_{name}": identity[f"model_{name}"] for name in ("answers", "source")},
        "data": data.fingerprint(),
        "images": len(data),
        "seed": seed,
        "batch_size": batch_size,
    }

    def compute(missing: Missing) -> Iterator[Part]:
        index = missing.index
        with eval_mode(reference):
            yield _attacked(attack, reference, data, index, seed, batch_size, progress.watch)

    def work(run: Run) -> None:
        chunks = dict(enumerate(data.batches(batch_size)))
        run.fill(chunks, ["examples"], compute, "adversarial examples", progress)

    def results(_: Run, rows: pd.DataFrame) -> dict[str, float]:
        return {"fooled": float(rows["fooled"].mean())}

    with kept_or_temporary(out) as folder:

        def run() -> None:
            with suited_threads(data.shape, reference, progress=progress):
                Run.resume_or(folder, "examples", record, work, results, progress=progress)

        if out is None:
            run()  # of several processes each has a folder of its own
        else:
            first_of_all(run)
        examples = read_images(folder, 0, "x_adv")["x_adv"]
        if examples.shape != (len(data), *data.shape):
            raise DamagedFileError(
                f"{folder} holds examples of shape {tuple(examples.shape)}, and not one of each of "
                f"the {len(data)} images; put the copies of its images back."
            )
    return Precomputed(
        threat=attack.threat,
        attack=attack,
        reference=str(record["reference"]),
        data=str(record["data"]),
        seed=seed,
        examples=examples,
        known=KnownImages(
            np.concatenate([hash_images(data.x(index)).numpy() for index in data.all_batches()])
        ),
    )


def _attacked(
    attack: Attack,
    reference: Model,
    data: Data,
    index: Tensor,
    seed: Seed,
    batch_size: int,
    watch: Callback,
) -> Part:
    """The examples of a chunk; an image that the reference gets wrong stays as it is."""
    device = device_of(reference)
    x, y = data.x(index).to(device), data.y[index].to(device)

    def asked(images: Images, purpose: str) -> Tensor:
        rng = Stream.of(seed, index.to(device)).fold("ask", purpose)
        checked = Checked(reference, y)
        return take_votes_apart(checked, images, rng, n=1, batch_size=batch_size).counts.argmax(1)

    clean = asked(x, "clean")
    right, x_adv = clean == y, x.clone()
    if right.any():
        chosen = index[right.cpu()].to(device)
        x_adv[right] = attack(
            reference, x[right], y[right], seed=seed, index=chosen, callback=watch
        )
    # "stored" keys the draws of a stochastic reference: it stays, so that numbers do.
    prediction = torch.where(right, asked(x_adv, f"stored {attack.threat!r}"), clean)
    columns = {
        "index": index,
        "label": y,
        "clean_prediction": clean,
        "prediction": prediction,
        "fooled": prediction != y,
        **distances(x_adv, x),
    }
    rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    rows.insert(0, "attack", "precomputed")
    rows.insert(1, "norm", attack.threat.name)
    rows.insert(2, "eps", attack.threat.eps)
    return Part(0, rows, {"x_adv": x_adv})


def adversarial_training_1(
    reference: Model,
    data: Data,
    *,
    weight: float = 1.0,
    seed: Seed = 0,
    batch_size: int = 128,
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Adversarial:
    """Adv. Train I: train on a fixed set of DeepFool's examples, made on the reference model.

        CE(f(x'), y),  x' = DeepFool(x) on the reference network, made once

    The paper says no more than that. DeepFool's authors, whom it follows, fine-tune for 5 epochs at
    half the learning rate "only on the perturbed training set", the same in all epochs.

    When:
        To reproduce Deep Defense's comparison, in fine-tuning.

    When not:
        As a defence: the network moves away from examples that stay where they were made.
        `Adversarial` with PGD.

    Traps:
        The examples are those of the reference network, in whose place they are soon no longer
        adversarial; that they are learnt says nothing of new ones. Another DeepFool (steps,
        overshoot, box) makes another set.

    Args:
        reference: the trained model, from whose weights fine-tuning begins.
        data: the training set.
        weight: of the adversarial half of the loss, in [0, 1]; 1 in Moosavi-Dezfooli et al.
        seed: of no consequence for DeepFool on a deterministic model.
        batch_size: images attacked at once.
        out: see `precompute`.
        progress: told about every batch.

    Reference:
        Yan et al., "Deep Defense", NeurIPS 2018, section 4; Moosavi-Dezfooli et al., "DeepFool",
        CVPR 2016, section 4.2.

    Example:
        >>> from holdfast.data import Data
        >>> from holdfast.random import Stream
        >>> from holdfast.training import adversarial_training_1
        >>> objective = adversarial_training_1(model, Data.of(x, y))
        >>> loss, terms = objective(model, x, y, Stream.of(0, torch.arange(4)))
        >>> float(terms["robust_accuracy"])  # on examples that were made to fool this network
        0.0
    """
    examples = precompute(
        DeepFool(L2(torch.inf)),
        reference,
        data,
        seed=seed,
        batch_size=batch_size,
        out=out,
        progress=progress,
    )
    return Adversarial(attack=examples, weight=weight)
