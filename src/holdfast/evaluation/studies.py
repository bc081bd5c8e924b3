"""A study: several models under the same attacks, from several seeds, as one run.

Each model with each seed is a run of its own in the study's folder, and is read like any other. The
study is the run around them: described once, refused where it is another, and taken up where it
stopped.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from holdfast import metrics
from holdfast.auditing.verdict import Audit
from holdfast.data import Data
from holdfast.errors import InputError, MissingFileError
from holdfast.evaluation.adapting import Named
from holdfast.evaluation.beginning import check_attacks
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.result import Evaluation
from holdfast.evaluation.run import evaluate_data
from holdfast.files import StrPath
from holdfast.models.identity import identify
from holdfast.parameters import Seed, check_title
from holdfast.progress import Progress, silent
from holdfast.results import ABOUT, CLEAN, Run, kept_or_temporary
from holdfast.summary import Summary, percent, size
from holdfast.types import Model
from holdfast.workers import connected

__all__ = ["Member", "Study", "study"]

#: Of the rows, what tells who fell where.
_TELLING = [
    *("index", "label", "clean_prediction", "fooled", *metrics.CELL, "l1", "l2", "linf"),
    *("clean_rank", "rank"),  # where the data have many classes
]


class Member(NamedTuple):
    """One run of a study.

    Attributes:
        model: its name.
        seed: of all randomness.
        folder: of the run, below the study's.

    Example:
        >>> from holdfast.evaluation import Member
        >>> str(Member("runs/net", 1, "1-net/seed-1"))
        'runs/net, seed 1'
    """

    model: str
    seed: Seed
    folder: str

    def __str__(self) -> str:
        return f"{self.model}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        found: of each run.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import study
        >>> sizes = [("fgsm", FGSM(Linf(eps))) for eps in (0.01, 0.3)]
        >>> found = study({"net": model}, Data.of(x, y), sizes, seeds=(0, 1))
        >>> [str(member) for member in found.found]
        ['net, seed 0', 'net, seed 1']
        >>> found.worst[["model", "eps", "robust_accuracy"]].to_numpy().tolist()
        [['net', 0.0, 1.0], ['net', 0.01, 0.5], ['net', 0.3, 0.0]]
    """

    found: Mapping[Member, Evaluation]

    @property
    def audits(self) -> list[Audit | None]:
        """Of each run."""
        return [one.audit for one in self.found.values()]

    @property
    def cells(self) -> list[dict[str, Any]]:
        """The cells of all runs, each with its model and seed."""
        return [
            {"model": member.model, "seed": member.seed, **cell}
            for member, one in self.found.items()
            for cell in one.cells
        ]

    @property
    def table(self) -> pd.DataFrame:
        """The cells as a table."""
        return pd.DataFrame(self.cells)

    @property
    def worst(self) -> pd.DataFrame:
        """Of each model at each size, the worst case over all attacks and seeds.

        Attacks without a limit are read at the same sizes on all models. Of data of more than ten
        classes top-5 accuracy too; see `holdfast.metrics.top5`.
        """
        parts = []
        for member, one in self.found.items():
            many = "robust_top5" in one.cells[0]
            rows = metrics.with_clean_rank(one.rows) if many else one.rows
            rows = rows.loc[rows["attack"] != CLEAN, rows.columns.intersection(_TELLING)]
            own = f"{member}: " + rows["attack"]
            parts.append(rows.assign(attack=own, model=member.model))
        rows = metrics.at_finite_sizes(pd.concat(parts, ignore_index=True))
        found = [
            _worst(part).assign(model=model) for model, part in rows.groupby("model", sort=False)
        ]
        return pd.concat(found, ignore_index=True)

    def summary(self) -> str:
        """A line for each model at each size."""
        return str(self._summary)

    def _repr_html_(self) -> str:
        return self._summary.html()

    @property
    def _summary(self) -> Summary:
        lines = [
            {
                "model": line["model"],
                "size": f"{line['norm']} {size(line['eps'])}" if line["eps"] else "no attack",
                "right": percent(line["robust_accuracy"]),
                "95 % interval": f"{percent(line['low'])} to {percent(line['high'])}",
                **({"top-5": percent(line["robust_top5"])} if "robust_top5" in line else {}),
            }
            for line in self.worst.to_dict(orient="records")
        ]
        notes = [
            f"{member}: {one.audit.sentence}" for member, one in self.found.items() if one.audit
        ]
        return Summary("worst case over all attacks and seeds", lines, notes)


