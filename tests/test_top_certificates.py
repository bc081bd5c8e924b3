"""Certificates that a label is among the k first classes (Jia et al. 2020)."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from holdfast import L2, EvaluationConfig, evaluate, goals, metrics
from holdfast.attacks import PGD
from holdfast.bundle import Verdict, verify, write_bundle
from holdfast.certify import (
    ABSTAIN,
    CertificationConfig,
    ClopperPearson,
    Hoeffding,
    Sampling,
    Sequential,
    TwoSample,
    Within,
    audit_certificates,
    certify,
    certify_images,
    cohen_radius,
    top_certificates,
    top_radius,
)
from holdfast.certify.bounds.top import levelled
from holdfast.certify.rows import cells_of
from holdfast.certify.top import check_top_draws
from holdfast.cli.main import run as main
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import (
    ContradictionError,
    DamagedFileError,
    InputError,
    LaterVersionError,
    OutputError,
)
from holdfast.evaluation.asking import Asker
from holdfast.files import read_json, read_table, write_json
from holdfast.report.page import build
from holdfast.results import read_about, read_rows, schema
from holdfast.results.reading import digest, digest_of
from holdfast.statistics import beyond_chance
from tests.toys import Linear, images, random_linear

CLASSES = 7
SEEDS = st.integers(0, 2**32 - 1)


def line(rng, pieces=30):
    """A classifier of the line: thresholds, and the class of each piece between them."""
    return np.sort(rng.normal(size=pieces)), rng.integers(0, CLASSES, pieces + 1)


def masses(cuts, classes, x):
    """(K,) the exact probability of each class under N(x, 1)."""
    ends = ndtr(np.concatenate([[-np.inf], cuts - x, [np.inf]]))
    return np.bincount(classes, np.diff(ends), CLASSES)


def k_largest(masses, label, k):
    return np.sort(np.delete(masses, label))[::-1][:k]


@given(SEEDS, st.integers(1, CLASSES - 1))
def test_no_step_within_the_radius_takes_the_label_out_of_the_first_k(seed, k):
    """The probabilities of a classifier of the line are known exactly, wherever one goes."""
    rng = np.random.default_rng(seed)
    cuts, classes = line(rng)
    here = masses(cuts, classes, 0.0)
    for label in range(CLASSES):
        p1, others = np.array([here[label]]), k_largest(here, label, k)[None]
        radius = top_radius(p1, others, 1.0)[0]
        if not radius:
            continue
        for x in min(radius, 8) * np.linspace(-1, 1, 41):
            there = masses(cuts, classes, x)
            assert (np.delete(there, label) > there[label] + 1e-12).sum() < k


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("p1", [0.2, 0.5, 0.9])
def test_no_larger_radius_is_true_where_the_others_are_alike(p1, k):
    """The label on the far left, and k others in turn on the far right: they overtake at R."""
    total = min(0.9 * (1 - p1), 0.6 * k * p1)
    radius = top_radius(np.array([p1]), np.full((1, k), total / k), 1.0)[0]

    def lead(x):
        label = ndtr(ndtri(p1) - x)
        tail = np.linspace(-ndtri(total), 9, 20_001)  # cells so small that each other has its share
        shares = [np.diff(ndtr(tail - x))[place::k].sum() for place in range(k)]
        return label - min(shares)

    assert lead(0.99 * radius) > 0 > lead(1.01 * radius)


@given(SEEDS)
def test_for_the_first_class_it_is_cohens(seed):
    rng = np.random.default_rng(seed)
    p1, p2 = rng.random(20), rng.random(20)
    assert (top_radius(p1, p2[:, None], 0.5) == cohen_radius(p1, p2, 0.5)).all()


@given(SEEDS, st.integers(2, 6))
def test_more_classes_and_lower_limits_never_make_it_smaller(seed, k):
    rng = np.random.default_rng(seed)
    p1 = rng.random(20)
    others = np.sort(rng.random((20, k)) ** 3, axis=1)[:, ::-1]
    radius = top_radius(p1, others, 1.0)
    slack = 1e-9
    assert (top_radius(p1, others[:, :-1], 1.0) <= radius + slack).all()
    assert (cohen_radius(p1, others[:, -1], 1.0) <= radius + slack).all()  # by the k-th alone
    assert (top_radius(p1, 0.9 * others, 1.0) >= radius - slack).all()
    assert (top_radius(0.9 * p1, others, 1.0) <= radius + slack).all()
    assert (top_radius(p1, others[:, ::-1], 1.0) == radius).all()
    assert top_radius(p1, others, 0.25) == pytest.approx(radius / 4)


@given(SEEDS, st.integers(2, 6))
def test_it_solves_the_equation_of_theorem_1(seed, k):
    """At R the label has what the t others have that are the least of a threat, for some t."""
    rng = np.random.default_rng(seed)
    p1 = rng.uniform(0.05, 0.95, 20)
    limits = levelled(p1, rng.random((20, k)))
    radius = top_radius(p1, limits, 1.0)
    sums, t = limits.cumsum(axis=1), np.arange(1, k + 1)
    others = (ndtr(ndtri(sums) + radius[:, None]) / t).min(axis=1)
    label = ndtr(ndtri(p1) - radius)
    some = radius > 0
    assert label[some] == pytest.approx(others[some], rel=1e-6)
    assert (label[~some] <= others[~some] + 1e-9).all()


@given(SEEDS, st.integers(1, 6))
def test_no_probabilities_below_the_limits_have_larger_least_sums(seed, k):
    rng = np.random.default_rng(seed)
    p1, others = rng.random(1), rng.random((1, k)) ** 2
    limits = levelled(p1, others)[0]
    assert (limits <= np.sort(others[0]) + 1e-15).all()
    assert limits.sum() <= 1 - p1[0] + 1e-12
    drawn = rng.random((500, k)) * others
    drawn *= np.minimum(1, (1 - p1) / drawn.sum(axis=1, keepdims=True))
    assert (np.sort(drawn, axis=1).cumsum(axis=1) <= limits.cumsum() + 1e-12).all()


def test_closed_forms():
    """One limit for all: the others share 1 - p1, and at t = k only the label's own counts."""
    p1, k = np.array([0.3, 0.6, 0.95]), 5
    radius = top_radius(p1, np.ones((3, k)), 1.0)
    share = (1 - p1) / k
    assert (radius >= (ndtri(p1) - ndtri(share)) / 2).all()
    # Φ(a - R) = Φ(R - a)/k gives Φ(R - a) = k / (k + 1).
    assert radius == pytest.approx(ndtri(p1) + ndtri(k / (k + 1)))
    assert top_radius(np.array([1 / 6, 0.17]), np.ones((2, k)), 1.0) == pytest.approx(
        [0, ndtri(0.17) - ndtri(1 / 6)], abs=1e-9
    )
    assert top_radius(np.array([1.0, 0.5]), np.array([[0.0, 0.0], [0.5, 0.0]]), 1.0).tolist() == [
        np.inf,
        np.inf,
    ]


