"""A bundle can be made again byte for byte, and whatever is changed in it is named."""

import io
import json
import shutil
import stat
import warnings
import zipfile
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig, Linf, evaluate
from holdfast.attacks import FGSM, PGD
from holdfast.auditing.verdict import Audit
from holdfast.bundle import Verdict, verify, write_bundle
from holdfast.bundle.archive import unpacked, write_archive
from holdfast.bundle.laws import LAWS, consistent
from holdfast.bundle.manifest import Manifest, checksum
from holdfast.bundle.numbers import numbers_apart
from holdfast.certify import CertificationConfig, certify
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import (
    DamagedFileError,
    HoldfastError,
    InputError,
    InputTypeError,
    OutputError,
)
from holdfast.evaluation import compare
from holdfast.evaluation.auditing.check import CHECKS
from holdfast.files import read_table, read_tensors, write_tensors
from holdfast.results.reading import digest, digest_of, read_csv
from tests.toys import images, small_network

N, KEPT = 24, 20

EVAL, CERT = "runs/eval", "runs/cert"


@pytest.fixture(scope="module")
def model():
    return small_network()


@pytest.fixture(scope="module")
def data(model):
    x = images(N)
    y = model(x).argmax(dim=1)
    y[::6] = (y[::6] + 1) % 4  # some are wrong without an attack
    return Data.of(x, y)


@pytest.fixture(scope="module")
def study(tmp_path_factory, model, data):
    """An evaluation and a certification of one network, and their bundle."""
    out = tmp_path_factory.mktemp("study")
    x, y = data.x(torch.arange(N)), data.y
    attacks = {"fgsm": FGSM(Linf(0.05)), "pgd": PGD(Linf(0.05), steps=3)}
    with chdir(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluate(model, x, y, attacks, out=EVAL, config=EvaluationConfig(keep_images=KEPT))
        config = CertificationConfig(sigma=0.1, votes=200, radii=(0.05,), bounds=("cohen", "renyi"))
        certify(model, x, y, config=config, out=CERT)
        write_bundle([Path(EVAL), Path(CERT)], Path("study.zip"), customer="who asked")
    return out


@pytest.fixture
def copied(study, tmp_path):
    """The runs, to be changed."""
    shutil.copytree(study / "runs", tmp_path / "runs")
    return tmp_path


def said(found, verdict):
    return [f"{one.where} {one.what}: {one.said}" for one in found.of(verdict)]


def forged(folder, rows=None, about=None):
    """Change a run by hand, and its digests as whoever wants to deceive does."""
    if rows is not None:
        table = read_table(folder / "rows.csv")
        rows(table)
        table.to_csv(folder / "rows.csv", index=False)
    content = json.loads((folder / "run.json").read_text())
    content.pop("sha256")
    if about is not None:
        about(content)
    content["rows_sha256"] = digest((folder / "rows.csv").read_bytes())
    content["sha256"] = digest_of(content)
    (folder / "run.json").write_text(json.dumps(content))


def kept(folder, change):
    """Change an image file of the second attack."""
    path = folder / "images" / "0002.00000.safetensors"
    tensors, about = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, about)


