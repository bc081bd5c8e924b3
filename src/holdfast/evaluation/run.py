"""Evaluate: attack every example, then ask the model again.

The evaluator scores on the target, always, with a fresh forward pass and fresh noise; an attack's
own belief in success is never a result. What the model declares about itself decides how it is
attacked: a stochastic model through the average over its randomness, and its predictions are votes;
one that is not differentiable or cleans its images also through a surrogate gradient (BPDA).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from holdfast import metrics
from holdfast.attacks import Attack, On, Worst
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.batch_size import at_once, first_batch, in_a_chunk
from holdfast.checks import (
    check_grad_mode,
    check_images,
    check_labels,
    check_model,
    training_notes,
    warn_of,
)
from holdfast.data import Data
from holdfast.evaluation.adapting import (
    Named,
    adapted_to,
    execution_of,
    hidden_in,
    late_parts,
    named,
    twin_of,
)
from holdfast.evaluation.asking import Asker
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.auditing.run import audited
from holdfast.evaluation.auditing.subject import Subject
from holdfast.evaluation.beginning import check_attacks, check_one_can_run
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.forecast import Forecast
from holdfast.evaluation.hidden.tally import Tally
from holdfast.evaluation.lacking import Lacking
from holdfast.evaluation.probe import probe
from holdfast.evaluation.result import Evaluation
from holdfast.evaluation.scoring import Scorer
from holdfast.evaluation.sizes import read_off, run_once, smaller_sizes
from holdfast.evaluation.stages import pilots_of, stages
from holdfast.files import StrPath
from holdfast.parameters import check_arguments, check_title
from holdfast.progress import Progress, silent
from holdfast.results import CLEAN, Fitting, Run, kept_or_temporary
from holdfast.tensors import device_of, eval_mode, fingerprint
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model
from holdfast.workers import workers_at

__all__ = ["evaluate", "evaluate_data"]

_CHANGED = (
    "the model's weights or buffers are others after the attacks than before, so that the rows are "
    "about several models: a forward pass must change nothing; copy what it changes, or leave it "
    "out at test time."
)


def evaluate(
    model: Model,
    x: Images,
    y: Labels,
    attacks: Mapping[str, Attack] | Sequence[Attack],
    *,
    config: EvaluationConfig = EvaluationConfig(),
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
    twin: Model | None = None,
    workers: int | str | None = None,
) -> Evaluation:
    """Robust accuracy of a model under attacks.

        result = holdfast.evaluate(model, x, y, [PGD(Linf(eps)) for eps in (0.1, 0.2, 0.3)])
        result.table

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K), on the device that is to do the work.
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        attacks: by name, or in a sequence, then named by their repr.
        config: seed, batch size, and how to treat a stochastic model.
        name: of the model, for the record.
        out: folder to keep the run in; interrupted, the same call goes on from there.
        progress: told about every batch.
        twin: a model like this one that shows its gradients, such as the network that a defence was
            put around: attacks that follow gradients are crafted on it too. Where the model's own
            are in doubt and none is given, one is distilled from the model's answers.
        workers: how many processes of this machine share the batches, or the address of a Ray
            cluster, "ray://host:10001", whose workers do; None for this process alone. They need
            ``holdfast[ray]``, and a script that calls this needs none of the precautions of
            `multiprocessing`. See docs/scaling.md.

    Returns:
        Rows and cells.

    Raises:
        InputError, InputTypeError: if images, labels or a parameter are not what they must be.
        ModelError: if the model does not return finite logits (N, K).
        GradientError: if every attack needs a gradient and none reaches the images.
        OutputError: if ``out`` cannot be written or holds another run.
        WorkersError: if there are no such workers, or they end on some batch each time.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM, PGD
        >>> attacks = {"fgsm": FGSM(Linf(0.01)), "pgd": PGD(Linf(0.3), steps=5)}
        >>> result = evaluate(model, x, y, attacks)
        >>> sorted(result.rows["attack"].unique())
        ['clean', 'fgsm', 'pgd']
        >>> [cell["robust_accuracy"] for cell in result.cells if cell["attack"] == "pgd"]
        [0.0]
    """
    check_model(model)
    check_arguments(evaluate, locals())
    check_images(x)
    check_labels(y, len(x))
    return evaluate_data(
        model, Data.of(x, y), named(attacks), config, name, out, progress, twin, workers=workers
    )


def evaluate_data(
    model: Model,
    data: Data,
    attacks: Named,
    config: EvaluationConfig = EvaluationConfig(),
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
    twin: Model | None = None,
    twin_name: str = "twin",
    workers: int | str | None = None,
) -> Evaluation:
    """As `evaluate`, of a data set, whose images are read one batch after the other.

    Args:
        model: on the device that is to do the work.
        data: the test set.
        attacks: with the names that they are reported by; one name may stand at several sizes.
        config: seed, batch size, and how to treat a stochastic model.
        name: of the model, for the record.
        out: folder to keep the run in; interrupted, the same call goes on from there.
        progress: told about every batch.
        twin: see `evaluate`.
        twin_name: of it, for the record.
        workers: see `evaluate`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import evaluate_data
        >>> sizes = [("pgd", PGD(Linf(eps), steps=2)) for eps in (0.0, 0.3)]
        >>> result = evaluate_data(model, Data.of(x, y), sizes, out="run")  # kept in a folder
        >>> result.table[["attack", "eps"]].to_numpy().tolist()
        [['pgd', 0.0], ['pgd', 0.3]]
    """
    check_model(model)
    check_arguments(evaluate_data, locals())
    check_title("the model", name)
    check_title("the twin", twin_name)
    check_grad_mode()
    check_attacks(attacks)
    if any(aimed_at(attack) > 1 for _, attack in attacks):  # what is wrong may be among the first k
        config = replace(config, attack_all=True)
    notes = training_notes(model)
    sources = [attack.source for _, attack in attacks if isinstance(attack, On)]
    with (
        workers_at(workers, device_of(model), progress) as engine,
        eval_mode(model, images=data.dtype),
        suited_threads(data.shape, model, *sources, progress=progress),
        kept_or_temporary(out) as folder,
    ):
        searched = Tally()
        with searched.counting():  # before anything else is asked that it may keep
            hidden = hidden_in(model, data, config)
        fitting = at_once(config.batch_size, [model], data, most=len(data))
        looked_at = first_batch(config.batch_size)
        probed = fitting.fit(
            lambda size: probe(
                model,
                data,
                seed=config.seed,
                batch_size=min(size, looked_at),
                draws=hidden.stochastic,
                asked=hidden.model,
            )
        )
        stochastic = probed.stochastic
        how, unsuited = execution_of(config, hidden, stochastic)
        notes += [*probed.notes, *(finding.sentence for finding in hidden.found), *unsuited]
        warn_of(notes)
        with searched.counting():
            like = twin_of(hidden, data, config, twin, twin_name)
        if config.share_sizes:
            attacks = run_once(attacks)
        attacks, left_out = adapted_to(attacks, model, stochastic, config, hidden, like)
        votes = config.votes if stochastic else 1
        asker = Asker(hidden.model, data, config.seed, votes, looked_at)
        scorer = Scorer(asker, config.attack_all, progress.watch, config.share_sizes)
        # Where gradients are in doubt, what follows none is what counts; and by draws it is not
        # certain who was left.
        sure = not (hidden or like is not None or stochastic)
        pilots = pilots_of(attacks) if sure else {}
        record = {
            "model": name,
            "data": data.name,
            **probed.record,
            "data_fingerprint": data.fingerprint(),
            "images": len(data),
            "shape": list(data.shape),
            "attacks": [
                {"name": name, "attack": repr(attack)}
                | ({"pilot": pilots[place].record()} if place in pilots else {})
                for place, (name, attack) in enumerate(attacks)
            ],
            **config.record(),
            **hidden.record(),
            "left_out": left_out,
        }

        def work(run: Run) -> None:
            fitting.fit(
                lambda size: check_one_can_run(
                    replace(asker, batch_size=size), attacks, probed.prediction
                )
            )
            labels = [metrics.title(name, a.threat.name, a.threat.eps) for name, a in attacks]
            begins: Mapping[int, int] = {}
            if config.share_sizes:
                begins = {**smaller_sizes(attacks), **read_off(attacks)}
            cells = [CLEAN, *labels]
            size = in_a_chunk(config.batch_size)
            with how.of(hidden.model) as network:
                quick = None if network is hidden.model else network
                for stage in stages(run, len(data), attacks, pilots, config.seed, size):
                    todo = [
                        run.images_left(stage.batches, [cell]) + stage.after
                        for cell in range(1, len(cells))
                    ]
                    forecast = Forecast(stage.attacks, todo, data.shape, len(data.classes))
                    lacking = Lacking(
                        replace(scorer, counting=forecast.count, quick=quick),
                        stage.attacks,
                        config.keep_images,
                        begins,
                        labels,
                        progress,
                        forecast,
                    )
                    run.fill(
                        stage.batches,
                        cells,
                        Fitting(lacking.at_once, fitting),
                        "evaluate",
                        progress,
                        engine,
                        before=stage.before,
                        after=stage.after,
                    )

        def results(run: Run, rows: pd.DataFrame) -> dict[str, Any]:
            cells = _cells(metrics.ranked(rows, len(data.classes)), name, run, attacks, record)
            late = late_parts(attacks)
            found = [
                *metrics.skipped(cells),
                *metrics.noted(cells),
                *metrics.blind_attacks(rows),
                *metrics.idle_attacks(rows, metrics.crafted_elsewhere(record)),
                *metrics.misleading(rows, late),
                *metrics.left_out(record),
            ]
            if fingerprint(model) != record["model_fingerprint"]:
                found.append(_CHANGED)
            about = {"classes": list(data.classes), "cells": cells, "warnings": [*notes, *found]}
            if config.batch_size == "auto":
                about["batch_size"] = fitting.size
            if searched.forwards:
                about["costs"] = {"search": searched.record()}
            if config.audit:
                ledger = Ledger(rows, record, cells, len(data.classes), late)
                subject = Subject(
                    hidden.model,
                    data,
                    ledger,
                    attacks,
                    config=config,
                    stochastic=stochastic,
                    bridges=hidden.bridges,
                )
                about["audit"] = audited(ledger, subject).record()
            return about

        Run.resume_or(folder, "evaluate", record, work, results, progress=progress)
        found = Evaluation.read(folder, notes)
    warn_of(note for note in found.warnings if note not in notes)
    return found


def _cells(
    rows: pd.DataFrame, model: str, run: Run, attacks: Named, record: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The cells as ``holdfast evaluate --json`` prints them."""
    numbers = range(1, len(attacks) + 1)
    parts = [attack.names if isinstance(attack, Worst) else () for _, attack in attacks]
    cells = metrics.evaluation_cells(rows, parts, [run.chunks.skipped(one) for one in numbers])
    spared = metrics.spared(rows, record)
    found = []
    for number, cell in zip(numbers, cells, strict=True):
        cell = {"model": model, **cell, "seconds": round(run.chunks.seconds(number), 3)}
        if (top := aimed_at(attacks[number - 1][1])) > 1:
            cell["top"] = top
        if noted := run.chunks.noted(number):
            cell["noted"] = noted
        if skipped := run.chunks.skipped(number):
            cell["skipped"] = skipped
        if number - 1 in spared:
            cell["spared"] = spared[number - 1]
        found.append(cell)
    return found