@pytest.mark.parametrize(
    ("p1", "others", "sigma", "words"),
    [
        ([0.5], [[1.2]], 1.0, "must be probabilities"),
        ([np.nan], [[0.2, 0.1]], 1.0, "must be probabilities"),
        ([0.5], [[0.2, np.nan]], 1.0, "must be probabilities"),
        ([0.5], [[0.2]], 0.0, "sigma must be a positive number"),
        ([0.5], [[]], 1.0, r"must have \(N,\) and \(N, k\)"),
    ],
)
def test_bad_input(p1, others, sigma, words):
    with pytest.raises(InputError, match=words):
        top_radius(np.array(p1), np.array(others), sigma)


class TestFromVotes:
    #: Of classes in order; the label is the second, the third or, wrongly, the fourth.
    LAWS = (
        [0.3, 0.28, 0.22, 0.1, 0.06, 0.04],
        [0.2, 0.2, 0.2, 0.2, 0.1, 0.1],
        [0.5, 0.2, 0.2, 0.05, 0.05, 0.0],
    )

    @pytest.mark.parametrize("interval", [ClopperPearson, TwoSample])
    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("k", [2, 3])
    def test_wrong_certificates_are_as_rare_as_promised(self, interval, law, k):
        """A radius is wrong if it is above that of the true probabilities."""
        rng, law = np.random.default_rng(0), np.array(law)
        trials, confidence = 4000, 0.8
        counts = rng.multinomial(100, law, trials)
        for label in range(4):
            others = k_largest(law, label, k)
            true = top_radius(law[label : label + 1], others[None], 1.0)[0]
            found = top_certificates(
                Sampling(counts), np.full(trials, label), k, interval(confidence), 1.0
            )
            wrong = (found.radius > true).mean() if true > 0 else (~found.abstained).mean()
            assert wrong <= 0.2 + 3 * np.sqrt(0.16 / trials)

    def test_more_votes_certify_more_and_the_others_votes_help(self):
        counts = np.array([[300, 200, 150, 100, 50, 50, 50, 50, 50]])
        radii = {
            (interval, times): top_certificates(
                Sampling(times * counts), np.array([0]), 3, interval(0.99), 1.0
            ).radius[0]
            for interval in (ClopperPearson, TwoSample)
            for times in (1, 100)
        }
        for interval in (ClopperPearson, TwoSample):
            assert 0 < radii[interval, 1] < radii[interval, 100]
        assert radii[ClopperPearson, 100] > radii[TwoSample, 100]

    def test_the_limits_are_binomial_ones_of_k_plus_one(self):
        found = ClopperPearson(0.95).of_label(Sampling(np.array([[3, 90, 7]])), np.array([1]), 1)
        same = ClopperPearson(0.95).of_label(Sampling(np.array([[3, 7, 90]])), np.array([2]), 1)
        assert found.p1 == same.p1 < 0.9
        assert found.others[0, 0] == same.others[0, 0] > 0.07
        alone = TwoSample(0.975).of_label(Sampling(np.array([[3, 90, 7]])), np.array([1]), 1)
        assert found.p1 == alone.p1  # half of the error each

    def test_abstention_has_no_radius_and_radii_are_divided_behind_a_layer(self):
        counts = np.array([[70, 20, 10], [10, 20, 70]])
        found = top_certificates(Sampling(counts), np.array([0, 0]), 2, ClopperPearson(0.95), 1.0)
        assert found.prediction.tolist() == [0, ABSTAIN]
        assert found.radius[0] > 0 == found.radius[1]
        half = top_certificates(
            Sampling(counts), np.array([0, 0]), 2, ClopperPearson(0.95), 1.0, lipschitz=2.0
        )
        assert half.radius == pytest.approx(found.radius / 2, abs=2e-6)

    def test_what_cannot_be_is_told(self):
        sampling = Sampling(np.array([[70, 20, 10]]))
        for label, top, interval, words in (
            (0, 2, Hoeffding, "give the interval two-sample or clopper-pearson"),
            (0, 3, TwoSample, "top is 3, but the votes are for 3 classes"),
            (3, 2, TwoSample, "must be one of the classes 0 to 2"),
        ):
            with pytest.raises(InputError, match=words):
                top_certificates(sampling, np.array([label]), top, interval(0.95), 1.0)
        check_top_draws(5, ClopperPearson(0.999), classes=10, top=5)
        with pytest.raises(InputError, match="give votes of at least 5"):
            check_top_draws(4, ClopperPearson(0.999), classes=10, top=5)