class TestBundle:
    def test_the_same_runs_make_the_same_bytes(self, study, tmp_path):
        with chdir(study):
            write_bundle([Path(EVAL), Path(CERT)], tmp_path / "again.zip", customer="who asked")
        assert (tmp_path / "again.zip").read_bytes() == (study / "study.zip").read_bytes()

    def test_names_that_a_table_takes_for_missing_values_are_names(self, tmp_path, model, data):
        x, y = data.x(torch.arange(8)), data.y[:8]
        names = ["NA", "nan", "null"]
        attacks = {name: PGD(Linf(0.05), steps=steps) for steps, name in enumerate(names, 1)}
        runs = [tmp_path / "runs" / name for name in names[:2]]
        with chdir(tmp_path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for out in runs:
                evaluate(model, x, y, attacks, name=out.name, out=out)
            write_bundle([out.relative_to(tmp_path) for out in runs], Path("study.zip"))
            assert not verify(Path("study.zip")).of(Verdict.CONTRADICTED)
            with zipfile.ZipFile("study.zip") as bundle:
                (name,) = (each for each in bundle.namelist() if each.endswith("/attacks.csv"))
                lines = [row.split(",") for row in bundle.read(name).decode().splitlines()[1:]]
        assert [(row[0], row[2]) for row in lines] == [(a, b) for a in names[:2] for b in names]
        titles = [line.title for line in compare(*runs).lines]
        assert titles[1:4] == [f"{name} linf 0.05" for name in names]

    def test_it_holds_what_an_auditor_asks_for(self, study):
        with zipfile.ZipFile(study / "study.zip") as archive:
            names = archive.namelist()
            report = archive.read("test-report.md").decode()
            manifest = json.loads(archive.read("manifest.json"))
            assert archive.read(f"{EVAL}/rows.csv") == (study / EVAL / "rows.csv").read_bytes()
        assert names == sorted(names)
        assert sorted([*manifest["files"], "manifest.json"]) == names
        assert {f"{EVAL}/run.json", "environment.json", "report/report.html"} < set(names)
        assert any(name.endswith(".pdf") for name in names)
        assert any(name.startswith(f"{EVAL}/images/") for name in names)
        letters = [line[4] for line in report.splitlines() if line.startswith("### ")]
        assert "".join(letters) == "abcdefghijklmnopabcde"  # 7.8.2.1 and 7.8.3.1
        assert "claims conformity with neither that standard nor any other" in report
        items = {
            part[:1]: part.partition("\n")[2].partition("\n## ")[0].strip()
            for part in report.split("### ")[1:17]
        }
        assert items["e"] == "who asked"
        assert {items[letter] for letter in "bhjop"} == {"not recorded"}
        assert "| pgd linf 0.05 |" in items["m"]
        assert "cohen, two-sample | l2 0.05 |" in items["m"]

    def test_it_is_never_overwritten(self, study):
        before = (study / "study.zip").read_bytes()
        with pytest.raises(OutputError, match=r"study.zip is there, and is not overwritten"):
            write_bundle([study / EVAL], study / "study.zip")
        assert (study / "study.zip").read_bytes() == before

    def test_what_killed_processes_left_of_it_is_removed(self, study, tmp_path):
        left, other = tmp_path / ".a.zip.0f1e2d3c.tmp", tmp_path / ".b.zip.0f1e2d3c.tmp"
        other.write_text("of another one, which somebody may be writing")
        left.write_text("PK")
        write_bundle([study / EVAL], tmp_path / "a.zip")
        assert {path.name for path in tmp_path.iterdir()} == {"a.zip", other.name}
        left.write_text("PK")  # killed once the bundle was in its place
        with pytest.raises(OutputError, match="is there, and is not overwritten"):
            write_bundle([study / EVAL], tmp_path / "a.zip")
        assert {path.name for path in tmp_path.iterdir()} == {"a.zip", other.name}

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("runs", "options", "words"),
        [
            ([EVAL], {"title": 5}, "title is 5, but must be text"),
            ([EVAL], {"customer": b"who"}, "customer is b'who', but must be text or None"),
            (EVAL, {}, r"runs is 'runs/eval', but must be a list of folders; give \['runs/eval'\]"),
            (Path(EVAL), {}, "but must be a list of folders"),
            ([5], {}, r"runs is \[5\], but must be a list"),
        ],
    )
    def test_what_is_no_argument_is_refused_in_its_own_words(
        self, study, tmp_path, runs, options, words
    ):
        with chdir(study), pytest.raises(InputTypeError, match=words):
            write_bundle(runs, tmp_path / "study.zip", **options)
        assert not any(tmp_path.iterdir())

    def test_what_it_cannot_hold_is_refused_before_anything_is_written(self, study, tmp_path):
        shutil.copytree(study / EVAL, tmp_path / "run")
        (tmp_path / "run" / "rows.csv").unlink()
        (tmp_path / "run" / "rows.csv").symlink_to("/etc/passwd")
        with pytest.raises(InputError, match="is not a file of the run itself"):
            write_bundle([tmp_path / "run"], tmp_path / "study.zip")
        (tmp_path / "run" / "run.json").write_text(
            '{"kind": "evaluate", "complete": false, "settings": {}}'
        )
        with pytest.raises(InputError, match="is not finished"):
            write_bundle([tmp_path / "run"], tmp_path / "study.zip")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


