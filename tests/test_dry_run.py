"""What a dry run tells is what the run takes."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig
from holdfast.attacks import (
    APGD,
    DDN,
    EAD,
    FGSM,
    IFGSM,
    MIM,
    PGD,
    CarliniWagner,
    DeepFool,
    HopSkipJump,
    Square,
    WorstCase,
)
from holdfast.attacks.engine.transfer import spending
from holdfast.cli.dry_run import Plan, planned, show_plan
from holdfast.data import Data
from holdfast.defenses import Binarise
from holdfast.evaluation import evaluate_data
from holdfast.evaluation.forecast import passes_of
from holdfast.results import read_about
from holdfast.threat import L1, L2, Linf
from tests.toys import images, small_network

BALL = Linf(0.02)
PLAIN = EvaluationConfig(audit=0, hidden=False)


@pytest.fixture(scope="module")
def data():
    """Twelve images, a third of which the network gets wrong."""
    x, network = images(12, (1, 6, 6)), small_network()
    y = network(x).argmax(dim=1)
    y[::3] = (y[::3] + 1) % 4
    return Data.of(x, y)


def spent(rows, name):
    mine = rows[rows["attack"] == name]
    return int((mine["forwards"] + mine["backwards"]).sum())


def both(data, named, config=PLAIN):
    network = small_network()
    plan = planned({"net": network}, data, named, config)
    rows = evaluate_data(network, data, named, config).rows
    return {line.attack: (line, spent(rows, line.attack)) for line in plan.lines}


def test_passes_of_attacks_without_early_stopping_are_those_of_the_rows(data):
    """Of images that are right without an attack; at a size where some fall."""
    attacks = {
        "fgsm": FGSM(BALL),
        "pgd": PGD(BALL, steps=4, early_stop=False),
        "mim": MIM(BALL, steps=4, early_stop=False),
        "i-fgsm": IFGSM(BALL, steps=4, early_stop=False),
        "apgd": APGD(BALL, steps=6, early_stop=False),
    }
    suite = WorstCase(BALL, steps=8, queries=30)
    attacks |= {
        f"suite's {name}": spending(part)
        for name, part in zip(suite.names, suite.attacks, strict=True)
    }
    found = both(data, list(attacks.items()))
    for name, (line, recorded) in found.items():
        assert recorded <= line.passes, name
        if line.exact:
            assert line.passes == line.expected == recorded, name
    exact = {name for name, (line, _) in found.items() if line.exact}
    assert {"fgsm", "pgd", "mim", "i-fgsm", "apgd"} <= exact
    assert len([name for name in exact if name.startswith("suite's")]) >= 2
    every = EvaluationConfig(audit=0, hidden=False, attack_all=True)
    line, recorded = both(data, [("pgd", attacks["pgd"])], every)["pgd"]
    assert line.exact
    assert line.passes == recorded == 12 * 8


def test_an_attack_that_stops_early_has_a_bound_and_an_expected_number(data):
    """Which is what it takes where the images on which it is begun are all there are."""
    found = both(data, [(f"pgd {eps}", PGD(Linf(eps), steps=10)) for eps in (0.001, 0.05, 0.5)])
    for line, recorded in found.values():
        assert not line.exact
        assert line.expected == recorded <= line.passes == 8 * 20
        assert line.expected_seconds <= line.seconds
    numbers = [line.expected for line, _ in found.values()]
    assert numbers[2] < numbers[0]


def test_of_what_does_not_end_soon_the_bound_is_expected_where_nothing_fell(data):
    line, recorded = both(data, [("square", Square(Linf(1e-5), queries=400))])["square"]
    assert line.expected == line.passes >= recorded
    line, recorded = both(data, [("square", Square(Linf(0.5), queries=400))])["square"]
    assert line.expected < line.passes
    assert recorded <= line.passes


@pytest.mark.parametrize(
    "attack",
    [
        HopSkipJump(L2(3.0), queries=160),
        DDN(L2(1.0), steps=10),
        DDN(L2(1e-4), steps=10),
        CarliniWagner(L2(math.inf), steps=40, searches=2),
        EAD(L1(math.inf), steps=40, searches=2, abort_early=True),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_no_image_takes_more_than_the_bound(data, attack):
    """Also not of one that goes on only where it finds a start, as on no network that stands."""
    rows = evaluate_data(small_network(), data, [("a", attack)], PLAIN).rows
    most = (rows["forwards"] + rows["backwards"]).max()
    assert most <= passes_of(attack, data.shape, 4).most
    if isinstance(attack, HopSkipJump):
        assert most > attack.draws  # all that is asked where nothing falls


def test_a_search_may_gain_to_its_end(data):
    """What is left before that on one network goes on to its last step on another."""
    for attack in (CarliniWagner(L2(1.0), steps=40), EAD(L1(1.0), steps=40, abort_early=True)):
        whole = replace(attack, abort_early=False)
        assert passes_of(attack, data.shape).most == passes_of(whole, data.shape).most
        assert not passes_of(attack, data.shape).exact
        assert passes_of(attack, data.shape).most >= 2 * 40 * attack.searches


def test_the_search_is_counted_before_and_after(data, tmp_path):
    config = EvaluationConfig(audit=0)
    named = [("fgsm", FGSM(BALL))]
    plan = planned({"net": small_network()}, data, named, config)
    evaluate_data(small_network(), data, named, config, out=tmp_path / "run")
    costs = read_about(tmp_path / "run")["costs"]["search"]
    assert plan.search == costs["forwards"] + costs["backwards"] > 100
    evaluate_data(small_network(), data, named, PLAIN, out=tmp_path / "none")
    assert "costs" not in read_about(tmp_path / "none")


def test_nothing_is_exact_of_a_network_that_calls_for_variants(data, capsys):
    network = nn.Sequential(Binarise(), small_network()).eval()
    plan = planned({"net": network}, data, [("fgsm", FGSM(BALL))], EvaluationConfig(audit=0))
    (line,) = plan.lines
    assert (line.exact, line.expected) == (False, None)
    show_plan(plan, json=False)
    said = capsys.readouterr().out
    assert "not counted is what goes round this: a layer declares what it hides" in said
    assert "exactly" not in said


def test_what_is_printed_says_which_number_is_which(data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    named = [("fgsm", FGSM(BALL)), ("pgd", PGD(BALL, steps=3))]
    plan = planned({"net": small_network()}, data, named, EvaluationConfig())
    show_plan(plan, json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "exactly 16" in said
    assert "at most 48" in said
    assert "passes time" in said
    assert "about at most" in said
    assert "the audit takes at most 15 % on top" in said
    assert f"looking for what the model hides {plan.search:,} passes" in said
    show_plan(plan, json=True)
    told = json.loads(capsys.readouterr().out)
    assert [line["exact"] for line in told["attacks"]] == [True, False]
    assert told["search_passes"] == plan.search
    assert isinstance(plan, Plan)


def test_classes_count(data):
    """DeepFool takes a gradient for each class, and the network has four."""
    attack = DeepFool(Linf(0.1), steps=5)
    assert passes_of(attack, data.shape, 4).most < passes_of(attack, data.shape, 10).most
    (line,) = planned({"n": small_network()}, data, [("d", attack)], EvaluationConfig()).lines
    assert line.passes == 8 * passes_of(attack, data.shape, 4).most


def test_a_forecast_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    passes_of(PGD(BALL, steps=2), (1, 6, 6))
    assert torch.equal(state, torch.get_rng_state())
