"""Every check of certificates: a planted defect fails it, and a sound certification passes."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast import L2, EvaluationConfig, evaluate
from holdfast.attacks import PGD
from holdfast.auditing.check import NotRun, Verdict
from holdfast.certify import CertificationConfig, audit_certificates, certify
from holdfast.certify.auditing.check import CHECKS
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.auditing.run import audited
from holdfast.certify.auditing.subject import Subject
from holdfast.cli.main import run as command
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.results import read_about, read_rows
from tests.digits import digits_network, trained

SIGMA = 0.12


@cache
def ledger(**changes):
    """Of certificates of the digits' network under noise."""
    model, x, y = trained()
    config = CertificationConfig(sigma=SIGMA, votes=200, selection_votes=50, **changes)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        certify(model, x, y, config=config, out=run)
        about = read_about(run)
        return Ledger(read_rows(run), about["settings"], about["cells"], 10)


def edited(**columns):
    """The ledger with other columns: name -> a function of the rows."""
    rows = ledger().rows.copy()
    for name, change in columns.items():
        rows[name] = change(rows)
    return replace(ledger(), rows=rows)


def settings(**changes):
    return replace(ledger(), settings={**ledger().settings, **changes})


def subject(of, network=None):
    _, x, y = trained()
    return Subject(network or digits_network(), Data.of(x, y), of)


def verdict(name, of, network=None):
    check = CHECKS[name]
    value, said = check.run(subject(of, network) if check.asks_the_model else of)
    return check.judge(value), said


def other_network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


def more_votes(rows):
    """A fifth of the votes moved to the class that leads."""
    told = []
    for text in rows["votes"]:
        pairs = [each.split(":") for each in text.split()]
        total = sum(int(count) for _, count in pairs)
        told.append(f"{pairs[0][0]}:{total}")
    return told


def not_the_leader(rows):
    return [(label + 1) % 10 for label in rows["prediction"]]


def without(name):
    return replace(
        ledger(), settings={key: one for key, one in ledger().settings.items() if key != name}
    )