def cut_line(points, size=4):
    """A linear classifier whose class is the interval that the first pixel lies in."""
    slopes = torch.arange(len(points) + 1.0)
    offsets = -torch.cat([torch.zeros(1), torch.tensor(points).cumsum(0)])
    return Linear(torch.nn.functional.pad(slopes[:, None], (0, size - 1)), offsets)


def ranks(points, at, sigma):
    """(K,) the exact probabilities of its classes under noise around a first pixel."""
    ends = np.concatenate([[-np.inf], points, [np.inf]])
    return np.diff(ndtr((ends - at) / sigma))


POINTS, SIGMA, K = (0.2, 0.4, 0.6, 0.8), 0.2, 2
INTERVALS = ((TwoSample, "two-sample"), (ClopperPearson, "clopper-pearson"))


@pytest.fixture(scope="module")
def linear():
    """A linear classifier, images and labels, most of which are not its first answer."""
    return cut_line(POINTS), images(60, (1, 2, 2)), torch.arange(60) % 5


def config_of(**more):
    given = {"sigma": SIGMA, "votes": 2000, "top": K, "radii": (0.05,)}
    intervals = ("two-sample", "clopper-pearson")
    return CertificationConfig(**{**given, "intervals": intervals, **more})


@pytest.fixture(scope="module")
def finished(linear, tmp_path_factory):
    out = tmp_path_factory.mktemp("top") / "run"
    return certify(*linear, config=config_of(audit=float("inf")), out=out), out


