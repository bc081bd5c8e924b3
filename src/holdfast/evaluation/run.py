"""Evaluate: attack every example, then ask the model again.

The evaluator scores on the target, always, with a fresh forward pass and fresh noise; an attack's
own belief in success is never a result. What the model declares about itself decides how it is
attacked: a stochastic model through the average over its randomness, and its predictions are votes;
one that is not differentiable or cleans its images also through a surrogate gradient (BPDA).
"""

import math
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from holdfast import metrics
from holdfast.attacks import Attack, On, Worst, adapted, variants_of
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.attacks.skips import hearing_skips
from holdfast.checks import (
    check_classes,
    check_images,
    check_labels,
    check_logits,
    probability_notes,
    training_notes,
    try_model,
)
from holdfast.data import Data
from holdfast.declarations import is_stochastic
from holdfast.defenses.smoothed import noise_of
from holdfast.errors import GradientError, InputError
from holdfast.evaluation.scoring import CLEAN, Scorer, check_name
from holdfast.models.identity import identify
from holdfast.parameters import check_fields
from holdfast.progress import Progress, silent
from holdfast.random import own_global_generator
from holdfast.results import Run, read_about, read_rows
from holdfast.tensors import device_of, eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model, Step


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        rows: one line for each (attack, example); see `holdfast.evaluation`.
        cells: one record for each attack, as ``holdfast evaluate --json`` prints them; the ``eps``
            of an attack without a limit is None. That of a cascade, such as the variants of an
            attack that a defence calls for, says in ``broken_by`` how many images fell to each.
            What could not run, because no gradient reaches the images, stands in ``skipped`` with
            its reason; the robust accuracy of an attack that was skipped altogether is None.
        warnings: all that must be known to read the numbers, such as signs of masked gradients.
    """

    rows: pd.DataFrame
    cells: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """The cells as a table."""
        return pd.DataFrame(self.cells)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How to evaluate, whatever the attack.

    Attributes:
        seed: of all randomness.
        batch_size: images attacked at once; of no consequence for the result but for rounding.
        votes: draws that decide a stochastic model's prediction, at least 1.
        samples: draws that an attack averages over on a stochastic model, at least 1.
        each: give every variant of an attack that the model calls for a line of its own, and run it
            on every image; otherwise they are one attack, each run on what the others left. An
            attack without a limit is always run so.
        variants: names of the variants to run of those that a model calls for (`adaptive`); all by
            default. Others are recorded as left out, since accuracies may then be too high.
        keep: the first so many images are saved with their adversarial versions.
    """

    seed: int = 0
    batch_size: int = 128
    votes: int = 100
    samples: int = 10
    each: bool = False
    variants: tuple[str, ...] = ()
    keep: int = 16

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("batch_size", 1), ("votes", 1), ("samples", 1), ("keep", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least {least}.")

    def record(self) -> dict[str, Any]:
        """As a run's record holds it."""
        return {**asdict(self), "variants": list(self.variants)}


def evaluate(
    model: Model,
    x: Images,
    y: Labels,
    attacks: Mapping[str, Attack] | Sequence[Attack],
    *,
    protocol: EvaluationConfig = EvaluationConfig(),
    name: str = "model",
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Robust accuracy of a model under attacks.

        result = holdfast.evaluate(model, x, y, [PGD(Linf(eps)) for eps in (0.1, 0.2, 0.3)])
        result.table

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K), on the device that is to do the work.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        attacks: by name, or in a sequence, then named by their repr.
        protocol: seed, batch size, and how to treat a stochastic model.
        name: of the model, for the record.
        out: folder to keep the run in; interrupted, the same call goes on from there.
        progress: told about every batch.

    Returns:
        Rows and cells.

    Raises:
        InputError, InputTypeError: if images, labels or a parameter are not what they must be.
        ModelError: if the model does not return finite logits (N, K).
        GradientError: if every attack needs a gradient and none reaches the images.
        OutputError: if ``out`` cannot be written or holds another run.
    """
    check_images(x)
    check_labels(y, len(x))
    if out == "":
        raise InputError("out is empty, but must name a folder; leave it out to keep nothing.")
    if isinstance(attacks, Mapping):
        named = list(attacks.items())
    else:
        named = [(repr(attack), attack) for attack in attacks]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run" if out is None else Path(out)
        settings = {"model": name, "data": "tensors"}
        return evaluate_data(model, Data.of(x, y), named, protocol, settings, folder, progress)


def evaluate_data(
    model: Model,
    data: Data,
    attacks: Sequence[tuple[str, Attack]],
    protocol: EvaluationConfig,
    settings: Mapping[str, Any],
    out: Path,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate into a run folder; see `evaluate`.

    Args:
        model: on the device that is to do the work.
        data: the test set.
        attacks: with the names that they are reported by; one name may stand at several sizes.
        protocol: seed, batch size, and how to treat a stochastic model.
        settings: what identifies model and data, for the record.
        out: the run folder.
        progress: told about every batch.
    """
    if not attacks:
        raise InputError("there is no attack; name at least one.")
    cells = [(name, attack.threat) for name, attack in attacks]
    for name, attack in attacks:
        for each in (name, *(attack.names if isinstance(attack, Worst) else ())):
            check_name(each)
    if len(set(cells)) < len(cells):
        raise InputError("two attacks have the same name and size; give each its own name.")
    notes = training_notes(model)
    sources = [attack.source for _, attack in attacks if isinstance(attack, On)]
    with eval_mode(model), suited_threads(data.shape, model, *sources, progress=progress):
        with own_global_generator(protocol.seed, device_of(model)):
            stochastic, seen, prediction = _probe(model, data, protocol)
        notes += seen
        _warn(notes)
        left_out = _left_out([attack for _, attack in attacks], model, stochastic, protocol)
        attacks = [
            made
            for name, attack in attacks
            for made in _adapted(name, attack, model, stochastic, protocol)
        ]
        votes = protocol.votes if stochastic else 1
        judge = Scorer(model, data, protocol.seed, votes, protocol.batch_size, progress.watch)
        record = {
            **settings,
            **identify(model, data),
            "data_fingerprint": data.fingerprint(),
            "images": len(data),
            "shape": list(data.shape),
            "stochastic": stochastic,
            **_noise_in(model),
            "attacks": [{"name": name, "attack": repr(attack)} for name, attack in attacks],
            **protocol.record(),
            "left_out": left_out,
        }
        run = Run(out, "evaluate", record)
        with run.writing() as unfinished:
            if unfinished:
                _check_one_can_run(judge, attacks, prediction)
                _fill(run, judge, attacks, protocol, progress)
                rows = run.merge()
                measured = _cells(rows, settings["model"], run, [attack for _, attack in attacks])
                found = [
                    *metrics.skipped(measured),
                    *metrics.blind_attacks(rows),
                    *metrics.misleading(rows, _late([attack for _, attack in attacks])),
                    *metrics.left_out(record),
                ]
                run.finish(classes=list(data.classes), cells=measured, warnings=[*notes, *found])
                run.clear()
            else:
                progress.say(run.told_complete())
    rows, about = read_rows(out), read_about(out)
    if "warnings" not in about:  # of revisions that did not keep them
        notes = [*metrics.blind_attacks(rows), *metrics.left_out(about["settings"])]
        about["warnings"] = [*notes, *metrics.misleading(rows)]
    _warn(note for note in about["warnings"] if note not in notes)
    return Evaluation(rows, about["cells"], about["warnings"])


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        warnings.warn(note, stacklevel=3)


class _Begun(Exception):  # noqa: N818, no error
    """An attack has got as far as its first step."""


def _check_one_can_run(
    judge: Scorer, attacks: Sequence[tuple[str, Attack]], prediction: Labels
) -> None:
    """Find out before any work whether an attack can begin; the others are skipped on the way.

    Args:
        judge: of the model.
        attacks: the first that can begin is enough.
        prediction: what the model said of the first batch; with these labels no attack is done at
            once.

    Raises:
        GradientError: if every attack needs a gradient and none reaches the images.
    """

    def stop(step: Step) -> None:
        raise _Begun

    index = next(judge.data.batches(judge.batch_size))[:2]
    x, y = judge.data.x(index).to(prediction.device), prediction[:2]
    blocked: list[GradientError] = []
    for _, attack in attacks:
        if follows_gradients(attack):
            try:
                with hearing_skips():
                    attack(judge.model, x, y, seed=judge.seed, index=index, callback=stop)
            except _Begun:
                return
            except GradientError as error:
                blocked.append(error)
    if len(blocked) == len(attacks):
        raise blocked[0]


def _late(attacks: Sequence[Attack]) -> set[str]:
    """The parts of cascades that follow no gradients, and run after all that do."""
    late: set[str] = set()
    for attack in attacks:
        if isinstance(attack, Worst):
            follow = [follows_gradients(part) for part in attack.attacks]
            last = len(follow) - follow[::-1].index(True) if any(follow) else len(follow)
            late |= set(attack.names[last:])
    return late


def _fill(
    run: Run,
    judge: Scorer,
    attacks: Sequence[tuple[str, Attack]],
    protocol: EvaluationConfig,
    progress: Progress,
) -> None:
    """Write every chunk that is missing; cell 0 holds the clean predictions."""
    batches = list(judge.data.batches(protocol.batch_size))
    progress.start("clean", len(judge.data))
    for chunk, index in enumerate(batches):
        if not run.has(0, chunk):
            began = time.monotonic()
            run.write(0, chunk, judge.clean_rows(index), time.monotonic() - began)
        progress.advance(len(index))
    for cell, (name, attack) in enumerate(attacks, start=1):
        progress.start(f"{name} {attack.threat.name} {attack.threat.eps:g}", len(judge.data))
        for chunk, index in enumerate(batches):
            if not run.has(cell, chunk):
                began = time.monotonic()
                clean = torch.tensor(run.read(0, chunk)["clean_prediction"].to_numpy())
                rows, x_adv, skipped = judge.attack_rows(name, attack, index, clean)
                kept = index < protocol.keep
                if kept.any():
                    run.write_images(cell, chunk, judge.images(attack, index[kept], x_adv[kept]))
                run.write(cell, chunk, rows, time.monotonic() - began, skipped)
            progress.advance(len(index))


def _cells(
    rows: pd.DataFrame, model: str, run: Run, attacks: Sequence[Attack]
) -> list[dict[str, Any]]:
    """The cells as ``holdfast evaluate --json`` prints them; JSON knows no infinity."""
    rows = rows[rows["attack"] != CLEAN]
    table = metrics.cells(rows)
    table.insert(0, "model", model)
    table["seconds"] = [round(run.seconds(cell), 3) for cell in range(1, len(attacks) + 1)]
    cells = [
        {
            key: None if value in (None, math.inf) or pd.isna(value) else value
            for key, value in cell.items()
        }
        for cell in table.to_dict(orient="records")
    ]
    parts = rows.groupby(metrics.CELL, sort=False)
    for number, (cell, attack, (_, part)) in enumerate(
        zip(cells, attacks, parts, strict=True), start=1
    ):
        if isinstance(attack, Worst):
            cell["broken_by"] = metrics.broken_by(part, attack.names)
        if skipped := run.skipped(number):
            cell["skipped"] = skipped
            if cell["attack"] in skipped and (part["blind"] | part["fooled"]).all():
                cell |= dict.fromkeys(("robust_accuracy", "low", "high"))
    return cells


def _adapted(
    name: str, attack: Attack, model: Model, stochastic: bool, protocol: EvaluationConfig
) -> list[tuple[str, Attack]]:
    """The attack with all that the model calls for, also where it does not declare its draws.

    Without a limit there is no worst case within it, so every variant has a line of its own, and
    the report compares their distances.
    """
    draws = {"samples": protocol.samples, "votes": protocol.votes}
    only = protocol.variants
    if not protocol.each and math.isfinite(attack.threat.eps):
        return [(name, adapted(attack, model, **draws, stochastic=stochastic, only=only))]
    variants = variants_of(attack, model, **draws, stochastic=stochastic, only=only)
    several = len(variants_of(attack, model, stochastic=stochastic)) > 1
    return [
        (f"{name}, {variant or 'plain'}" if several else name, made)
        for variant, made in variants.items()
    ]


def _left_out(
    attacks: Sequence[Attack], model: Model, stochastic: bool, protocol: EvaluationConfig
) -> list[str]:
    """The variants that the model calls for and the protocol does not run, of any attack."""
    found: dict[str, None] = {}
    for attack in attacks:
        called = variants_of(attack, model, stochastic=stochastic)
        run = variants_of(attack, model, stochastic=stochastic, only=protocol.variants)
        found |= dict.fromkeys(name or "plain" for name in called if name not in run)
    return list(found)


def _noise_in(model: Model) -> dict[str, Any]:
    """The noise of a model, as its record names it."""
    noise = noise_of(model)
    return {"sigma": None} if noise is None else {"noise": noise[0], "sigma": noise[1]}


def _probe(model: Model, data: Data, protocol: EvaluationConfig) -> tuple[bool, list[str], Labels]:
    """Check the model on the first batch, before any work.

    Returns:
        Whether it is stochastic, what must be said of it, and its predictions.
    """
    index = next(data.batches(protocol.batch_size))
    x = data.x(index).to(device_of(model))
    check_images(x)
    with torch.no_grad():
        first = try_model(model, x)
        check_logits(first, len(x))
        check_classes(data.y, first.shape[1])
        notes, prediction = probability_notes(first), first.argmax(dim=1)
        if is_stochastic(model):
            return True, notes, prediction
        if torch.equal(first, try_model(model, x)):
            return False, notes, prediction
    notes.append(
        "the model answers the same images differently each time though no layer declares that it "
        "does: it is treated as stochastic, with averaged gradients and votes; set "
        "stochastic = True on the layer that draws, to say so."
    )
    return True, notes, prediction
