"""Every check of certificates: a planted defect fails it, and a sound certification passes."""

import json
import tempfile
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from holdfast import L2, EvaluationConfig, evaluate
from holdfast.attacks import PGD
from holdfast.auditing.check import NotRun, Verdict
from holdfast.certify import (
    CertificationConfig,
    audit,
    audit_certificates,
    certificates,
    certify,
)
from holdfast.certify.auditing.check import CHECKS
from holdfast.certify.auditing.ledger import Ledger
from holdfast.certify.auditing.run import audited
from holdfast.certify.auditing.subject import Subject
from holdfast.certify.sampling import sample
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
    config = CertificationConfig(sigma=SIGMA, votes=200, selection_votes=50, audit=0, **changes)
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


def test_labels_of_the_predictions_fail():
    assert verdict("S-labels", ledger())[0] is Verdict.PASS
    found, said = verdict("S-labels", edited(label=lambda rows: (rows["label"] + 1) % 10))
    assert found is Verdict.FAIL, said


@pytest.mark.parametrize("told", [{"norm": "linf"}, {"sigma": 0.01}, {"confidence": 0.999}])
def test_cells_that_say_other_settings_fail(told):
    other = [{**cell, **told} for cell in ledger().cells]
    found, said = verdict("S-cells", replace(ledger(), cells=other))
    assert found is Verdict.FAIL, said


@pytest.mark.parametrize("votes", [lambda rows: "3:200", lambda rows: "0:100 1:100"])
def test_votes_that_agree_otherwise_than_fresh_ones_fail(votes):
    assert verdict("S-fresh", ledger())[0] is Verdict.PASS
    found, said = verdict("S-fresh", edited(votes=votes))
    assert found is Verdict.FAIL, said


class Centred(nn.Module):
    """Less the mean of its batch."""

    def __init__(self):
        super().__init__()
        self.network = digits_network()
        self.eval()

    def forward(self, x):
        return self.network(x - x.mean(dim=0, keepdim=True))


class Remembers(Centred):
    """Answers as it did before where half of the image is the darker one again."""

    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        darker = (x[..., :4].mean(dim=(1, 2, 3)) < x[..., 4:].mean(dim=(1, 2, 3))).tolist()
        pairs = zip(darker, self.network(x), strict=True)
        return torch.stack([self.known.setdefault(key, own) for key, own in pairs])


@pytest.mark.filterwarnings("ignore:the model standardizes")
@pytest.mark.parametrize("network", [Centred, Remembers])
def test_votes_that_hang_on_others_fail(network):
    assert verdict("S-alone", ledger())[0] is Verdict.PASS
    found, said = verdict("S-alone", ledger(), network())
    assert found is Verdict.FAIL, said
    if network is Remembers:  # of which certify keeps a copy before it asks
        assert "S-alone" in plainly(network(), config=replace(PLAIN, votes=20)).audit.sentence


@pytest.mark.filterwarnings("ignore:.*training mode")
def test_a_network_in_training_mode_is_audited_as_it_is_certified():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), deepcopy(digits_network())).train()
    found = {check.id: check.verdict for check in plainly(network).audit.checks}
    assert found["S-alone"] == found["S-seed"] == Verdict.PASS


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


def test_a_randomised_limit_is_that_of_the_seed_and_the_image():
    """Whoever draws it anew for each image until it suits claims more than is proven."""
    one = ledger(intervals=("two-sample-randomised",))
    for name in ("S-limits", "S-radius"):
        assert verdict(name, one)[0] is Verdict.PASS
        other = replace(one, settings={**one.settings, "seed": one.config.seed + 1})
        assert verdict(name, other)[0] is Verdict.FAIL


@pytest.mark.parametrize(
    "intervals", ["two-sample", "two-sample-randomised", "clopper-pearson", "hoeffding"]
)
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


PLAIN = CertificationConfig(sigma=SIGMA, votes=200)

#: Noise by which votes are divided.
LOUD = replace(PLAIN, sigma=0.4)


def plainly(model=None, config=PLAIN, **given):
    """Certify a network of the digits, with what certify takes by itself."""
    network, x, y = trained(60)
    return certify(model or network, x, y, config=config, **given)


def test_certify_audits_itself_within_a_share_of_its_votes(tmp_path):
    assert plainly(config=LOUD).audit.word == "believable"
    found = plainly(out=tmp_path / "run")
    assert found.audit.word == "believable", found.audit.sentence
    assert found.audit.sentence in found.summary()
    assert 0 < found.audit.passes <= found.audit.limit
    assert found.audit.limit == 0.15 * found.cells[0]["forwards"]
    assert read_about(tmp_path / "run")["audit"] == found.audit.record()