class TestOfARun:
    def test_a_linear_classifier_is_certified_within_its_true_radius(self, linear, finished):
        """Only the first pixel counts, and how far it must go is known exactly."""
        rows, x = finished[0].rows, linear[1][:, 0, 0, 0].double().numpy()
        wrong = certified = 0
        steps = np.linspace(-1, 1, 401)
        for row in rows[rows["prediction"] >= 0].itertuples():
            assert row.prediction == row.label
            certified += 1
            there = np.array([ranks(POINTS, x[row.index] + s * row.radius, SIGMA) for s in steps])
            wrong += ((there > there[:, [row.label]]).sum(axis=1) >= K).any()
        assert certified > 25
        assert wrong <= 0.1 * certified  # each with 95 % confidence, on its own

    @pytest.mark.parametrize(("interval", "name"), INTERVALS)
    def test_the_votes_of_an_image_alone_give_what_a_run_says(
        self, linear, finished, interval, name
    ):
        model, x, label = linear
        votes = certify_images(model, x, sigma=SIGMA, votes=2000, interval=interval)
        apart = top_certificates(votes.sampling, label.numpy(), K, interval(0.95), SIGMA)
        at_once = certify_images(
            model, x, label, top=K, sigma=SIGMA, votes=2000, interval=interval, bound=cohen_radius
        )
        rows = finished[0].rows
        rows = rows[rows["interval"] == name].sort_values("index")
        for found in (apart, at_once):
            assert found.radius.tolist() == rows["radius"].tolist()
            assert found.prediction.tolist() == rows["prediction"].tolist()
        assert at_once.sampling.choice is None

    def test_behind_a_layer_its_radii_are_divided(self):
        """A first layer that doubles x, with noise of twice the size behind it."""
        x, label = images(6, (1, 2, 2)), torch.arange(6) % 4
        double = torch.nn.Linear(4, 4, bias=False)
        double.weight.data = 2 * torch.eye(4)
        model = torch.nn.Sequential(torch.nn.Flatten(), double, random_linear(4, 4)).eval()
        given = {"sigma": 0.2, "votes": 500, "noise": "first-layer"}
        votes = certify_images(model, x, **given)
        found = certify_images(model, x, label, top=2, **given)
        on_its_scale = top_certificates(votes.sampling, label.numpy(), 2, TwoSample(0.95), 0.2)
        assert on_its_scale.radius.any()
        assert found.radius == pytest.approx(on_its_scale.radius / 2, rel=1e-3)

    def test_cells_count_labels_and_selection_votes_are_not_drawn(self, finished):
        found = finished[0]
        by_interval = found.rows.groupby("interval", sort=False)
        for cell, (_, rows) in zip(found.cells, by_interval, strict=True):
            assert cell["top"] == K
            assert cell["accuracy"] == (rows["prediction"] == rows["label"]).mean()
            assert cell["forwards"] == cell["draws"] == 60 * 2000
        assert "choice" not in found.rows
        assert "certified top-2 accuracy" in str(found.summary())

    def test_more_is_certified_among_more_classes(self, linear, finished):
        alone = certify(*linear, config=config_of(top=1, intervals=("clopper-pearson",), audit=0))
        assert "top" not in alone.cells[0]
        assert alone.cells[0]["accuracy"] < finished[0].cells[1]["accuracy"] <= 1

    def test_the_audit_finds_no_attack_inside_and_nothing_to_blame(self, finished):
        checks = {check.id: check for check in finished[0].audit.checks}
        assert not [one.id for one in checks.values() if one.verdict == "fail"]
        assert checks["S-attack"].verdict == checks["S-recount"].verdict == "pass"

    def test_a_report_shows_it_by_itself(self, finished, attacked, tmp_path):
        for runs in ([finished[1]], [finished[1], attacked["margin"]]):
            page = build(runs, tmp_path / f"report-{len(runs)}").read_text()
            assert "Certified top-2 accuracy of" in page
            assert "among the first 2 classes" in page
            assert "Jia, X. Cao" in page
            assert "Nothing is certified: what" not in page
            assert f'"top":{K}' in page
            assert f"no attack here is on the first {K} classes" in page

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"top": 5}, "of 5 classes every label is among"),
            ({"top": 0}, "top is 0, but must be at least 1"),
            ({"bounds": ("cohen", "renyi")}, "only that of cohen is known"),
            ({"intervals": ("hoeffding",)}, "two-sample or clopper-pearson"),
            ({"intervals": ("sequential",)}, "two-sample or clopper-pearson"),
            ({"noise": "laplace"}, "the bound 'cohen' is about"),
            ({"votes": 1, "confidence": 0.999}, "give votes of at least"),
        ],
    )
    def test_what_cannot_be_is_told_before_any_work(self, linear, change, words):
        with pytest.raises(InputError, match=words):
            certify(*linear, config=config_of(**change))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"top": 1}, "give top of at least 2, or leave y out"),
            ({"y": None}, "give the labels"),
            ({"y": torch.full((60,), 5)}, "must be one of the classes 0 to 4"),
            ({"top": 5}, "of 5 classes every label is among"),
            ({"top": 0}, "top is 0, but must be at least 1"),
            ({"bound": "renyi"}, "only that of cohen is known"),
            ({"interval": Hoeffding}, "two-sample or clopper-pearson"),
            ({"interval": Sequential, "until": Within(0.5)}, "two-sample or clopper-pearson"),
            ({"noise": "laplace"}, "the bound 'cohen' is about"),
            ({"votes": 1, "confidence": 0.999}, "give votes of at least"),
        ],
    )
    def test_what_cannot_be_of_images_is_told(self, linear, change, words):
        model, x, label = linear
        with pytest.raises(InputError, match=words):
            certify_images(model, x, **{"y": label, "top": K, "sigma": SIGMA, **change})