class TestVerify:
    def test_what_nobody_changed_holds_and_what_it_could_not_check_it_says(self, study):
        found = verify(study / "study.zip")
        assert said(found, Verdict.CONTRADICTED) == []
        held = " ".join(said(found, Verdict.HOLDS))
        for words in (
            "files have their SHA-256",
            f"{EVAL}/run.json cells",
            f"{EVAL}/rows.csv rows",
            f"{EVAL}/images images: {2 * KEPT} adversarial images",
            f"{CERT}/rows.csv certificates: limits, classes and radii of {2 * N} rows",
            "made of the runs are the same, made again",
        ):
            assert words in held
        left = " ".join(said(found, Verdict.UNCHECKED))
        for words in (
            "compare its SHA-256 with the one that its author gave",
            f"{2 * (N - KEPT)} of {2 * N} rows under attack have no image kept",
            "could have been edited together with their digests: it was not given",
            "checks need more than the rows",
        ):
            assert words in left

    def test_with_the_model_answers_and_votes_hold(self, study, model, data):
        found = verify(study / EVAL, models=[model], data=data)
        assert said(found, Verdict.CONTRADICTED) == []
        held = " ".join(said(found, Verdict.HOLDS))
        assert f"clean: the model answers {N} images as written" in held
        assert "pgd linf 0.05: the model answers" in held
        found = verify(study / CERT, models=[model], data=data)
        assert said(found, Verdict.CONTRADICTED) == []
        assert f"draws give the votes of {N} images again" in " ".join(said(found, Verdict.HOLDS))
        few = verify(study / CERT, models=[model], data=data, passes=3 * 300)
        assert f"{N - 3} of {N} images were not drawn again" in " ".join(
            said(few, Verdict.UNCHECKED)
        )

    def test_noise_in_front_is_put_there_again(self, tmp_path, model, data):
        """The network is given; where its runs had noise, and of which kind, they say."""
        x, y = data.x(torch.arange(N)), data.y
        config = EvaluationConfig(votes=20, samples=2, audit=0.0)
        noisy = nn.Sequential(GaussianNoise(0.1), model)
        evaluate(noisy, x, y, [PGD(Linf(0.05), steps=2)], config=config, out=tmp_path / "eval")
        found = verify(tmp_path / "eval", models=[model], data=data)
        assert said(found, Verdict.CONTRADICTED) == []
        assert f"clean: the model answers {N} images" in " ".join(said(found, Verdict.HOLDS))

    def test_radii_behind_a_first_layer_need_the_model(self, tmp_path, model, data):
        x, y = data.x(torch.arange(N)), data.y
        config = CertificationConfig(sigma=0.1, noise="first-layer", votes=100, audit=0.0)
        certify(model, x, y, config=config, out=tmp_path / "cert")
        found = verify(tmp_path / "cert")
        assert said(found, Verdict.CONTRADICTED) == []
        assert "divided by a bound of the network's first" in " ".join(
            said(found, Verdict.UNCHECKED)
        )
        forged(tmp_path / "cert", certify_farther)
        named = " ".join(said(verify(tmp_path / "cert"), Verdict.CONTRADICTED))
        assert "radius" not in named
        found = verify(tmp_path / "cert", models=[model], data=data)
        assert "radius is not what the votes prove in 1 rows" in " ".join(
            said(found, Verdict.CONTRADICTED)
        )

    def test_rows_that_are_missing_are_told_as_such(self, copied):
        (copied / EVAL / "rows.csv").unlink()
        (found,) = verify(copied / EVAL).contradictions
        assert "rows.csv is not there: put its copy back" in found.said

    def test_another_model_or_other_images_are_named(self, study, model, data):
        found = verify(study / EVAL, models=[small_network(seed=1)], data=data)
        assert "none of the runs is about the model" in found.sentence
        others = Data.of(1 - data.x(torch.arange(N)), data.y)
        found = verify(study / EVAL, models=[model], data=others)
        assert "images or labels that were given are others" in found.sentence

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (lambda model, data: {"models": model, "data": data}, r"give models=\[model\]"),
            (lambda model, data: {"models": ["net"], "data": data}, "models is"),
            (
                lambda model, data: {"models": [model], "data": (data.x(torch.arange(N)), data.y)},
                r"data is a tuple, .*Data.of\(x, y\)",
            ),
            (lambda model, data: {"manifest": 5}, "manifest is 5"),
            (lambda model, data: {"manifest": "not a checksum"}, "a SHA-256 has 64 digits"),
            (lambda model, data: {"manifest": ""}, "a SHA-256 has 64 digits"),
        ],
    )
    def test_what_is_no_argument_is_one_sentence(self, study, model, data, given, words):
        with pytest.raises(InputError if "64" in words else InputTypeError, match=words) as refused:
            verify(study / "study.zip", **given(model, data))
        assert str(refused.value).count(". ") == 0

    def test_models_need_images(self, study, model):
        with pytest.raises(InputError, match="models are given and no data"):
            verify(study / EVAL, models=[model])

    @pytest.mark.parametrize("passes", [0, 100, 299])
    def test_passes_that_are_none_for_an_image_draw_nothing_and_say_so(
        self, study, model, data, passes
    ):
        """An image takes 200 votes and 100 that choose its class."""
        found = verify(study / CERT, models=[model], data=data, passes=passes)
        assert said(found, Verdict.CONTRADICTED) == []
        (told,) = (one.said for one in found.unchecked if one.what == "votes")
        assert told == "no votes were drawn again: --passes is less than the 300 of an image."

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("passes", [-5, float("nan"), "many"])
    def test_passes_that_are_no_number_of_passes_are_refused(self, study, model, data, passes):
        with pytest.raises(InputError if passes != "many" else InputTypeError, match="passes is"):
            verify(study / CERT, models=[model], data=data, passes=passes)

    def test_images_need_models(self, study, data):
        """As on the command line; what is given is never passed over in silence."""
        with pytest.raises(InputError, match="data are given and no models"):
            verify(study / EVAL, data=data)


def flip_fooled(rows):
    rows.loc[rows["attack"] == "pgd", "fooled"] ^= rows["index"] == 3


def certify_farther(rows):
    rows.loc[rows["radius"].idxmax(), "radius"] += 0.01


def certify_nearer(rows):
    rows.loc[rows["radius"].idxmax(), "radius"] -= 0.01


def count_others(rows):
    votes = rows["votes"].str.extract(r"^(\d+):(\d+)")
    place = rows.index[votes[1].astype(int).lt(200)][0]
    first, count = votes.loc[place]
    text = rows.loc[place, "votes"]
    second = text.split()[1].partition(":")
    text = text.replace(f"{first}:{count}", f"{first}:{int(count) + 1}", 1)
    less = f"{second[0]}:{int(second[2]) - 1}"
    rows.loc[place, "votes"] = text.replace("".join(second), less, 1)


def leave_the_ball(rows):
    rows.loc[rows.index[-1], ["linf", "l2", "l1"]] = [0.06, 0.3, 1.5]


def shorten(rows):
    """Clean images are half as long, so that perturbations are twice as large beside them."""
    rows["x_l2"] /= 2


def lose_losses(rows):
    rows["loss"] = float("nan")


def lose_a_column(rows):
    rows.pop("x_l2")


def rank_higher(rows):
    rows.loc[rows["rank"] > 1, "rank"] = 1


def fall_to_magic(rows):
    rows.loc[rows["by"] == "pgd", "by"] = "magic"


def attack_farther(about):
    one = about["settings"]["attacks"][1]
    one["attack"] = one["attack"].replace("eps=0.05", "eps=0.9")


def attack_in_another_norm(about):
    one = about["settings"]["attacks"][1]
    one["attack"] = one["attack"].replace("Linf(", "L2(")