def test_certificates_are_the_same_without_an_audit(tmp_path):
    found = plainly(config=replace(PLAIN, audit=0), out=tmp_path / "run")
    assert found.audit is None
    assert "audit" not in read_about(tmp_path / "run")
    assert found.rows.equals(plainly().rows)
    assert plainly(out=tmp_path / "run").audit is None  # which was finished without
    model, x, y = trained(60)
    with pytest.raises(InputError, match="audit_certificates"):
        audit(model, x, y, config=PLAIN, out=tmp_path / "run")
    with pytest.raises(InputError, match="an audit needs passes"):
        audit(model, x, y, config=replace(PLAIN, audit=0))
    with pytest.raises(InputError, match="a share of passes is from 0"):
        replace(PLAIN, audit=-0.1)


def test_an_audit_by_itself_has_the_limit_that_it_is_given():
    model, x, y = trained()
    found = audit(model, x[:8], y[:8], config=replace(PLAIN, votes=50, audit=float("inf")))
    assert found.limit == float("inf")
    assert {c.id for c in found.of(Verdict.NOT_RUN)} <= {"S-ceiling", "S-apart"}


def test_a_certification_killed_in_its_audit_makes_it_when_taken_up(tmp_path, monkeypatch):
    def killed(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("holdfast.certify.run.audited", killed)
        with pytest.raises(KeyboardInterrupt):
            plainly(out=tmp_path / "run")
    assert not read_about(tmp_path / "run")["complete"]
    with monkeypatch.context() as patched:
        patched.setattr("holdfast.certify.chunks.sample", killed)  # all votes are there
        found = plainly(out=tmp_path / "run")
    assert found.audit == plainly().audit


def noiseless(smoothed, *given, **named):
    return sample(smoothed[-1], *given, **named)


def quieter(smoothed, *given, **named):
    return sample(nn.Sequential(GaussianNoise(0.2), smoothed[-1]).eval(), *given, **named)


def without_the_others(*given, **named):
    """Votes that are not for the leader are lost on the way."""
    found = sample(*given, **named)
    leading = np.eye(found.classes, dtype=int)[found.counts.argmax(axis=1)]
    return replace(found, counts=named["n"] * leading)


def reused(*given, n, n0, **named):
    """The class is chosen by draws that count."""
    found = sample(*given, n=n, n0=0, **named)
    return replace(found, choice=sample(*given, n=n0, n0=0, **named).counts)


@pytest.mark.parametrize("broken", [noiseless, quieter, without_the_others, reused])
def test_certify_does_not_believe_votes_that_were_wrongly_taken(monkeypatch, broken):
    monkeypatch.setattr("holdfast.certify.chunks.sample", broken)
    found = plainly(config=LOUD).audit
    assert found.word == "not believable", found.sentence


def unsure(sampling, limits, bound, sigma):
    return certificates(sampling, type(limits)(0.5), bound, sigma)


def twice_as_far(*given):
    found = certificates(*given)
    return replace(found, radius=2 * found.radius)


def never_abstaining(*given):
    found = certificates(*given)
    return replace(found, prediction=found.counts.argmax(axis=1), radius=found.radius + 0.01)


@pytest.mark.parametrize("broken", [unsure, twice_as_far, never_abstaining])
def test_certify_does_not_believe_radii_that_were_wrongly_made(monkeypatch, broken):
    monkeypatch.setattr("holdfast.certify.rows.certificates", broken)
    found = plainly(config=LOUD).audit
    assert found.word == "not believable", found.sentence


@pytest.mark.filterwarnings("ignore:the model")
def test_certify_doubts_a_model_that_changes_images_behind_the_noise():
    found = plainly(Before(lambda x: x.clamp(0, 1))).audit
    assert found.word == "doubtful"
    assert "S-behind" in found.sentence


def test_the_command_says_first_whether_to_believe_it(there, capsys):
    line = ("certify", *NET, *NOISE, "--out", "cert")
    assert command([*line, "--strict"]) == 0
    kept = json.loads(Path("cert/run.json").read_text())["audit"]
    assert kept["verdict"] == "believable"
    assert capsys.readouterr().out.splitlines()[0] == kept["sentence"]
    assert command([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"cells", "warnings", "verdict", "audit"}
    assert (told["verdict"], told["audit"]) == ("believable", kept)


@pytest.mark.filterwarnings("ignore:the limits of stn-2019")
def test_strict_ends_with_3_where_certificates_are_doubtful(there, capsys):
    assert command(["certify", *NET, *NOISE, "--intervals", "stn-2019", "--strict"]) == 3
    assert "holdfast: doubtful: the limits of stn-2019 do not hold" in capsys.readouterr().err


def test_off_is_said_and_strict_takes_no_run_without_an_audit(there, capsys):
    line = ("certify", *NET, *NOISE, "--out", "cert")
    assert command([*line, "--audit", "off"]) == 0
    assert capsys.readouterr().out.startswith("not audited: holdfast audit RUN says")
    assert command([*line, "--strict"]) == 3
    assert "finished without an audit" in capsys.readouterr().err