def proven_again(rows):
    """Rows with what their votes prove of their labels."""
    counts = np.zeros((len(rows), 5), dtype=np.int64)
    for place, text in enumerate(rows["votes"]):
        for pair in text.split():
            name, _, votes = pair.partition(":")
            counts[place, int(name)] = int(votes)
    rows = rows.reset_index(drop=True)
    for interval, name in INTERVALS:
        mine = (rows["interval"] == name).to_numpy()
        label, top = rows.loc[mine, "label"].to_numpy(), int(rows["top"].iloc[0])
        found = top_certificates(Sampling(counts[mine]), label, top, interval(0.95), SIGMA)
        for column in ("prediction", "abstained", "radius", "p1", "p2"):
            rows.loc[mine, column] = getattr(found, column)
    return rows


def forged(run, to, rows=None, settings=None, cells=None):
    """A copy of a run that says something else, with digests to fit."""
    shutil.copytree(run, to)
    about, table = read_json(to / "run.json"), read_table(to / "rows.csv")
    table = table if rows is None else rows(table)
    table.to_csv(to / "rows.csv", index=False)
    about["rows_sha256"] = digest((to / "rows.csv").read_bytes())
    about["settings"] |= settings or {}
    if cells is not None:
        about["cells"] = cells(table, about)
    about["sha256"] = digest_of({name: about[name] for name in about if name != "sha256"})
    write_json(to / "run.json", about)
    return to


#: Names of attacks, and what each aims at; by name a run of it.
AIMS = {"margin": goals.margin, "out": goals.TopMargin(K)}
SIZES = (0.05, 0.6)


@pytest.fixture(scope="module")
def attacked(linear, tmp_path_factory):
    model, *given = linear
    noisy = torch.nn.Sequential(GaussianNoise(SIGMA), model)
    how = EvaluationConfig(hidden=False, audit=0, votes=200, samples=4, attack_all=True)
    folder = tmp_path_factory.mktemp("attacked")
    for name, goal in AIMS.items():
        attacks = {f"{name}-{eps}": PGD(L2(eps), steps=5, goal=goal) for eps in SIZES}
        evaluate(noisy, *given, attacks, config=how, out=folder / name)
    return {name: folder / name for name in AIMS}


def of_votes(run, interval="clopper-pearson"):
    """The rows of a certification by one interval."""
    rows = read_rows(run)
    return rows[rows["interval"] == interval]


