"""Several models, attacks, sizes and seeds as one run: as one by one, and taken up again."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from holdfast import metrics
from holdfast.attacks import DDN, FGSM, PGD, Attack, DeepFool
from holdfast.auditing.check import Verdict
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.errors import DamagedFileError, InputError, MissingFileError, OutputError
from holdfast.evaluation import Audit, EvaluationConfig, evaluate_data, study
from holdfast.evaluation.sizes import run_once
from holdfast.evaluation.studies import check_study
from holdfast.models import Architecture
from holdfast.models.checkpoint import save_model
from holdfast.random import layer_uniform
from holdfast.results import read_about, read_rows, runs_in
from holdfast.results.chunks import Chunks
from holdfast.threat import L2, Linf
from holdfast.types import Threat
from tests.cases import ATTACKS as CASES
from tests.cases import THREATS
from tests.toys import images, small_network

ROOT = Path(__file__).parents[1]
QUICK = EvaluationConfig(audit=0, hidden=False)
ATTACKS = [
    (kind, make(Linf(eps))) for kind, make in (("fgsm", FGSM), ("pgd", PGD)) for eps in (0.05, 0.1)
]


def code(*arguments):
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two networks and a function that attacks; the working directory."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("plain", "robust")):
        made = Architecture(name="small", shape=(1, 8, 8), classes=10)
        (tmp_path / "runs" / name).mkdir(parents=True)
        save_model(tmp_path / "runs" / name / "model.safetensors", made.build(number), made)
    (tmp_path / "mine.py").write_text(
        "import os, pathlib, signal\n"
        "def attack(model, x, y, eps):\n"
        "    armed = pathlib.Path('armed')\n"
        "    if armed.exists():\n"
        "        left = int(armed.read_text())\n"
        "        if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        armed.write_text(str(left - 1))\n"
        "    return (x + eps * (2 * (y.view(-1, 1, 1, 1) % 2) - 1)).clamp(0, 1)\n"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    sys.modules.pop("mine", None)
    return tmp_path


@dataclass(frozen=True, kw_only=True)
class Brighter(Attack):
    """Makes every pixel brighter by ε."""

    threat: Threat

    def perturb(self, model, x0, y, rng, callback=None):
        model(x0)
        return (x0 + self.threat.eps).clamp(0, 1)


def some():
    network = small_network()
    x = images(12, (1, 6, 6))
    return Data.of(x, network(x).argmax(dim=1)), {"a": network, "b": small_network(seed=1)}


def test_a_study_is_what_its_runs_are_one_by_one(tmp_path):
    data, models = some()
    found = study(models, data, ATTACKS, (0, 3), QUICK, tmp_path / "study")
    assert [str(member) for member in found.found] == [
        "a, seed 0",
        "a, seed 3",
        "b, seed 0",
        "b, seed 3",
    ]
    for member, one in found.found.items():
        alone = evaluate_data(
            models[member.model],
            data,
            ATTACKS,
            EvaluationConfig(seed=member.seed, audit=0, hidden=False),
            member.model,
        )
        pd.testing.assert_frame_equal(one.rows, alone.rows)
        assert read_about(tmp_path / "study" / member.folder)["settings"]["seed"] == member.seed
    assert len(found.cells) == 4 * len(ATTACKS)
    assert {(cell["model"], cell["seed"]) for cell in found.cells} == {
        (member.model, member.seed) for member in found.found
    }


def test_the_worst_case_is_over_all_attacks_and_seeds():
    """At the same sizes for all models, also of attacks without a limit."""
    data, models = some()
    attacks = [*ATTACKS, ("deepfool", DeepFool(L2(float("inf"))))]
    found = study(models, data, attacks, (0, 1), QUICK)
    table = found.worst
    for model, part in table.groupby("model"):
        rows = pd.concat([one.rows for member, one in found.found.items() if member.model == model])
        at = rows[(rows["norm"] == "linf") & (rows["eps"] <= 0.05)]
        left = 1 - at.groupby("index")["fooled"].any().mean()
        line = part[(part["norm"] == "linf") & (part["eps"] == 0.05)]
        assert line["robust_accuracy"].item() == pytest.approx(left)
    sizes = table[table["norm"] == "l2"].groupby("model")["eps"].apply(list)
    assert sizes["a"] == sizes["b"]
    assert len(sizes["a"]) > 2
    assert "worst case over all attacks and seeds" in found.summary()


@pytest.mark.parametrize(
    ("models", "seeds", "sizes", "words"),
    [
        ((), (0,), (0.1,), "there is no model"),
        (("a",), (), (0.1,), "there is no seed"),
        (("a",), (0, 1, 0), (0.1,), "seed 0 is given twice"),
        (("a",), (0,), (0.0, 0.1), "a size of pgd is 0"),
        (("a",), (0,), (), "there is no attack"),
        (("a",), (0,), (0.1, 0.1), "same name and size"),
    ],
)
def test_what_is_missing_or_twice_is_told_before_anything_is_written(
    tmp_path, models, seeds, sizes, words
):
    data, known = some()
    attacks = [("pgd", PGD(Linf(eps))) for eps in sizes]
    with pytest.raises(InputError, match=words):
        study({name: known[name] for name in models}, data, attacks, seeds, QUICK, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_written_in_two_ways_is_there_twice(tmp_path):
    (tmp_path / "net").mkdir()
    ways = [str(tmp_path / "net"), f"{tmp_path}/./net/"]
    with pytest.raises(InputError, match="is given twice"):
        check_study(ways, [("pgd", PGD(Linf(0.1)))], [0])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("model: []", "there is no model"),
        ("model: [runs/plain, runs/plain]", "model runs/plain is given twice"),
        ("model: [runs/plain, runs/nowhere]", "there is no model runs/nowhere"),
        ("model: runs/plain\nseed: []", "there is no seed"),
        ("model: runs/plain\nseed: [0, 0]", "seed 0 is given twice"),
        ("model: runs/plain\nseed: [0, one]", "'one' is no whole number"),
        ("model: [runs/plain, runs/robust]\neps: [0, 0.1]", "a size of pgd is 0"),
        ("model: [runs/plain, runs/robust]\neps: []", "--eps is empty"),
        ("model: [runs/plain, runs/robust]\nattacks: [pgd, pdg]", "did you mean 'pgd'"),
        ("models: [runs/plain, runs/robust]", "did you mean 'model'"),
    ],
)
def test_a_field_that_is_wrong_is_one_sentence_and_no_file(place, capsys, written, words):
    (place / "study.yaml").write_text(f"{written}\nimages: 5\nout: study\n")
    before = sorted(place.rglob("*"))
    assert code("evaluate", "--config", "study.yaml") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_the_study_of_the_documentation(place, capsys):
    """As it is on the page, on fewer images; report, audit and compare read what it writes."""
    page = (ROOT / "docs" / "how-to.md").read_text()
    text = (ROOT / "docs" / "study.yaml").read_text()
    assert f"```yaml\n{text}```" in page
    (place / "study.yaml").write_text(text)
    options = ("--images", "5", "--quiet", "--audit", "off")
    assert code("evaluate", "--config", "study.yaml", *options, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert not (place / "runs" / "study").exists()
    assert code("evaluate", "--config", "study.yaml", *options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    written = yaml.safe_load(text)
    expected = [
        (model, seed, attack, eps)
        for model in written["model"]
        for seed in written["seed"]
        for attack in written["attacks"]
        for eps in written["eps"]
    ]
    told = [(c["model"], c["seed"], c["attack"], c["eps"]) for c in found["cells"]]
    assert told == expected
    for line in plan["attacks"]:
        spent = [
            cell["forwards"] + cell["backwards"]
            for cell in found["cells"]
            if all(cell[key] == line[key] for key in ("model", "attack", "eps"))
        ]
        assert len(spent) == 2
        assert sum(spent) <= line["passes"]
    study_of = place / "runs" / "study"
    size = sum(path.stat().st_size for path in study_of.rglob("*") if path.is_file())
    assert size / 4 < plan["disk_bytes"]
    weights = (place / "runs" / "plain" / "model.safetensors").stat().st_size
    assert plan["memory_bytes"] > weights

    assert code("report", "runs/study", "--out", "report", "--quiet") == 0
    about = json.loads((place / "report" / "report.json").read_text())
    members = [str(run) for run in runs_in(Path("runs/study"))]
    assert len(members) == 4
    assert [one["path"] for one in about["runs"]] == members
    assert code("audit", "runs/study", "--audit", "0.05", "--quiet", "--json") == 0
    assert [*json.loads(capsys.readouterr().out)["runs"]] == members
    assert code("compare", members[0], members[2], "--quiet") == 0
    assert code("compare", "runs/study") == 2
    assert members[3] in capsys.readouterr().err


STUDY = (
    *("evaluate", "--model", "runs/plain,runs/robust", "--seed", "0,1", "--images", "20"),
    *("--batch-size", "10", "--attacks", "mine:attack,fgsm", "--eps", "0.1,0.2", "--audit", "off"),
)


def test_a_study_that_was_killed_goes_on(place, capsys):
    """In the middle of its second run: what was finished is left alone, the rest is as if never."""
    assert code(*STUDY, "--out", "whole", "--quiet") == 0
    # Of every run two attacks by mine:attack before any work, and on each of two batches two.
    (place / "armed").write_text("8")
    program = "import sys; from holdfast.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *STUDY, "--out", "killed", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, "."])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (place / "armed").unlink()
    finished = place / "killed" / "1-runs-plain" / "seed-0" / "run.json"
    assert json.loads(finished.read_text())["complete"]
    before = finished.stat().st_mtime_ns
    half = place / "killed" / "1-runs-plain" / "seed-1"
    assert not json.loads((half / "run.json").read_text())["complete"]
    assert not (place / "killed" / "2-runs-robust").exists()
    assert code("report", "killed", "--out", "report") == 2
    assert "is a study that is not finished" in capsys.readouterr().err

    assert code(*STUDY, "--out", "killed", "--quiet") == 0
    assert finished.stat().st_mtime_ns == before
    for one, other in zip(runs_in(Path("whole")), runs_in(Path("killed")), strict=True):
        assert (one / "rows.csv").read_bytes() == (other / "rows.csv").read_bytes()
    assert code(*STUDY, "--out", "killed", "--quiet") == 0  # and once more there is nothing to do
    assert finished.stat().st_mtime_ns == before


SIZES = (0.2, 0.02, 0.1, 0.05)
SHARED = EvaluationConfig(audit=0, hidden=False, share_sizes=True)


def ladder(model, config=SHARED, **kwargs):
    data, _ = some()
    attacks = [("pgd", PGD(Linf(eps), steps=5)) for eps in SIZES]
    return evaluate_data(model, data, attacks, config, **kwargs)


def test_what_falls_at_a_size_is_not_attacked_at_a_larger_one():
    """It is taken over as it is, with where it was found; nothing is lost by it."""
    _, models = some()
    rows = ladder(models["a"]).rows
    alone = ladder(models["a"], QUICK).rows
    attacked = rows[rows["attack"] == "pgd"]
    assert (attacked["linf"] <= attacked["eps"] * (1 + 1e-6)).all()
    by_size = attacked.pivot_table(index="index", columns="eps", values="fooled")
    assert (by_size.diff(axis=1).dropna(axis=1) >= 0).all(axis=None)
    fallen = attacked[attacked["fooled"]]
    first = fallen.groupby("index")["eps"].transform("min")
    assert (fallen["found_at"] == first).all()
    taken = attacked["found_at"] < attacked["eps"]
    assert taken.any()
    assert (attacked.loc[taken, ["forwards", "backwards"]] == 0).all(axis=None)
    same = ["fooled", "prediction", "l1", "l2", "linf", "loss", "by"]
    before = attacked[~taken].set_index(["index", "eps"])
    for _, row in attacked[taken].iterrows():
        found = before.loc[(row["index"], row["found_at"])]
        assert found["fooled"]
        assert row[same].drop("loss").equals(found[same].drop("loss"))
        assert row["loss"] == pytest.approx(found["loss"], rel=1e-5)
    other = alone[alone["attack"] == "pgd"].set_index(["index", "eps"])
    fresh = [column for column in other if column not in ("found_at", "loss")]
    pd.testing.assert_frame_equal(before[fresh], other.loc[before.index, fresh])
    assert not (other["fooled"] & ~attacked.set_index(["index", "eps"])["fooled"]).any()


@pytest.mark.parametrize("stop", range(1, len(SIZES)))
def test_shared_sizes_are_taken_up_where_they_were_left(tmp_path, stop, monkeypatch):
    _, models = some()
    config = EvaluationConfig(audit=0, hidden=False, share_sizes=True, batch_size=8)
    whole = ladder(models["a"], config).rows
    write, calls = Chunks.write, 0

    def failing(*args):
        nonlocal calls
        calls += 1
        if calls == 2 + stop:  # after so many sizes of the first chunk, whose clean images are one
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(Chunks, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        ladder(models["a"], config, out=tmp_path / "run")
    monkeypatch.undo()
    pd.testing.assert_frame_equal(ladder(models["a"], config, out=tmp_path / "run").rows, whole)


class Doubtful(nn.Module):
    """Draws; images are robust by most votes, or fall by so many draws of a hundred."""

    stochastic = True

    def __init__(self, share):
        super().__init__()
        self.share = share
        self.eval()

    def forward(self, x):
        wrong = (layer_uniform(x[:, 0, 0, 0]) < self.share) & (x.flatten(1).mean(dim=1) > 0.5)
        return 4 * torch.stack([~wrong, wrong], dim=1).float() + 0 * x.flatten(1)[:, :2]


@pytest.mark.parametrize(("share", "taken"), [(0.95, True), (0.53, False)])
def test_of_a_model_that_draws_only_what_falls_without_a_doubt_is_taken_over(share, taken):
    """What fell by votes that hardly agree is attacked again where more is allowed."""
    x, y = torch.full((12, 1, 2, 2), 0.45), torch.zeros(12, dtype=torch.long)
    attacks = [("fgsm", Brighter(threat=Linf(eps))) for eps in (0.1, 0.2)]
    rows = evaluate_data(Doubtful(share), Data.of(x, y), attacks, SHARED).rows
    larger = rows[rows["eps"] == 0.2]
    assert larger["found_at"].eq(0.1).all() == taken
    if taken:
        assert larger["fooled"].all()
        assert larger["linf"].max() == pytest.approx(0.1, rel=1e-5)
    else:
        assert larger["found_at"].eq(0.2).all()
        assert (larger["forwards"] > 0).all()


class Undecided(nn.Module):
    """Never of class 0: of 1 or 2, by a draw."""

    stochastic = True

    def forward(self, x):
        first = (layer_uniform(x[:, 0, 0, 0]) < 0.5).float()
        return torch.stack([0 * first - 4, first, 1 - first], dim=1) + 0 * x.flatten(1)[:, :3]


def test_what_was_wrong_before_is_left_alone_at_every_size():
    """And keeps the class that it had, whatever fresh draws would say."""
    x, y = torch.full((24, 1, 2, 2), 0.45), torch.zeros(24, dtype=torch.long)
    attacks = [("fgsm", Brighter(threat=Linf(eps))) for eps in (0.1, 0.2)]
    rows = evaluate_data(Undecided().eval(), Data.of(x, y), attacks, SHARED).rows
    assert rows["fooled"].all()
    assert set(rows["clean_prediction"]) == {1, 2}
    assert rows["prediction"].eq(rows["clean_prediction"]).all()
    assert rows["linf"].eq(0).all()


def test_an_attack_that_looks_for_the_smallest_perturbation_answers_all_sizes():
    data, models = some()
    attacks = [
        (name, make(L2(eps)))
        for name, make in (("pgd", PGD), ("ddn", lambda threat: DDN(threat, steps=20)))
        for eps in (0.4, 0.8)
    ]
    found = evaluate_data(models["a"], data, attacks, SHARED)
    assert [(cell["attack"], cell["eps"]) for cell in found.cells] == [
        ("pgd", 0.4),
        ("pgd", 0.8),
        ("ddn", None),
    ]
    alone = evaluate_data(models["a"], data, attacks, QUICK)
    read = [metrics.cells(metrics.at_finite_sizes(one.rows)) for one in (found, alone)]
    assert len(read[0]) == len(read[1]) == 4
    for one, other in zip(*(part.to_dict(orient="records") for part in read), strict=True):
        assert (one["attack"], one["eps"]) == (other["attack"], other["eps"])
        assert one["robust_accuracy"] == other["robust_accuracy"]
    only = [one for one in attacks if one[0] == "ddn"]
    assert run_once(only) == only  # nothing else would say at which sizes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_looks_for_the_smallest_perturbation_says_so(case):
    """But EAD, whose measure is not the distance."""
    attack = case.make(THREATS[case.norms[0]](1.0))
    assert attack.finds_smallest == (case.within is not None and case.name != "EAD")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("sizes", [(0.4, 2.0, 0.8), (0.6, math.inf)])
def test_an_attack_that_finds_the_smallest_is_run_at_its_largest_size_and_read_at_the_others(sizes):
    data, models = some()
    attacks = [("ddn", DDN(L2(eps), steps=20)) for eps in sizes]
    rows = evaluate_data(models["a"], data, attacks, SHARED).rows
    alone = evaluate_data(models["a"], data, attacks, QUICK).rows
    of, apart = (
        part[part["attack"] == "ddn"].set_index(["eps", "index"]).sort_index()
        for part in (rows, alone)
    )
    assert (of["l2"] <= of.index.get_level_values("eps") * (1 + 1e-6)).all()
    assert not (apart["fooled"] & ~of["fooled"]).any()
    largest = of.loc[max(sizes)]
    assert largest["forwards"].gt(0).any()
    for eps in sorted(sizes)[:-1]:
        assert of.loc[eps, ["forwards", "backwards"]].eq(0).all(axis=None)
        wrong = largest["clean_prediction"] != largest["label"]
        expected = wrong | (largest["fooled"] & (largest["l2"] <= eps))
        assert (of.loc[eps, "fooled"] == expected).all()
        read = of.loc[eps, "fooled"] & ~wrong
        assert (of.loc[eps].loc[read, "found_at"] == max(sizes)).all()
        assert (of.loc[eps].loc[read, "l2"] == largest.loc[read, "l2"]).all()
    assert of.loc[min(sizes), "fooled"].sum() < largest["fooled"].sum()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_read_off_a_blind_attack_is_blind_too():
    data, models = some()
    attacks = [("ddn", DDN(L2(eps), steps=5)) for eps in (0.5, 1.0)]
    model = nn.Sequential(Rounded(), models["a"]).eval()
    rows = evaluate_data(model, data, attacks, SHARED).rows
    for _, part in rows[rows["attack"] == "ddn"].groupby("eps"):
        assert part.loc[~part["fooled"], "blind"].all()


class Rounded(nn.Module):
    """Whole tenths, which no gradient passes."""

    def forward(self, x):
        return (10 * x).round() / 10


def test_shared_sizes_of_a_run_are_no_test_of_its_attacks(tmp_path):
    """The audit does not take for strength what sharing makes so."""
    _, models = some()
    config = EvaluationConfig(hidden=False, share_sizes=True)
    ladder(models["a"], config, out=tmp_path / "run")
    audit = Audit.of_record(read_about(tmp_path / "run")["audit"])
    (check,) = (one for one in audit.checks if one.id == "C2")
    assert check.verdict is Verdict.NOT_RUN
    assert "shared" in check.said
    assert code("report", tmp_path / "run", "--out", tmp_path / "report", "--quiet") == 0


def test_another_study_is_not_written_over(tmp_path):
    data, models = some()
    study(models, data, ATTACKS[:1], (0,), QUICK, tmp_path / "run")
    rows = read_rows(runs_in(tmp_path / "run")[0])
    other = {"a": models["b"], "b": models["a"]}
    for changed, words in (
        ((models, data, ATTACKS[:1], (0, 1)), "seed"),
        ((models, data, ATTACKS[:2], (0,)), "attacks"),
        (({"a": models["a"]}, data, ATTACKS[:1], (0,)), "models|b_"),
        ((other, data, ATTACKS[:1], (0,)), "other weights"),
    ):
        with pytest.raises(OutputError, match=words):
            study(*changed, QUICK, tmp_path / "run")
    pd.testing.assert_frame_equal(read_rows(runs_in(tmp_path / "run")[0]), rows)


def test_a_study_and_one_of_its_runs_are_told_apart_by_commands_that_there_are(tmp_path):
    net, data = small_network(), Data.of(images(4), torch.zeros(4, dtype=torch.long))
    study({"net": net}, data, ATTACKS[:1], (0,), QUICK, tmp_path)
    with pytest.raises(OutputError, match="holds a study of holdfast evaluate, of several"):
        evaluate_data(net, data, ATTACKS[:1], QUICK, out=tmp_path)
    with pytest.raises(OutputError, match="holds a run of holdfast evaluate, of one model"):
        study({"net": net}, data, ATTACKS[:1], (0,), QUICK, tmp_path / "1-net/seed-0")


@pytest.mark.parametrize("runs", [["../elsewhere"], "1-a/seed-0", [1], None, ["a" * 300]])
def test_a_study_that_leads_elsewhere_is_refused(tmp_path, runs):
    (tmp_path / "study").mkdir()
    about = {"kind": "study", "complete": True, "settings": {}, "runs": runs}
    (tmp_path / "study" / "run.json").write_text(json.dumps(about))
    with pytest.raises((DamagedFileError, InputError)):
        runs_in(tmp_path / "study")


def test_a_finished_study_that_lacks_a_run_is_told_as_such(tmp_path):
    data, _ = some()
    model, attacks = small_network(), [("fgsm", FGSM(Linf(0.1)))]
    study({"net": model}, data, attacks, (0, 1), out=tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "1-net" / "seed-1")
    with pytest.raises(MissingFileError, match="its run 1-net/seed-1 is missing: put the copy"):
        study({"net": model}, data, attacks, (0, 1), out=tmp_path / "study")
