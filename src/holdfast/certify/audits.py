"""An audit by itself: of a model under noise, or of a certification that was finished before."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from holdfast.auditing.finished import finished
from holdfast.auditing.verdict import Audit
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.auditing.run import audited
from holdfast.certify.auditing.subject import Subject
from holdfast.certify.config import CertificationConfig
from holdfast.certify.run import certify
from holdfast.data import Data
from holdfast.errors import InputError
from holdfast.files import StrPath
from holdfast.metrics import at_finite_sizes
from holdfast.progress import Progress, silent
from holdfast.results import CLEAN, read_about, read_rows
from holdfast.tensors import eval_mode
from holdfast.threads import suited_threads
from holdfast.types import Images, Labels, Model

__all__ = ["audit", "audit_certificates"]

#: What a certification and an evaluation of one smoothed classifier on the same images share.
_SHARED = ("model_fingerprint", "data_fingerprint", "sigma")


def audit(
    model: Model,
    x: Images,
    y: Labels,
    *,
    config: CertificationConfig,
    name: str = "model",
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Audit:
    """Certify a model, and say whether the certified accuracies can be believed.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, C, H, W) images in [0, 1].
        y: (N,) true classes.
        config: how to certify; its ``audit`` is what may be asked beyond that, infinity for all.
        name: of the model, for the record.
        out: folder to keep the run in.
        progress: told about every chunk.

    Raises:
        InputError: if the config asks for no audit; and as `certify`.

    Example:
        >>> from holdfast.certify import CertificationConfig, audit
        >>> config = CertificationConfig(sigma=0.1, votes=200)
        >>> found = audit(model, x, y, config=config)
        >>> [check.id for check in found.checks if check.verdict == "fail"]
        []
    """
    if not config.audit:
        raise InputError("audit is 0, but an audit needs passes; give the config a larger share.")
    found = certify(model, x, y, config=config, name=name, out=out, progress=progress)
    if found.audit is None:
        raise InputError(f"{out} was finished without an audit; give it to audit_certificates.")
    return found.audit


def audit_certificates(
    run: StrPath,
    model: Model,
    data: Data,
    *,
    beside: Sequence[StrPath] = (),
    share: float = math.inf,
    progress: Progress = silent,
) -> Audit:
    """Audit a finished certification. The folder stays as it is.

    Args:
        run: its folder.
        model: that was certified, without the noise.
        data: that it was certified on.
        beside: folders of evaluations; of those of the same smoothed classifier on the same images
            robust accuracy must not be below what is certified.
        share: passes that may be taken, over those of the run's votes.
        progress: told about threads.

    Raises:
        MissingFileError, DamagedFileError: if the folder holds no run, or not what one writes.
        InputError: if it is no finished certification, or of another model or other images.

    Example:
        >>> from holdfast.certify import CertificationConfig, audit_certificates, certify
        >>> from holdfast.data import Data
        >>> result = certify(model, x, y, config=CertificationConfig(sigma=0.1), out="run")
        >>> found = audit_certificates("run", model, Data.of(x, y))
        >>> [check.id for check in found.checks if check.verdict == "fail"]
        []
    """
    rows, about = finished(
        run, model, data, kind="certify", called="certification", done="certified"
    )
    lacking = [name for name in ("p1", "p2", "abstained", "draws", "votes") if name not in rows]
    if lacking:
        raise InputError(
            f"the rows of {run}, of an earlier version, lack {', '.join(lacking)}, without which "
            "nothing can be worked out again: repeat the certification with another --out."
        )
    with eval_mode(model, images=data.dtype), suited_threads(data.shape, model, progress=progress):
        ledger = Ledger(rows, about["settings"], about["cells"], len(data.classes))
        around = ledger.config.family.around(model, ledger.config.sigma, data.shape)
        ledger = replace(
            ledger, lipschitz=around.lipschitz, attacked=_attacked(about["settings"], beside)
        )
        return audited(ledger, Subject(model, data, ledger, share))


def _attacked(settings: dict[str, object], beside: Sequence[StrPath]) -> pd.DataFrame | None:
    """Rows of the attacks on the same smoothed classifier and images."""
    found = []
    for folder in beside:
        about = read_about(folder)
        theirs = about["settings"]
        same = all(settings[name] == theirs.get(name) for name in _SHARED)
        same &= settings.get("noise", "gaussian") == theirs.get("noise", "gaussian")
        if about["kind"] == "evaluate" and about["complete"] and same:
            rows = read_rows(folder)
            found.append(at_finite_sizes(rows[rows["attack"] != CLEAN]))
    return pd.concat(found, ignore_index=True) if found else None