class TestAgainstAttacks:
    def test_classes_are_ahead_as_their_votes_say(self, linear, attacked):
        """Which two hundred votes leave no doubt of; the fewest against none are ten."""
        rows = read_rows(attacked["out"])
        assert (rows["ahead"] <= rows["rank"]).all()
        assert {0, 1, 2} <= set(rows["ahead"])
        assert beyond_chance([9, 10], 0).tolist() == [False, True]
        lead, label = rows["votes_for_prediction"], rows["votes_for_label"]
        assert ((rows["ahead"] > 0) == beyond_chance(lead, label)).all()
        model, x, y = linear
        asker = Asker(model, Data.of(x, y), seed=0, votes=1, batch_size=8)
        by_one_vote = asker.of_clean(asker.batch(torch.arange(60)))
        assert not by_one_vote.ahead.any()

    @pytest.mark.parametrize("name", AIMS)
    def test_no_true_certificate_is_contradicted(self, finished, attacked, name):
        rows, proven = read_rows(attacked[name]), of_votes(finished[1])
        broken, tested = metrics.broken_certificates(rows, proven)
        assert broken == 0 < tested
        assert not len(metrics.overclaimed(rows, proven))

    def test_who_loses_the_first_class_alone_contradicts_nothing(self, finished, attacked):
        """Though certificates of the first class would be contradicted by the same rows."""
        rows, proven = read_rows(attacked["margin"]), of_votes(finished[1])
        rows = rows[rows["ahead"] < K]
        assert metrics.broken_certificates(rows, proven)[0] == 0
        assert metrics.broken_certificates(rows, proven.drop(columns="top"))[0] > 0

    @pytest.mark.parametrize("name", AIMS)
    def test_a_planted_false_certificate_is_found_whatever_the_aim(self, attacked, finished, name):
        rows = read_rows(attacked[name])
        out = rows[(rows["ahead"] >= K) & (rows["l2"] > 0)]
        image = out["index"].iloc[0]
        proven = of_votes(finished[1])
        planted = proven.assign(
            prediction=proven["prediction"].where(proven["index"] != image, proven["label"]),
            radius=proven["radius"].where(proven["index"] != image, 10.0),
        )
        assert metrics.broken_certificates(rows, planted)[0] == 1
        assert metrics.broken_certificates(rows.assign(ahead=K - 1), planted)[0] == 0
        every = proven.assign(prediction=proven["label"], radius=10.0)
        assert metrics.broken_certificates(rows, every)[0] == out["index"].nunique()
        over = metrics.overclaimed(metrics.at_finite_sizes(rows[rows["attack"] != "clean"]), every)
        assert over["eps"].max() == max(SIZES)

    def test_rows_of_earlier_versions_and_of_few_votes_test_none(self, finished, attacked):
        rows, proven = read_rows(attacked["out"]), of_votes(finished[1])
        for none in (rows.drop(columns="ahead"), rows.assign(votes=10 * K - 1)):
            assert metrics.broken_certificates(none, proven) == (0, 0)
            assert not len(metrics.overclaimed(none, proven))
        enough = metrics.broken_certificates(rows.assign(votes=10 * K), proven)
        assert enough == metrics.broken_certificates(rows, proven)

    def test_the_page_and_the_audit_tell(self, linear, finished, attacked, tmp_path):
        runs = [finished[1], *attacked.values()]
        page = build(runs, tmp_path / "sound").read_text()
        said = f"Certificates (among the first {K} classes, cohen, clopper-pearson) contradicted"
        assert f"{said} by an attack: 0 of" in page
        assert "attacks contradict 0 of the" in page
        few = forged(attacked["out"], tmp_path / "few", lambda rows: rows.assign(votes=10 * K - 1))
        page = build([finished[1], few], tmp_path / "of-few").read_text()
        assert "attacks put none of these certificates to the test" in page
        every = forged(
            finished[1],
            tmp_path / "every",
            lambda rows: rows.assign(prediction=rows["label"], abstained=False, radius=10.0),
            cells=lambda rows, about: [
                {**cell, **again}
                for cell, again in zip(
                    about["cells"], metrics.certification_cells(rows, [0.05]), strict=True
                )
            ],
        )
        with pytest.raises(ContradictionError, match=f"among the first {K} classes, cohen"):
            build([every, *attacked.values()], tmp_path / "wrong")
        page = (tmp_path / "wrong" / "report.html").read_text()
        assert f"{said} by an attack: 0 of" not in page
        assert said in page
        model, data = linear[0], Data.of(*linear[1:])
        for run, verdict in ((finished[1], "pass"), (every, "fail")):
            found = audit_certificates(run, model, data, beside=[*attacked.values()], share=0)
            (check,) = (one for one in found.checks if one.id == "S-ceiling")
            assert check.verdict == verdict, check.said