def put_noise_in_front(about):
    about["settings"] |= {"sigma": 0.25, "noise": "gaussian"}


def vote(about):
    about["settings"] |= {"sigma": 0.25, "noise": "gaussian", "stochastic": True}


def attack_all(about):
    about["settings"]["attack_all"] = True


def raise_accuracy(about):
    about["cells"][1]["robust_accuracy"] += 0.01


def believe(about):
    about["audit"]["verdict"] = "believable"
    about["audit"]["sentence"] = "believable: 40 checks pass and none fails (0 were not run)."


def pass_a_check(about):
    check = next(one for one in about["audit"]["checks"] if one["id"] == "C14")
    check["value"] = 0.0


def leave_out_what_fails(about):
    """Of the audit, and let its word and sentence follow from what is left."""
    audit = about["audit"]
    audit["checks"] = [one for one in audit["checks"] if one["verdict"] in ("pass", "not run")]
    again = Audit.of_record(audit)
    audit["verdict"], audit["sentence"] = again.word, again.sentence


def judge_otherwise(about):
    """A check that asked the model, and that no row tells of, says what its value does not."""
    audit = about["audit"]
    asked = [name for name, one in CHECKS.items() if one.asks_the_model]
    one = next(one for one in audit["checks"] if one["id"] in asked and one["verdict"] == "pass")
    one["verdict"] = "warn"
    again = Audit.of_record(audit)
    audit["verdict"], audit["sentence"] = again.word, again.sentence


def check_twice(about):
    about["audit"]["checks"].append(about["audit"]["checks"][0])


def say_otherwise(about):
    check = next(one for one in about["audit"]["checks"] if one["id"] == "C14")
    check["said"] = "all is well."


def audit_a_larger_ball(about):
    about["audit"]["about"] = "linf 0.5: 24 of 24 images are left robust"


def pass_up_to_more(about):
    about["audit"]["checks"][0]["threshold"] += 1


def certify_more(about):
    about["cells"][0]["at"][0]["accuracy"] += 1 / N


#: What is changed: of which run, its rows or its run.json; and what of it is said.
FORGERIES = [
    (EVAL, flip_fooled, None, "rows.csv rows: fooled is not what prediction and label say: pgd"),
    (EVAL, leave_the_ball, None, "the adversarial image is outside its ball: pgd linf 0.05, image"),
    (EVAL, shorten, None, "its x_l2 is not that of the clean image"),
    (EVAL, lose_losses, None, "rows.csv rows: loss is missing: clean, image 0"),
    (EVAL, lose_a_column, None, "rows.csv rows: its rows lack x_l2"),
    (EVAL, fall_to_magic, None, "under pgd fell to 'magic', no part of it"),
    (EVAL, None, attack_farther, "run.json settings: the attack of pgd linf 0.05 is recorded as"),
    (EVAL, None, attack_in_another_norm, "settings: the attack of pgd linf 0.05 is recorded as"),
    (EVAL, None, put_noise_in_front, "settings: sigma is 0.25, and stochastic is false"),
    (EVAL, None, vote, "settings: by its settings each row has 100 votes, and 72 rows have others"),
    (EVAL, None, attack_all, "settings: attack_all is true, and no image that was wrong"),
    (EVAL, None, raise_accuracy, "run.json cells: cells[1].robust_accuracy is"),
    (EVAL, None, believe, "run.json audit: it says 'believable: 40 checks"),
    (EVAL, None, pass_a_check, "run.json audit: check C14 says"),
    (EVAL, None, leave_out_what_fails, "is missing, which every audit makes"),
    (EVAL, None, judge_otherwise, "says warn, and its value is"),
    (EVAL, None, check_twice, "is there 2 times"),
    (EVAL, None, say_otherwise, "run.json audit: check C14 says 'all is well.', and the rows give"),
    (EVAL, None, audit_a_larger_ball, "run.json audit: it is of 'linf 0.5: 24 of 24"),
    (EVAL, None, pass_up_to_more, "and its limit is"),
    (CERT, None, check_twice, "is there 2 times"),
    (CERT, certify_farther, None, "radius is not what the votes prove in 1 rows, first of image"),
    (CERT, certify_nearer, None, "radius is not what the votes prove in 1 rows, first of image"),
    (CERT, count_others, None, "is not what the votes prove in 1 rows, first of image"),
    (CERT, None, certify_more, "run.json cells: cells[0].at is"),
]


#: What breaks each law: of which attack's row, and image, what becomes what.
BROKEN = {
    "label is not that of": ("pgd", 3, {"label": lambda r: (r.label + 1) % 4}),
    "clean_prediction is not that of": (
        "pgd",
        3,
        {"clean_prediction": lambda r: (r.clean_prediction + 1) % 4},
    ),
    "fooled is not what": ("pgd", 3, {"fooled": lambda r: not r.fooled}),
    "it was wrong without": ("pgd", 0, {"prediction": lambda r: (r.prediction + 1) % 4}),
    "by is not what fooled": ("pgd", 3, {"by": lambda r: "pgd" if r.by == "none" else "none"}),
    "by is not what clean": ("pgd", 0, {"by": lambda r: "pgd"}),
    "rank is not what": ("pgd", 3, {"rank": lambda r: int(r["rank"] == 0)}),
    "ahead is not what votes": ("pgd", 3, {"ahead": lambda r: r["ahead"] + 1}),
    "loss is missing": ("pgd", 3, {"loss": lambda r: float("nan")}),
    "x_l2 or x_linf is not that": ("pgd", 3, {"x_l2": lambda r: 2 * r.x_l2}),
    "more votes are for": ("pgd", 3, {"votes_for_label": lambda r: r.votes_for_prediction + 1}),
    "it has more votes": ("pgd", 3, {"votes_for_prediction": lambda r: r.votes + 1}),
    "the unattacked image is": ("clean", 3, {"linf": lambda r: 0.01}),
    "the adversarial image is": ("pgd", 3, {"linf": lambda r: r.eps * 1.01}),
    "its distances are of no image: linf <=": ("pgd", 3, {"l2": lambda r: r.linf / 2}),
    "its distances are of no image: l1 <=": ("pgd", 3, {"l1": lambda r: 1.01 * r.l0 * r.linf}),
}


