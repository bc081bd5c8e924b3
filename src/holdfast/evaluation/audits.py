"""An audit by itself: of a model under attacks, or of a run that was finished before."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.attacks import Attack
from holdfast.auditing.finished import finished
from holdfast.auditing.verdict import Audit
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.evaluation.adapting import Named, adapted_to, hidden_in, late_parts
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.auditing.run import audited
from holdfast.evaluation.auditing.subject import Subject
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.hidden import Findings
from holdfast.evaluation.run import evaluate
from holdfast.files import StrPath
from holdfast.progress import Progress, silent
from holdfast.tensors import eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model

__all__ = ["audit", "audit_run"]


def audit(
    model: Model,
    x: Images,
    y: Labels,
    attacks: Mapping[str, Attack] | Sequence[Attack],
    *,
    config: EvaluationConfig = EvaluationConfig(audit=math.inf),
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Audit:
    """Evaluate a model, and say whether the robust accuracies can be believed.

    Without a limit on the passes of the audit, which `holdfast.evaluate` has; otherwise as that.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        attacks: by name, or in a sequence.
        config: how to evaluate.
        name: of the model, for the record.
        out: folder to keep the run in.
        progress: told about every batch.

    Raises:
        InputError: if the config asks for no audit; and as `evaluate`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.evaluation import audit
        >>> found = audit(model, x, y, {"fgsm": FGSM(Linf(0.01))})
        >>> found.word  # a single step says nothing of a worst case
        'not believable'
    """
    if not config.audit:
        raise InputError("audit is 0, but an audit needs passes; leave it out for no limit.")
    found = evaluate(model, x, y, attacks, config=config, name=name, out=out, progress=progress)
    if found.audit is None:
        raise InputError(f"{out} was finished without an audit; give it to audit_run.")
    return found.audit


def audit_run(
    run: StrPath,
    model: Model,
    data: Data,
    attacks: Named = (),
    *,
    share: float = math.inf,
    progress: Progress = silent,
) -> Audit:
    """Audit a finished run: what it wrote, and its model asked again. The folder stays as it is.

    Args:
        run: its folder.
        model: that was evaluated, with the noise that was put in front of it.
        data: that it was evaluated on.
        attacks: that were run, as they were given, by their names in the run; those that are not
            what the run recorded are left out, and checks that need them are not run.
        share: passes that may be taken, over those of the run's attacks.
        progress: told about threads.

    Raises:
        MissingFileError, DamagedFileError: if the folder holds no run, or not what one writes.
        InputError: if it is no finished evaluation, or of another model or other images.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import audit_run
        >>> result = evaluate(model, x, y, {"pgd": PGD(Linf(0.3), steps=20)}, out="run")
        >>> audit_run("run", model, Data.of(x, y)).word  # four images are few
        'doubtful'
    """
    rows, about = finished(run, model, data, kind="evaluate", called="evaluation", done="evaluated")
    settings: dict[str, Any] = about["settings"]
    config = recorded_config(settings)
    stochastic = bool(settings.get("stochastic", False))
    with eval_mode(model, images=data.dtype), suited_threads(data.shape, model, progress=progress):
        hidden = hidden_in(model, data, config)
        same = _recorded(attacks, model, stochastic, config, hidden, settings)
        ledger = Ledger(rows, settings, about["cells"], len(data.classes), late_parts(same))
        subject = Subject(
            hidden.model,
            data,
            ledger,
            same,
            config=replace(config, audit=share),
            stochastic=stochastic,
            bridges=hidden.bridges,
        )
        return audited(ledger, subject)


def recorded_config(settings: Mapping[str, Any]) -> EvaluationConfig:
    """How an evaluation was run, as far as asking its model again hangs on it."""
    return EvaluationConfig(
        seed=settings["seed"],
        votes=settings.get("votes", 100),
        samples=settings.get("samples", 10),
        penalties=tuple(settings.get("penalties", (1.0,))),
        each=settings.get("each", False),
        variants=tuple(settings.get("variants", ())),
        share_sizes=settings.get("share_sizes", False),
        hidden="found" in settings,
    )


def _recorded(
    attacks: Named,
    model: Model,
    stochastic: bool,
    config: EvaluationConfig,
    hidden: Findings,
    settings: Mapping[str, Any],
) -> Named:
    """The attacks as they were run, if they are those of the record."""
    known = {(one["name"], one["attack"]) for one in settings["attacks"]}
    made, _ = adapted_to(attacks, model, stochastic, config, hidden)
    return [(name, attack) for name, attack in made if (name, repr(attack)) in known]