def edited(which, **columns):
    """Rows, the first of which that are such, in both intervals, say something else."""

    def change(rows):
        image = rows.loc[which(rows), "index"].iloc[0]
        mine = (rows["index"] == image) & which(rows)
        return rows.assign(
            **{name: rows[name].mask(mine, value(rows)) for name, value in columns.items()}
        )

    return change


def cells_again(rows, about):
    """The cells of a run of other rows and settings."""
    again = cells_of(rows, config_of(top=about["settings"]["top"]), "model")
    return [{**cell, **one} for cell, one in zip(about["cells"], again, strict=True)]


def without_top(settings):
    """The cells of forged rows; those of the first class alone say no top."""
    if settings != {"top": None}:
        return cells_again
    return lambda rows, about: [
        {name: value for name, value in cell.items() if name != "top"} for cell in about["cells"]
    ]


#: Of a run without an audit, which would tell too: rows, settings, cells, and what is contradicted.
FORGERIES = {
    "a larger radius": (
        edited(lambda r: r["radius"] > 0, radius=lambda r: r["radius"] + 0.01),
        None,
        "radius is not what the votes prove",
    ),
    "an abstention that is right": (
        edited(
            lambda r: r["abstained"], prediction=lambda r: r["label"], abstained=lambda r: False
        ),
        None,
        "prediction is not what the votes prove",
    ),
    "a certificate that is an abstention": (
        edited(
            lambda r: r["radius"] > 0,
            prediction=lambda r: -1,
            abstained=lambda r: True,
            radius=lambda r: 0.0,
        ),
        None,
        "prediction is not what the votes prove",
    ),
    "another class than the label": (
        edited(lambda r: r["radius"] > 0, prediction=lambda r: (r["label"] + 1) % 5),
        None,
        "prediction is not what the votes prove",
    ),
    "votes that prove more": (
        edited(lambda r: r["abstained"], votes=lambda r: r["label"].astype(str) + ":2000"),
        None,
        "p1 is not what the votes prove",
    ),
    "limits of more classes": (lambda r: r.assign(top=3), {"top": 3}, "what the votes prove"),
    "limits of fewer classes": (
        lambda r: r.drop(columns="top"),
        {"top": None},
        "two-sample limits need draws that choose the class",
    ),
}


@pytest.fixture(scope="module")
def plain(linear, tmp_path_factory):
    """A run without an audit."""
    out = tmp_path_factory.mktemp("plain") / "run"
    certify(*linear, config=config_of(audit=0), out=out)
    assert not verify(out).contradictions
    return out