def study(
    models: Mapping[str, Model],
    data: Data,
    attacks: Named,
    seeds: Sequence[int] = (0,),
    config: EvaluationConfig = EvaluationConfig(),
    out: StrPath | None = None,
    progress: Progress = silent,
    twin: Model | None = None,
    twin_name: str = "twin",
    workers: int | str | None = None,
) -> Study:
    """Evaluate several models under the same attacks, from several seeds, as one run.

    Args:
        models: by name, on the device that is to do the work.
        data: the test set.
        attacks: as of `holdfast.evaluation.evaluate_data`.
        seeds: each repeats everything; that of ``config`` is not used.
        config: how to evaluate.
        out: folder to keep the runs in, one below the other; interrupted, the same call goes on
            from there.
        progress: told about every batch.
        twin: see `holdfast.evaluate`.
        twin_name: of it, for the record.
        workers: see `holdfast.evaluate`; the same for all runs.

    Raises:
        InputError: if there is no model, seed or attack, one of them stands there twice, or a size
            is 0; and as `holdfast.evaluate`.
        OutputError: if ``out`` cannot be written or holds something else.
        MissingFileError: if it is a finished study that lacks one of its runs.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import study
        >>> attacks = [("pgd", PGD(Linf(0.3), steps=2))]
        >>> found = study({"net": model}, Data.of(x, y), attacks, seeds=(0, 1), out="study")
        >>> [member.folder for member in found.found]
        ['1-net/seed-0', '1-net/seed-1']
    """
    check_study([*models], attacks, seeds)
    record: dict[str, Any] = {"models": [*models], "data": data.name}
    for number, (name, model) in enumerate(models.items(), start=1):
        own = _folder(number, name)
        record |= {own + key.removeprefix("model"): v for key, v in identify(model, data).items()}
    record |= {
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        "attacks": [{"name": name, "attack": repr(attack)} for name, attack in attacks],
        **config.record(),
        "seed": [*seeds],
        "twin": None if twin is None else twin_name,
    }
    members = [
        Member(name, seed, f"{_folder(number, name)}/seed-{seed}")
        for number, name in enumerate(models, start=1)
        for seed in seeds
    ]

    def evaluated(member: Member, folder: Path) -> Evaluation:
        return evaluate_data(
            models[member.model],
            data,
            attacks,
            replace(config, seed=member.seed),
            member.model,
            folder / member.folder,
            progress,
            twin,
            twin_name,
            workers,
        )

    def work(run: Run) -> None:
        for number, member in enumerate(members, start=1):
            progress.say(f"run {number} of {len(members)}: {member}")
            evaluated(member, run.path)

    def results(run: Run, _: object) -> dict[str, Any]:
        return {"runs": [member.folder for member in members]}

    with connected(workers), kept_or_temporary(out) as folder:
        Run.resume_or(folder, "study", record, work, results, progress=progress)
        for member in members:
            if not (folder / member.folder / ABOUT).exists():
                raise MissingFileError(
                    f"{folder} is a finished study, and its run {member.folder} is missing: put "
                    "the copy back, or repeat the study with another --out."
                )
        return Study({member: Evaluation.read(folder / member.folder) for member in members})


def check_study(models: Sequence[str], attacks: Named, seeds: Sequence[int]) -> None:
    """See, before any model is loaded, that there is something to do, and nothing twice.

    Raises:
        InputError: if there is not.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.evaluation.studies import check_study
        >>> check_study(["net", "net"], [("fgsm", FGSM(Linf(0.1)))], [0])
        Traceback (most recent call last):
        holdfast.errors.InputError: model net is given twice: ...
    """
    for what, given in (("model", models), ("seed", seeds)):
        if not given:
            raise InputError(f"there is no {what}; a study needs at least one.")
        alike = [_place(one) for one in given]
        twice = [one for n, one in enumerate(given) if alike[n] in alike[:n]]
        if twice:
            raise InputError(f"{what} {twice[0]} is given twice: a study meets each once.")
    for name in models:
        check_title("a model", name)
    check_attacks(attacks)
    for name, attack in attacks:
        if attack.threat.eps == 0:
            raise InputError(
                f"a size of {name} is 0, where no image may change: leave it out, the accuracy "
                "without an attack stands in every run."
            )


def _worst(rows: pd.DataFrame) -> pd.DataFrame:
    """The worst case, among five classes too where the data have many."""
    found, five = metrics.worst_case(rows), metrics.among_five(rows)
    if five is None:
        return found
    names = dict(zip(("robust_accuracy", "low", "high"), metrics.TOP5, strict=True))
    among = metrics.worst_case(five).rename(columns=names)
    return found.join(among[[*names.values()]])


def _folder(number: int, model: str) -> str:
    """Where the runs of a model are, by its place in the study and the end of its name."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", model.replace("/model.safetensors", "")[-40:])
    return f"{number}-{words.strip('-.')}"


def _place(name: object) -> object:
    """Where a model's folder or file lies, however it was written; of anything else the name."""
    return os.path.realpath(name) if isinstance(name, str) and os.path.exists(name) else name