class TestLaws:
    @pytest.fixture
    def rows(self, study):
        return read_table(study / EVAL / "rows.csv")

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.words)
    def test_a_row_that_breaks_one_is_named(self, rows, law):
        ((attack, image, edits),) = (BROKEN[key] for key in BROKEN if law.words.startswith(key))
        edited = rows.copy()
        (place,) = rows.index[(rows["attack"] == attack) & (rows["index"] == image)]
        for column, becomes in edits.items():
            edited.loc[place, column] = becomes(rows.loc[place])
        told = [f"{one.verdict.name}: {one.said}" for one in consistent(edited, False, "run")]
        assert any(one.startswith(f"CONTRADICTED: {law.words}: {attack}") for one in told)
        (before,) = consistent(rows, False, "run")
        assert before.verdict is Verdict.HOLDS


class TestForgeries:
    @pytest.mark.parametrize(("folder", "rows", "about", "words"), FORGERIES)
    def test_whatever_is_edited_with_its_digest_is_named(self, copied, folder, rows, about, words):
        forged(copied / folder, rows, about)
        found = verify(copied / folder)
        assert words in " ".join(said(found, Verdict.CONTRADICTED))
        assert " digest: " not in " ".join(said(found, Verdict.CONTRADICTED))

    @pytest.mark.parametrize("folder", [EVAL, CERT])
    def test_an_audit_that_is_not_there_is_told(self, copied, folder):
        forged(copied / folder, about=lambda about: about.pop("audit"))
        found = verify(copied / folder)
        assert said(found, Verdict.CONTRADICTED) == []
        assert "run.json audit: no audit is recorded" in " ".join(said(found, Verdict.UNCHECKED))

    @pytest.mark.parametrize("given", [False, True])
    @pytest.mark.parametrize("folder", [EVAL, CERT])
    def test_settings_that_nothing_tells_of_are_named(self, copied, model, data, folder, given):
        """Whoever reads what holds must know what was only said."""
        asked = {"models": [model], "data": data} if given else {}
        found = verify(copied / folder, **asked)
        (told,) = (one.said for one in found.unchecked if one.what == "settings")
        settings = json.loads((copied / folder / "run.json").read_text())["settings"]
        certified = folder == CERT
        assert ("seed 0" in told) == (not (certified and given))
        assert ("model_fingerprint" in told) == (not given)
        assert ("sigma" in told) == (not (certified and given))
        assert "batch_size 128" in told
        assert f"data {settings['data']!r}" in told
        assert certified or ("attacks" in told and "attack_all False" in told)

    def test_without_its_digest_that_is_named_too(self, copied):
        rows = (copied / EVAL / "rows.csv").read_text()
        (copied / EVAL / "rows.csv").write_text(f"{rows}\n")  # nothing else changes
        (found,) = verify(copied / EVAL).contradictions
        assert (found.where, found.what) == (f"{copied / EVAL}/rows.csv", "digest")

    def test_rows_that_agree_with_each_other_are_found_with_the_model_alone(
        self, copied, model, data
    ):
        """A row that fell is made robust in every column, and all that follows from it."""

        def hold(rows):
            fell = (rows["attack"] == "pgd") & rows["fooled"] & (rows["by"] == "pgd")
            place = rows.index[fell & (rows["index"] < KEPT)][0]
            rows.loc[place, ["prediction", "fooled", "by", "rank", "votes_for_label"]] = [
                rows.loc[place, "label"],
                False,
                "none",
                0,
                1,
            ]

        def follow(about):
            rows = read_csv(copied / EVAL / "rows.csv")
            from holdfast import metrics

            seconds = [cell["seconds"] for cell in about["cells"]]
            again = metrics.evaluation_cells(rows, [()] * 2, [{}] * 2)
            about["cells"] = [
                {"model": "model", **cell, "seconds": s}
                for cell, s in zip(again, seconds, strict=True)
            ]
            del about["audit"]

        forged(copied / EVAL, hold)
        forged(copied / EVAL, about=follow)
        found = verify(copied / EVAL)
        assert said(found, Verdict.CONTRADICTED) == []
        assert "could have been edited" in " ".join(said(found, Verdict.UNCHECKED))
        found = verify(copied / EVAL, models=[model], data=data)
        (wrong,) = said(found, Verdict.CONTRADICTED)
        assert "images answers: pgd linf 0.05, image" in wrong
        assert "the row says class" in wrong

    def test_clean_answers_that_were_edited_are_found_with_the_model(self, copied, model, data):
        """Of an image that is wrong without an attack: its label, or what the model says of it."""
        first = read_csv(copied / EVAL / "rows.csv").iloc[0]
        assert first["fooled"]
        for name, value, words in (
            ("label", first["clean_prediction"], "labels: image 0: the label is not that of the"),
            ("prediction", first["label"], "answers: clean, image 0: the row says class"),
        ):

            def right(rows, name=name, value=value):
                mine = rows["index"] == 0
                names = [name, "clean_prediction"] if name == "prediction" else [name]
                rows.loc[mine, names] = value
                rows.loc[mine, ["fooled", "by", "rank", "votes_for_label"]] = [False, "none", 0, 1]

            shutil.copy(copied / EVAL / "rows.csv", copied / "before.csv")
            forged(copied / EVAL, right)
            found = verify(copied / EVAL, models=[model], data=data)
            assert words in " ".join(said(found, Verdict.CONTRADICTED))
            shutil.copy(copied / "before.csv", copied / EVAL / "rows.csv")

    def test_lengths_of_images_that_were_not_kept_are_found_with_the_data(
        self, copied, model, data
    ):
        def shorten_the_last(rows):
            rows.loc[rows["index"] == N - 1, "x_linf"] /= 2

        forged(copied / EVAL, shorten_the_last)
        assert said(verify(copied / EVAL), Verdict.CONTRADICTED) == []
        found = verify(copied / EVAL, models=[model], data=data)
        (wrong,) = said(found, Verdict.CONTRADICTED)
        assert f"image {N - 1}: x_linf is not that of the data's image" in wrong

    def test_ranks_are_found_with_the_model(self, copied, model, data):
        """Of labels that are not the first, among which top-5 accuracy looks for five."""
        rows = read_csv(copied / EVAL / "rows.csv")
        assert (rows["rank"] > 1).any()
        forged(copied / EVAL, rank_higher)
        assert said(verify(copied / EVAL), Verdict.CONTRADICTED) == []
        found = verify(copied / EVAL, models=[model], data=data)
        named = " ".join(said(found, Verdict.CONTRADICTED))
        assert "answers: clean, image" in named
        assert "rank 1 of the label, and the model says" in named

    def test_votes_that_prove_what_is_written_are_found_with_the_model(self, copied, model, data):
        """An image is given the votes of one that is certified farther, and all that follows."""

        def borrow(rows):
            for _, part in rows.groupby("bound"):
                ordered = part[part["label"] == part["prediction"]].sort_values("radius").index
                told = ["votes", "choice", "p1", "p2", "radius", "prediction", "abstained"]
                rows.loc[ordered[0], told] = rows.loc[ordered[-1], told].to_numpy()

        forged(copied / CERT, borrow, lambda about: about.pop("audit"))
        found = verify(copied / CERT)
        assert not any("certificates" in one for one in said(found, Verdict.CONTRADICTED))
        found = verify(copied / CERT, models=[model], data=data)
        assert "are others by the run's own draws" in " ".join(said(found, Verdict.CONTRADICTED))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda held: held["x_adv"][0].clamp_(0.3, 0.6), "distance is not that of the row"),
            (lambda held: held["x_adv"][0].add_(2), "the adversarial image leaves [0, 1]"),
            (lambda held: held["x"][1].mul_(0.5), "kept with another clean image"),
            (lambda held: held["label"].add_(1), "its label is not that of the row"),
            (lambda held: held["x_adv_8bit"][2].mul_(0.5), "8-bit version is not the image on"),
            (lambda held: held["index"].add_(1000), "holds other images than the run is about"),
            (lambda held: held.pop("x"), "holds other images than the run is about"),
        ],
    )
    def test_an_image_that_was_changed_is_named(self, copied, change, words):
        kept(copied / EVAL, change)
        found = verify(copied / EVAL)
        assert words in " ".join(said(found, Verdict.CONTRADICTED))

    def test_images_that_were_exchanged_are_found_with_the_model(self, copied, model, data):
        """Clean and adversarial image moved alike: boxes, balls and distances stay as they were."""

        def move(held):
            for name in ("x", "x_adv"):
                held[name][0] = held[name][0].flip(-1)

        for number in (1, 2):
            path = copied / EVAL / "images" / f"{number:04d}.00000.safetensors"
            tensors, about = read_tensors(path)
            move(tensors)
            write_tensors(path, tensors, about)
        found = verify(copied / EVAL, models=[model], data=data)
        assert "are not those of the data" in " ".join(said(found, Verdict.CONTRADICTED))

    @pytest.mark.parametrize("name", ["run.json", "rows.csv"])
    def test_what_cannot_be_read_is_a_contradiction_and_no_traceback(self, copied, name):
        (copied / CERT / name).write_text("{}" if name == "run.json" else "a,b\n1,2\n")
        with pytest.raises(DamagedFileError) if name == "run.json" else chdir(copied):
            found = verify(copied / CERT)
            assert "is not what Holdfast writes" in found.sentence


