"""The search for MALADE's numbers: what it chooses, what it never sees, and that it resumes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import data as datasets
from holdfast import tuning
from holdfast.attacks import PGD, On
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import MALADE
from holdfast.errors import DamagedFileError, InputError, ModelError
from holdfast.evaluation import EvaluationConfig
from holdfast.files import read_json, read_table, read_tensors
from holdfast.models import Architecture, loading
from holdfast.models.purified import PURIFIED, read_purified, save_purified
from holdfast.progress import Progress, silent
from holdfast.tensors import fingerprint
from holdfast.threat import Linf
from holdfast.tuning import Chain, Search, noise_of_training, tune_malade, unseen
from tests.toys import images

SEARCH = Search(
    steps=(1, 3), alpha=(0.01, 0.05), delta=(0.02,), sigma=0.3, finalists=2, finalist_images=5
)
PROTOCOL = EvaluationConfig(votes=1, samples=2)


def networks():
    """Fresh ones: what they can do is of no importance."""
    made = {}
    for name, architecture in (("denoiser", "malade-dae"), ("classifier", "small")):
        about = Architecture(name=architecture, shape=(1, 8, 8), classes=10)
        made[name] = (about.build(), about)
    return made


def tuned(out, **more):
    return search_into(out, **more).model


def search_into(out, progress=silent, search=SEARCH, config=PROTOCOL):
    train = datasets.load("digits", "train", limit=12)
    attack = PGD(Linf(0.1), steps=1)
    return tune_malade(networks(), train, search, attack, config, out=out, progress=progress)


class Killing(Progress):
    """Kills its own process when so many chains have been tried."""

    def __init__(self, after):
        self.left = after

    def advance(self, pieces=1, note=""):
        self.left -= bool(note)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


class TestTheSearch:
    def test_a_killed_search_ends_as_an_unbroken_one(self, tmp_path):
        whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
        script = (
            "from pathlib import Path; from tests.test_tuning import Killing, tuned; "
            f"tuned(Path({str(killed)!r}), progress=Killing(2))"
        )
        root = Path(__file__).parents[1]
        done = subprocess.run([sys.executable, "-c", script], cwd=root, check=False)
        assert done.returncode == -signal.SIGKILL
        assert not (killed / PURIFIED).exists()
        before = {path: path.stat().st_mtime_ns for path in killed.glob("first/*/rows.csv")}
        assert len(before) == 2
        tuned(killed)
        tuned(whole)
        assert all(path.stat().st_mtime_ns == time for path, time in before.items())
        files = sorted(path.relative_to(whole) for path in whole.glob("**/*.csv"))
        assert len(files) == 1 + 2 * 4 + 2 + 1  # examples, both trials, finalists, the table
        assert all((whole / file).read_bytes() == (killed / file).read_bytes() for file in files)
        tensors = [read_tensors(folder / PURIFIED) for folder in (whole, killed)]
        assert tensors[0][1] == tensors[1][1]
        assert all(torch.equal(value, tensors[1][0][key]) for key, value in tensors[0][0].items())

    def test_without_a_folder(self, tmp_path):
        kept, found = search_into(tmp_path / "run"), search_into(None)
        table = read_table(tmp_path / "run" / "trials.csv")
        assert kept.trials == found.trials
        assert [trial["transfer_accuracy"] for trial in found.trials] == list(
            table["transfer_accuracy"]
        )
        assert kept.best == found.best
        assert found.best in found.trials
        assert found.model[0].alpha == found.best["alpha"]

    def test_finalists_meet_every_variant_whatever_the_protocol_leaves_out(self, tmp_path):
        tuned(tmp_path / "run", config=replace(PROTOCOL, variants=("bpda",)))
        finalists = list((tmp_path / "run").glob("finalists/*/run.json"))
        assert len(finalists) == 2
        assert all(read_json(about)["settings"]["left_out"] == [] for about in finalists)

    def test_what_is_crafted_on_the_classifier_spends_its_budget(self, tmp_path):
        """An image that stops where the classifier is first wrong says nothing of a chain."""
        tuned(tmp_path / "run")
        made = read_json(tmp_path / "run" / "examples" / "run.json")["settings"]["attack"]
        assert "early_stop=False" in made
        assert "early_stop=True" not in made

    def test_the_best_is_the_best_of_the_finalists(self, tmp_path):
        model = tuned(tmp_path / "run")
        about = read_json(tmp_path / "run" / "run.json")
        trials = pd.DataFrame(about["trials"])
        assert len(trials) == 4
        met = trials.dropna(subset="robust_accuracy")
        assert len(met) == 2
        assert met["first_accuracy"].min() >= trials["first_accuracy"].drop(met.index).max()
        assert about["best"]["robust_accuracy"] == met["robust_accuracy"].max()
        numbers = ("steps", "alpha", "delta", "sigma", "anneal")
        settings = {name: about["best"][name] for name in numbers}
        assert settings == {name: getattr(model[0], name) for name in settings}
        assert about["model_fingerprint"] == fingerprint(loading.load(str(tmp_path / "run")))
        for folder in (tmp_path / "run" / "finalists").iterdir():
            (cell,) = read_json(folder / "run.json")["cells"]
            assert set(cell["broken_by"]) >= {"bpda", "r"}
            assert cell["n"] == 5
        # Evenly spaced ones, as the classes of a folder follow each other.
        rows = pd.read_csv(folder / "rows.csv")
        train = datasets.load("digits", "train", limit=12)
        labels = rows.drop_duplicates("index").sort_values("index")["label"].tolist()
        assert labels == train.y[[0, 2, 4, 7, 9]].tolist()

    def test_every_chain_is_attacked_itself_by_both_gradients_with_one_draw(self, tmp_path):
        tuned(tmp_path / "run", search=replace(SEARCH, first_images=3))
        abouts = [read_json(path) for path in (tmp_path / "run").glob("first/*/run.json")]
        assert len(abouts) == 4
        for about in abouts:
            (cell,) = about["cells"]
            assert set(cell["broken_by"]) == {"bpda", "plain"}
            assert cell["n"] == 3
            assert about["settings"]["samples"] == 1

    def test_what_is_right_under_transfer_alone_is_no_finalist(self, tmp_path, monkeypatch):
        """A long noisy chain that loses under transfer is not thrown away for it."""

        def scripted(model, data, attacks, config, name, out, progress):
            on_classifier, long = isinstance(attacks[0][1], On), model[0].steps == 3
            found = {"robust_accuracy": float(on_classifier != long), "clean_accuracy": 1.0}
            return SimpleNamespace(cells=[found])

        monkeypatch.setattr(tuning.search, "evaluate_data", scripted)
        search = replace(SEARCH, alpha=(0.01,), finalists=1)
        assert search_into(tmp_path / "run", search=search).best["steps"] == 3

    @pytest.mark.filterwarnings("ignore:attack linf 1e-06:UserWarning")  # an attack that is none
    @pytest.mark.parametrize("finalists", [1, 2])
    def test_it_does_not_choose_a_chain_that_destroys_the_images(self, tmp_path, finalists):
        """An untrained denoiser: α = σ² replaces every image by its nonsense, 1e-6 does nothing."""
        made = networks()
        train = datasets.load("digits", "train", limit=24)
        x = train.x(torch.arange(24))
        classifier = made["classifier"][0].eval()
        with torch.no_grad():
            classifier[-1].bias -= classifier(x).mean(dim=0)  # so that it answers many classes
            y = classifier(x).argmax(dim=1)
        search = Search(
            steps=(1,), alpha=(0.09, 1e-6), delta=(0.0,), sigma=0.3, finalists=finalists
        )
        attack = PGD(Linf(1e-6), steps=1)
        data = Data.of(x, y)
        model = tune_malade(made, data, search, attack, PROTOCOL, out=tmp_path / "run").model
        assert model[0].alpha == 1e-6
        best = read_json(tmp_path / "run" / "run.json")["best"]
        assert best["clean_accuracy"] == best["robust_accuracy"] == 1.0

    def test_wrong_numbers_are_told_before_any_work(self):
        for wrong, named in (
            ({"steps": (0,)}, "steps is 0"),
            ({"alpha": ()}, "no alpha"),
            ({"delta": (-1.0,)}, "delta is -1.0"),
            ({"finalists": 0}, "finalists is 0"),
            ({"finalist_images": 0}, "finalist_images is 0"),
            ({"first_images": 0}, "first_images is 0"),
            ({"anneal": (2.0,)}, "anneal is 2.0"),
            ({"alpha": (0.1, 0.2, 0.1)}, "alpha has 0.1 twice"),
        ):
            with pytest.raises(InputError, match=named):
                Search(**{"steps": (1,), "alpha": (0.1,), "delta": (0.1,), "sigma": 0.3} | wrong)


class TestWhatIsHeldOut:
    def settings(self, data, held_out=0, seed=0, name=None):
        used = {"data": name or data.name, "data_fingerprint": data.fingerprint()}
        return {"settings": {**used, "images": len(data), "held_out": held_out, "seed": seed}}

    def test_images_beyond_the_limit_and_those_held_out(self, recwarn):
        from holdfast.training import hold_out

        train = datasets.load("digits", "train")
        short = train.take(torch.arange(1000))
        held = hold_out(train, 150, 3)[1]
        limited = {"a": self.settings(short)}
        chosen = unseen(train, limited, 297, 0)
        assert chosen.fingerprint() == train.take(torch.arange(1000, 1297)).fingerprint()
        chosen = unseen(train, {"b": self.settings(train, 150, 3)}, 150, 0)
        assert chosen.fingerprint() == held.fingerprint()
        assert len(unseen(train, limited | {"b": self.settings(train, 150, 3)}, 20, 0)) == 20
        other = Data.of(1 - train.x(torch.arange(len(train))), train.y)
        assert len(unseen(train, {"c": self.settings(other, name="mnist")}, 500, 0)) == 500
        assert not recwarn.list

    def test_evenly_spaced_ones_of_a_folder_are_known_too(self, recwarn):
        train = datasets.load("digits", "train", limit=100)
        spaced = torch.arange(80) * 100 // 80
        chosen = unseen(train, {"a": self.settings(train.take(spaced))}, 20, 0)
        left = [place for place in range(100) if place not in spaced.tolist()]
        assert chosen.fingerprint() == train.take(torch.tensor(left)).fingerprint()
        assert not recwarn.list

    def test_a_folder_by_another_name_is_known_by_its_images(self):
        train = datasets.load("digits", "train", limit=50)
        trained = {"the classifier": self.settings(train, name="./photos")}
        with pytest.warns(UserWarning, match="the classifier: trained on images"):
            unseen(train, trained, 10, 0)

    def test_what_the_first_weights_were_trained_on_is_not_known(self):
        train = datasets.load("digits", "train", limit=50)
        trained = {"the classifier": self.settings(train.take(torch.arange(10)))}
        trained["the classifier"]["settings"]["from"] = "of the first weights"
        with pytest.warns(UserWarning, match="or by --from on who knows which"):
            unseen(train, trained, 10, 0)

    def test_too_few_are_told(self):
        train = datasets.load("digits", "train", limit=50)
        short = train.take(torch.arange(40))
        trained = {"the classifier": self.settings(short), "the denoiser": self.settings(train)}
        with pytest.warns(UserWarning, match="the denoiser: trained on images"):
            unseen(train, trained, 10, 0)
        with pytest.warns(UserWarning, match="the classifier: trained on"):
            chosen = unseen(train, {"the classifier": self.settings(short)}, 12, 0)
        assert torch.equal(chosen.y[-10:], train.y[40:])
        with pytest.raises(InputError, match="51 images"):
            unseen(train, trained, 51, 0)

    @pytest.mark.parametrize(
        ("objective", "sigma"),
        [
            ("Denoising(sigma=0.3873)", 0.3873),
            ("SupervisedDenoising(sigma=1e-05, classifier=Frozen(name='x'))", 1e-5),
            ("Augmented(objective=Denoising(sigma=0.5), shift=1)", 0.5),
            ("Stability(sigma=0.5)", None),
        ],
    )
    def test_the_noise_of_training_is_read(self, objective, sigma):
        assert noise_of_training({"settings": {"objective": objective}}) == sigma


class TestTheFile:
    def test_what_is_saved_is_loaded_by_the_folders_path(self, tmp_path):
        made = networks()
        chain = Chain(steps=3, alpha=0.02, delta=0.1, sigma=0.4)
        save_purified(tmp_path / PURIFIED, MALADE(nn.Identity(), **vars(chain)), made)
        expected = chain.of(made)
        for spec in (tmp_path, tmp_path / PURIFIED):
            found = loading.load(str(spec))
            assert repr(found[0]) == repr(expected[0])
            assert fingerprint(found) == fingerprint(expected)
            assert not any(layer.training for layer in found.modules())
            for weight in found.parameters():  # else convolutions take twice the time on a CPU
                assert weight.dim() != 4 or weight.is_contiguous(memory_format=torch.channels_last)
        with pytest.raises(ModelError, match="purified classifier"):
            loading.load_denoiser(str(tmp_path))

    def test_a_damaged_file(self, tmp_path):
        (tmp_path / PURIFIED).write_bytes(b"\0" * 40)
        with pytest.raises(DamagedFileError):
            read_purified(tmp_path / PURIFIED)
        made = networks()
        layer = MALADE(nn.Identity(), steps=1, alpha=1.0, delta=0.0, sigma=1.0)
        layer.steps = 0
        save_purified(tmp_path / PURIFIED, layer, made)
        with pytest.raises(DamagedFileError, match="steps is 0"):
            read_purified(tmp_path / PURIFIED)


def test_the_whole_path_from_the_command_line(tmp_path, monkeypatch, capsys):
    """Train both networks, tune, evaluate what was tuned; the test set is asked for at the end."""
    monkeypatch.chdir(tmp_path)
    splits, load = [], datasets.load

    def watched(name, split="test", **more):
        splits.append(split)
        return load(name, split, **more)

    monkeypatch.setattr(datasets, "load", watched)
    train = ["train", "--epochs", "1", "--images", "800", "--quiet", "--out"]
    assert run([*train, "cnn", "--model", "small"]) == 0
    assert run([*train, "dae", "--model", "malade-dae", "--objective", "dae(sigma=0.3)"]) == 0
    tune = ["tune", "malade", "--classifier", "cnn", "--denoiser", "dae", "--out", "tuned"]
    options = ["--images=30", "--steps=1,2", "--delta=0.01", "--attack=fgsm", "--quiet"]
    assert run([*tune, *options, "--samples=2", "--finalists=1", "--json"]) == 0
    assert set(splits) == {"train"}
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(found["trials"]) == 2 * 3
    assert found["best"]["sigma"] == 0.3
    assert {trial["alpha"] for trial in found["trials"]} == {
        fraction * 0.3**2 for fraction in (0.25, 0.5, 1.0)
    }
    assert run([*tune, *options, "--samples=2", "--finalists=1"]) == 0  # again: nothing is run
    for wrong, named in (
        (["--classifier", "dae", "--denoiser", "cnn"], "holds the denoiser malade-dae"),
        (["--denoiser", "cnn"], "holds the classifier small"),
    ):
        assert run([*tune[:-1], "other", *options, *wrong]) == 2
        assert named in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run([*tune[:-1], "other", *options, "--steps=1.5"])
    assert "'1.5' is no whole number" in capsys.readouterr().err
    others = Data.of(images(9), torch.zeros(9).long())
    monkeypatch.setattr(datasets, "load", lambda *_, **__: others)
    assert run([*tune[:-1], "other", *options]) == 2
    assert "(1, 8, 8), but those of digits have (1, 6, 6)" in capsys.readouterr().err
    monkeypatch.setattr(datasets, "load", watched)
    evaluate = ["evaluate", "--model", "tuned", "--images", "10", "--votes", "3", "--quiet"]
    assert run([*evaluate, "--attacks", "fgsm", "--samples", "2", "--json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]
    assert list(cell["broken_by"]) == ["bpda", "bpda-eot", "plain", "r-bpda", "r"]
    assert splits[-1] == "test"