class TestForged:
    @pytest.mark.parametrize("name", FORGERIES)
    def test_what_votes_do_not_prove_is_contradicted(self, plain, tmp_path, name):
        """Though cells and digests follow the forged rows."""
        rows, settings, words = FORGERIES[name]
        run = forged(plain, tmp_path / "run", rows, settings, without_top(settings))
        told = " ".join(one.said for one in verify(run).contradictions)
        assert words in told

    @pytest.mark.parametrize("top", [None, 1, 3])
    @pytest.mark.parametrize("place", ["settings", "rows", "cells"])
    def test_another_k_in_one_place_is_no_run_of_holdfast(self, plain, tmp_path, top, place):
        """Whatever certificates there are: of none at all the votes would tell nothing."""
        nothing = top is None
        change = {
            "settings": {"settings": {"top": top}},
            "rows": {
                "rows": lambda rows: rows.drop(columns="top") if nothing else rows.assign(top=top)
            },
            "cells": {
                "cells": lambda rows, about: [
                    {name: value for name, value in {**cell, "top": top}.items() if value}
                    for cell in about["cells"]
                ]
            },
        }[place]
        run = forged(plain, tmp_path / "run", **change)
        (found,) = verify(run).contradictions
        assert "is not what Holdfast writes" in found.said
        assert "top" in found.said
        for read in (lambda: build([run], tmp_path / "report"), lambda: read_rows(run)):
            with pytest.raises(DamagedFileError, match="top"):
                read()

    def test_another_label_is_found_with_the_data(self, plain, linear, tmp_path):
        """The class of most votes, with all that would follow from it."""
        most = edited(
            lambda r: r["abstained"], label=lambda r: r["votes"].str.split(":").str[0].astype(int)
        )
        both = [plain, tmp_path / "run"]
        forged(*both, lambda rows: proven_again(most(rows)), cells=cells_again)
        given = {"models": linear[:1], "data": Data.of(*linear[1:])}
        assert not verify(both[1]).contradictions
        told = [" ".join(one.said for one in verify(run, **given).contradictions) for run in both]
        assert not told[0]
        assert "the label is not that of the data" in told[1]

    @pytest.mark.parametrize("by", [-1, 1])
    def test_classes_ahead_are_found_with_the_model(self, attacked, linear, tmp_path, by):
        """Which would hide that a certificate is broken, or feign it."""
        model, x, y = linear
        kept = edited(
            lambda r: (r["ahead"] > 1) & (r["rank"] > r["ahead"]) & (r["index"] < 16),
            ahead=lambda r: r["ahead"] + by,
        )
        run = forged(attacked["out"], tmp_path / "run", kept)
        assert not verify(run).contradictions
        given = {"models": [model], "data": Data.of(x, y)}
        assert not verify(attacked["out"], **given).contradictions
        told = " ".join(one.said for one in verify(run, **given).contradictions)
        assert "classes are ahead" in told


def test_who_does_not_know_these_certificates_refuses_them_alone(
    linear, finished, tmp_path, monkeypatch
):
    """Read as of the first class their radii would be far too large."""
    first = tmp_path / "first"
    certify(*linear, config=config_of(top=1, audit=0, intervals=("clopper-pearson",)), out=first)
    formats = [read_json(run / "run.json")["format"] for run in (first, finished[1])]
    assert formats == [2, 3]
    build([first, finished[1]], tmp_path / "report")  # on the same images, which is looked at
    write_bundle([finished[1]], tmp_path / "b.zip")
    monkeypatch.setattr(schema, "FORMAT", 2)
    assert not verify(first).of(Verdict.CONTRADICTED)
    for read in (
        lambda: read_about(finished[1]),
        lambda: build([first, finished[1]], tmp_path / "other"),
        lambda: verify(finished[1]),
        lambda: verify(tmp_path / "b.zip"),
        lambda: certify(*linear, config=config_of(), out=finished[1]),
    ):
        with pytest.raises(LaterVersionError, match="in format 3, and this version reads up to 2"):
            read()


def test_runs_of_before_there_was_top_are_the_same_runs(tmp_path):
    config = CertificationConfig(sigma=0.1)
    assert config.record()["top"] is None
    given = cut_line((0.3, 0.6)), images(8, (1, 2, 2)), torch.arange(8) % 3
    certify(*given, config=config, out=tmp_path / "run")
    about = read_json(tmp_path / "run" / "run.json")
    del about["settings"]["top"]
    about["sha256"] = digest_of({name: about[name] for name in about if name != "sha256"})
    write_json(tmp_path / "run" / "run.json", about)
    again = certify(*given, config=config, out=tmp_path / "run")
    assert len(again.rows) == 8
    with pytest.raises(OutputError, match="top"):
        certify(*given, config=replace(config, top=2), out=tmp_path / "run")
    write_bundle([tmp_path / "run"], tmp_path / "b")
    assert not verify(tmp_path / "b").of(Verdict.CONTRADICTED)


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = "train --model mlp --images 50 --epochs 1 --quiet --accelerator cpu --out net"
    assert main(train.split()) == 0
    line = "certify --model net --sigma 0.3 --images 20 --quiet --top 5 --out c"
    assert main(line.split()) == 0
    assert "certified top-5 accuracy" in " ".join(capsys.readouterr().out.split())
    assert read_json(tmp_path / "c" / "run.json")["settings"]["top"] == 5
    assert main([*line.split(), "--selection-votes", "100"]) == 2