class TestForgedBundles:
    @pytest.fixture
    def opened(self, study, tmp_path):
        with zipfile.ZipFile(study / "study.zip") as archive:
            archive.extractall(tmp_path / "open")
        return tmp_path / "open"

    def closed(self, opened, manifest):
        """A bundle of what lies there, with the manifest made anew or as it was."""
        if manifest:
            before = Manifest.read(opened)
            Manifest.of(opened, before.runs, before.said).write(opened)
        out = opened.with_suffix(".zip")
        files = (path for path in opened.rglob("*") if path.is_file())
        write_archive(out, {path.relative_to(opened).as_posix(): path for path in files})
        return out

    def test_what_was_made_of_the_runs_cannot_say_another_thing(self, opened):
        """Page, tables, figures and test report, though their checksums are forged."""
        for name, old, new in (
            ("report/report.html", "</style>", "</style><!-- 99.9 % -->"),
            ("report/tables/attacks.csv", ",0.05,", ",0.06,"),
            ("test-report.md", "| pgd linf 0.05 |", "| pgd linf 0.06 |"),
            ("environment.json", '"cores": ', '"cores": 1'),
        ):
            text = (opened / name).read_text()
            assert old in text
            (opened / name).write_text(text.replace(old, new, 1))
        figure = next((opened / "report" / "figures").glob("*.pdf"))
        figure.write_bytes(figure.read_bytes() + b"%")
        (opened / "report" / "more.html").write_text("100 %")
        found = verify(self.closed(opened, manifest=True))
        wrong = {one.where: one.said for one in found.contradictions}
        assert wrong.keys() == {
            "report/report.html",
            "report/tables/attacks.csv",
            "test-report.md",
            "environment.json",
            f"report/figures/{figure.name}",
            "report/more.html",
        }
        assert "it says '0.05' where the rows give" not in wrong["report/tables/attacks.csv"]
        assert "it says '0.06' where the rows give '0.05'" in wrong["report/tables/attacks.csv"]
        assert wrong["report/more.html"] == "it follows from none of the runs."

    def test_numbers_of_tables_are_compared_whatever_version_made_them(self, opened):
        """Who names another version in the manifest switches nothing off."""
        manifest = json.loads((opened / "manifest.json").read_text())
        for name, old, new in (
            ("report/tables/attacks.csv", ",0.05,", ",0.06,"),
            ("environment.json", '"cores": ', '"cores": 1'),
            ("report/report.html", "</style>", "</style><!-- as another version has it -->"),
        ):
            text = (opened / name).read_text()
            assert old in text
            (opened / name).write_text(text.replace(old, new, 1))
            manifest["files"][name] = checksum(opened / name)
        manifest["made_by"]["holdfast"] = "0.1.9"
        (opened / "manifest.json").write_text(json.dumps(manifest))
        found = verify(self.closed(opened, manifest=False))
        wrong = {one.where: one.said for one in found.contradictions}
        assert wrong.keys() == {"report/tables/attacks.csv", "environment.json"}
        assert "is 0.06, and the rows give 0.05" in wrong["report/tables/attacks.csv"]
        (other,) = (one.said for one in found.unchecked if one.where == "report")
        assert "report/report.html made again differ" in other
        assert "holdfast 0.1.9" in other

    @pytest.mark.parametrize(
        ("name", "there", "made", "words"),
        [
            ("a.csv", "eps,old\n0.1,3\n", "eps,new\n0.1,4\n", None),
            ("a.csv", "n,eps\n3,0.1\n", "eps,n\n0.10000000000000001,3\n", None),
            ("a.csv", "eps\n0.1\n", "eps\n0.2\n", "[0].eps is 0.1, and the rows give 0.2."),
            ("a.csv", "eps\n0.1\n0.2\n", "eps\n0.2\n", None),
            ("a.json", '{"a": [1, "x"]}', '{"a": [2, "y"]}', "a[0] is 1, and the rows give 2."),
            ("a.json", '{"a": true, "b": null}', '{"a": 0, "b": 1}', None),
            ("a.json", "[" * 100_000, "[]", "it cannot be read as what its name says."),
            ("a.html", "1", "2", None),
        ],
    )
    def test_numbers_are_compared_where_both_have_one(self, name, there, made, words):
        assert numbers_apart(name, there, made) == words

    def test_what_is_not_in_the_manifest_is_named_and_so_is_what_is_missing(
        self, opened, monkeypatch
    ):
        monkeypatch.setattr("holdfast.bundle.verification.made_again", lambda *_: iter(()))
        (opened / "more.txt").write_text("more")
        (opened / "test-report.md").unlink()
        (opened / CERT / "rows.csv").write_bytes(b"x")
        with zipfile.ZipFile(opened.with_suffix(".zip"), "w") as archive:
            for path in opened.rglob("*"):  # as a stranger zips it, with entries for folders
                archive.write(path, path.relative_to(opened))
        found = verify(opened.with_suffix(".zip"), manifest="0" * 64)
        wrong = {(one.where, one.what): one.said for one in found.contradictions}
        assert "is in the bundle, and not in the manifest" in wrong["more.txt", "checksum"]
        assert "is in the manifest, and missing" in wrong["test-report.md", "checksum"]
        assert "it was changed" in wrong[f"{CERT}/rows.csv", "checksum"]
        assert "the one that was given is 00000" in wrong["manifest.json", "origin"]
        assert str(opened.parent) not in found.summary()

    def test_a_bundle_that_is_none_is_one_sentence(self, opened, tmp_path):
        (opened / "manifest.json").write_text('{"bundle": 1, "runs": ["../up"]}')
        with pytest.raises(DamagedFileError, match="runs must be a list of folders of the bundle"):
            verify(self.closed(opened, manifest=False))
        (tmp_path / "text.zip").write_text("no zip file")
        with pytest.raises(DamagedFileError, match="is damaged or no zip file"):
            verify(tmp_path / "text.zip")