DEFECTS = {
    "S-stated": lambda: without("seed"),
    "S-votes": lambda: edited(votes=lambda rows: [f"{text} 9:7" for text in rows["votes"]]),
    "S-apart": lambda: edited(
        votes=lambda rows: ["0:150 1:50"] * len(rows),
        choice=lambda rows: ["0:150 1:50"] * len(rows),
    ),
    "S-limits": lambda: edited(p1=lambda rows: rows["p1"] + 1e-3),
    "S-radius": lambda: edited(radius=lambda rows: rows["radius"] + 1e-5),
    "S-classes": lambda: edited(prediction=not_the_leader),
    "S-abstained": lambda: edited(prediction=lambda rows: -1),
    "S-cells": lambda: edited(label=lambda rows: 0),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_of_what_is_written_fails(name):
    found, said = verdict(name, DEFECTS[name]())
    assert found is Verdict.FAIL, said
    try:
        found, said = verdict(name, ledger())
    except NotRun:
        assert name == "S-apart"  # too few images are divided
        return
    assert found is Verdict.PASS, said


def test_an_abstention_with_a_radius_fails():
    rows = ledger().rows.copy()
    rows.loc[0, ["prediction", "abstained"]] = [-1, True]
    assert rows.loc[0, "radius"] > 0
    found, _ = verdict("S-abstained", replace(ledger(), rows=rows))
    assert found is Verdict.FAIL


@pytest.mark.filterwarnings("ignore:the limits of stn-2019")
def test_limits_that_do_not_hold_are_told_of():
    one = ledger(intervals=("stn-2019",))
    assert verdict("S-guaranteed", one)[0] is Verdict.WARN
    hidden = replace(one, cells=[{**cell, "guaranteed": True} for cell in one.cells])
    assert verdict("S-guaranteed", hidden)[0] is Verdict.FAIL
    assert audited(one, None).word == "doubtful"


@pytest.mark.parametrize("name", ["S-seed", "S-chosen", "S-recount", "S-attack"])
def test_another_model_or_sigma_fails(name):
    assert verdict(name, ledger())[0] is Verdict.PASS
    found, said = verdict(name, ledger(), other_network())
    assert found is Verdict.FAIL, said
    if name != "S-attack":  # more noise moves the boundary, as far away as not
        found, said = verdict(name, settings(sigma=0.6))
        assert found is Verdict.FAIL, said


def test_inflated_votes_are_counted_again():
    found, said = verdict(
        "S-seed", replace(edited(votes=more_votes), settings=settings(sigma=0.4).settings)
    )
    assert found is Verdict.FAIL, said


def test_an_inflated_radius_falls_to_an_attack():
    far = edited(radius=lambda rows: 12 * rows["radius"])
    found, said = verdict("S-attack", far)
    assert found is Verdict.FAIL, said


class Before(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change, self.network = change, digits_network()
        self.eval()

    def forward(self, x):
        return self.network(self.change(x))


@pytest.mark.parametrize("change", [lambda x: x.clamp(0, 1), lambda x: (255 * x).round() / 255])
def test_what_clips_or_rounds_behind_the_noise_is_told_of(change):
    assert verdict("S-behind", ledger())[0] is Verdict.PASS
    found, said = verdict("S-behind", ledger(), Before(change))
    assert found is Verdict.WARN, said


@pytest.mark.parametrize("intervals", ["two-sample", "clopper-pearson", "hoeffding"])
def test_what_is_written_is_what_the_votes_prove(intervals):
    found = audited(ledger(intervals=(intervals,), bounds=("cohen", "renyi", "pixeldp")), None)
    assert found.word == "believable", found.sentence


def test_a_sound_run_is_believable_and_stays_as_it_is(tmp_path):
    model, x, y = trained()
    config = CertificationConfig(sigma=SIGMA, votes=100)
    certify(model, x, y, config=config, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = audit_certificates(tmp_path / "run", model, Data.of(x, y))
    assert found.word == "believable", found.sentence
    assert {c.id for c in found.of(Verdict.NOT_RUN)} <= {"S-ceiling", "S-apart"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    few = audit_certificates(tmp_path / "run", model, Data.of(x, y), share=0.05)
    assert few.passes <= few.limit
    with pytest.raises(InputError, match="of another model"):
        audit_certificates(tmp_path / "run", other_network(), Data.of(x, y))


def attacks(size):
    """An evaluation of the same smoothed classifier, in l2 at one size."""
    model, x, y = trained()
    smoothed = nn.Sequential(GaussianNoise(SIGMA), model).eval()
    config = EvaluationConfig(votes=200, samples=2, audit=0)
    rows = evaluate(smoothed, x, y, {"pgd": PGD(L2(size), steps=3)}, config=config).rows
    return rows[rows["attack"] == "pgd"]


@pytest.mark.filterwarnings("ignore:pgd l2 0.05. left")
def test_more_certified_than_attacks_left_robust_fails():
    left = attacks(0.05)
    found, said = verdict("S-ceiling", replace(ledger(), attacked=left))
    assert found is Verdict.PASS, said
    fallen = left.assign(
        fooled=True,
        prediction=(left["label"] + 1) % 10,
        votes_for_label=0,
        votes_for_prediction=200,
    )
    found, said = verdict("S-ceiling", replace(ledger(), attacked=fallen))
    assert found is Verdict.FAIL, said
    with pytest.raises(NotRun, match="is in l2"):
        verdict("S-ceiling", replace(ledger(), attacked=left.assign(norm="linf")))


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


NET = ("--model", "tests.digits:digits_network", "--data", "digits", "--images", "20", "--quiet")
NOISE = ("--sigma", str(SIGMA), "--votes", "50")


def test_the_command_sets_a_certification_beside_an_evaluation(there, capsys):
    assert command(["certify", *NET, *NOISE, "--out", "cert"]) == 0
    attack = ("--attacks", "pgd(steps=2)", "--norm", "l2", "--eps", "0.05", "--samples", "2")
    assert command(["evaluate", *NET, *NOISE, *attack, "--audit", "off", "--out", "eval"]) == 0
    capsys.readouterr()
    assert command(["audit", "cert", "eval", "--quiet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["runs"]["cert"]["audit"]
    found = {one["id"]: one["verdict"] for one in told["checks"]}
    assert found["S-ceiling"] == found["S-seed"] == found["S-radius"] == "pass"


def test_a_certification_of_another_noise_ends_with_3_if_strict(there, capsys):
    assert command(["certify", *NET, *NOISE, "--out", "cert"]) == 0
    about = json.loads(Path("cert/run.json").read_text())
    about["settings"]["sigma"] = 0.6
    Path("cert/run.json").write_text(json.dumps(about))
    assert command(["audit", "cert", "--quiet"]) == 0
    assert command(["audit", "cert", "--quiet", "--strict"]) == 3
    assert "not believable" in capsys.readouterr().err


def test_runs_of_other_kinds_are_refused(there, capsys):
    assert command(["diagnose", "filters", *NET, "--out", "look"]) == 0
    assert command(["audit", "look", "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "an audit is of evaluations and certifications" in told