def zipped(path, *entries):
    """A zip file of entries as a stranger may write them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


class TestArchive:
    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["../up"], "leads out"),
            (["a/../../up"], "leads out"),
            (["/etc/up"], "leads out"),
            (["a//b"], "leads out"),
            (["./a"], "leads out"),
            (["a\\..\\up"], "a name that files of a bundle do not have"),
            (["C:up"], "a name that files of a bundle do not have"),
            (["a\nb"], "a name that files of a bundle do not have"),
            (["a", "a"], "is there twice"),
            (["a", "A"], "is there twice"),
            (["a", "a/b"], "is a file and a folder"),
            (["a/" * 600 + "b"], "too long"),
            (["b" * 300], "too long"),
        ],
    )
    def test_names_that_no_bundle_has_are_refused(self, tmp_path, names, words):
        zipped(tmp_path / "a.zip", *((name, b"x", 0o100644) for name in names))
        with pytest.raises(InputError, match=words), unpacked(tmp_path / "a.zip"):
            raise AssertionError("it was unpacked")
        assert not (tmp_path / "up").exists()

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
    def test_links_and_devices_are_refused(self, tmp_path, kind):
        zipped(tmp_path / "a.zip", ("a", b"/etc/passwd", kind | 0o777))
        with pytest.raises(InputError, match="is a link or a device"), unpacked(tmp_path / "a.zip"):
            raise AssertionError("it was unpacked")

    def test_what_would_unpack_to_too_much_is_refused_before_it_is(self, tmp_path, monkeypatch):
        monkeypatch.setattr("holdfast.bundle.archive._SOME", 2**16)
        zipped(tmp_path / "a.zip", ("a", bytes(2**22), 0o100644))
        refused = pytest.raises(InputError, match="would unpack to 4194304 bytes")
        with refused, unpacked(tmp_path / "a.zip"):
            raise AssertionError("it was unpacked")

    def test_a_file_is_never_more_than_it_says(self, tmp_path):
        """An entry that says 10 bytes, in both of its places, and holds a million."""
        zipped(tmp_path / "a.zip", ("a", bytes(10**6), 0o100644))
        content = bytearray((tmp_path / "a.zip").read_bytes())
        for mark, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
            at = content.index(mark) + place
            content[at : at + 4] = (10).to_bytes(4, "little")
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(DamagedFileError, match="is damaged"), unpacked(tmp_path / "a.zip"):
            raise AssertionError("it was unpacked")

    def test_a_list_of_files_that_is_too_long_is_refused_before_it_is_read(self, tmp_path):
        zipped(tmp_path / "a.zip", ("a", b"x", 0o100644))
        content = bytearray((tmp_path / "a.zip").read_bytes())
        at = content.rindex(b"PK\5\6") + 12
        content[at : at + 4] = (2**31).to_bytes(4, "little")
        (tmp_path / "a.zip").write_bytes(content)
        refused = pytest.raises(InputError, match="list of files has 2147483648 bytes")
        with refused, unpacked(tmp_path / "a.zip"):
            raise AssertionError("it was unpacked")

    def test_damage_anywhere_is_one_sentence(self, tmp_path):
        zipped(tmp_path / "a.zip", ("a", bytes(range(256)) * 8, 0o100644), ("b", b"b", 0o100644))
        whole = (tmp_path / "a.zip").read_bytes()
        for place in range(0, len(whole), 3):
            changed = bytearray(whole)
            changed[place] ^= 0xFF
            (tmp_path / "a.zip").write_bytes(changed)
            try:
                with unpacked(tmp_path / "a.zip"):
                    pass
            except HoldfastError:
                pass
        for length in range(0, len(whole), 7):
            (tmp_path / "a.zip").write_bytes(whole[:length])
            with pytest.raises(HoldfastError), unpacked(tmp_path / "a.zip"):
                pass

    def test_what_is_written_is_read(self, tmp_path):
        (tmp_path / "a").write_bytes(b"first")
        write_archive(tmp_path / "a.zip", {"x/y": tmp_path / "a", "b": tmp_path / "a"})
        with unpacked(tmp_path / "a.zip") as folder:
            found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert found == {"y": b"first", "b": b"first"}
        assert not folder.exists()
        assert zipfile.ZipFile(io.BytesIO((tmp_path / "a.zip").read_bytes())).testzip() is None


class TestCommands:
    def test_the_exit_code_tells_whether_anything_is_contradicted(self, copied, capsys):
        assert run(["verify", str(copied / EVAL), "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["verified"]
        assert not found["contradicted"]
        assert {one["verdict"] for one in found["findings"]} == {"holds", "not checked"}
        forged(copied / EVAL, flip_fooled)
        assert run(["verify", str(copied / EVAL), "--quiet"]) == 3
        told = capsys.readouterr()
        assert "contradicted:" in told.out
        assert "holds:" not in told.out
        assert told.err.startswith("holdfast: ")
        assert told.err.count("\n") == 1

    def test_a_bundle_by_the_command_has_the_manifest_that_it_prints(
        self, study, tmp_path, capsys, monkeypatch
    ):
        monkeypatch.setattr("holdfast.bundle.verification.made_again", lambda *_: iter(()))
        out = str(tmp_path / "one.zip")
        assert run(["bundle", str(study / CERT), "--out", out]) == 0
        manifest = capsys.readouterr().out.split()[-1]
        assert run(["verify", out, "--manifest", manifest]) == 0
        assert "manifest.json, origin: its SHA-256 is the one" in capsys.readouterr().out
        assert run(["bundle", str(study / CERT), "--out", out]) == 2
        assert "is not overwritten" in capsys.readouterr().err
