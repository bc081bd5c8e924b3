"""holdfast train: recipes in YAML, overrides, and what is told before any work."""

import re

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from holdfast import data as datasets
from holdfast.cli.main import run
from holdfast.errors import MissingFileError
from holdfast.files import read_json
from holdfast.models import Architecture, centre_of, mean_image
from holdfast.models.checkpoint import load_model
from holdfast.tensors import fingerprint
from holdfast.training import kept_epochs, start_from

RECIPE = """
model: mlp
images: 100
epochs: 1
batch_size: 50
optimizer: sgd(nesterov=True)
schedule: multi-step(at=[1, 2], factor=0.5, warm_up=0.5)
ema: 0.9
hold_out: 20
val_attack: pgd(steps=2)
val_eps: 0.1
patience: 3
quiet: true
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def code(line):
    try:
        return run(line.split())
    except SystemExit as stop:
        return stop.code or 0


def test_a_recipe_with_overrides(place):
    line = "train --config recipe.yaml --epochs 2 --accelerator cpu --out run"
    assert code(line) == 0
    about = read_json(place / "run" / "run.json")
    settings = about["settings"]
    assert settings["epochs"] == 2  # the command line's, not the recipe's
    assert settings["batch_size"] == 50
    assert settings["optimizer"] == "SGD(momentum=0.9, nesterov=True)"
    rate = "WarmUp(rate=MultiStep(at=(1.0, 2.0), factor=0.5), epochs=0.5, start=0.1)"
    assert settings["rate"] == rate
    assert "val_robust_accuracy" in about["best_epoch"]
    assert re.match(r"Selection\(metric='val_robust_accuracy'", settings["selection"])
    # Fine-tuning takes the architecture from the run.
    tune = "train --from run --images 100 --epochs 1 --accelerator cpu --quiet --out tuned"
    assert code(tune) == 0
    assert read_json(place / "tuned" / "run.json")["settings"]["model"] == "mlp"


def test_the_best_epoch_may_be_that_of_the_first_five_classes(place):
    line = "train --config recipe.yaml --top 5 --epochs 2 --accelerator cpu --out run"
    assert code(line) == 0
    about = read_json(place / "run" / "run.json")
    assert about["settings"]["top"] == 5
    assert "metric='val_robust_top5', larger=True" in about["settings"]["selection"]
    log = pd.read_csv(place / "run" / "metrics.csv")
    first = {"val_top5": "val_accuracy", "val_robust_top5": "val_robust_accuracy"}
    for among, alone in first.items():
        assert (log[among] >= log[alone]).all()
    assert about["best_epoch"]["val_robust_top5"] == log["val_robust_top5"].max()
    (place / "plain.yaml").write_text(
        "model: mlp\nimages: 50\nepochs: 1\nhold_out: 20\ntop: 3\nbest: val_top3\nquiet: true\n"
    )
    assert code("train --config plain.yaml --accelerator cpu --out plain") == 0
    assert "larger=True" in read_json(place / "plain" / "run.json")["settings"]["selection"]


def test_runs_of_before_there_was_top_go_on(place):
    line = "train --model mlp --images 50 --epochs 1 --hold-out 20 --accelerator cpu --quiet"
    assert code(f"{line} --out run") == 0
    assert read_json(place / "run" / "run.json")["settings"]["top"] is None
    assert code(f"{line} --top 1 --out run") == 0
    assert code(f"{line} --top 5 --out run") == 2  # another run


def test_validation_has_a_norm_and_a_size_of_its_own(place):
    line = "train --model mlp --images 100 --epochs 1 --quiet --accelerator cpu --hold-out 20"
    assert code(f"{line} --val-attack fgsm --val-norm l2 --val-eps 0.5 --out run") == 0
    assert "L2(eps=0.5)" in read_json(place / "run" / "run.json")["settings"]["attack"]


def test_augmentation_is_recorded(place):
    line = "train --model small --images 100 --epochs 1 --quiet --accelerator cpu --shift 1 --flip"
    assert code(f"{line} --out run") == 0
    objective = read_json(place / "run" / "run.json")["settings"]["objective"]
    assert objective == "Augmented(objective=Standard(), shift=1, flip=True)"


def test_parseval_training_is_logged(place):
    line = "train --model mlp --images 100 --epochs 1 --quiet --accelerator cpu"
    assert code(f"{line} --hooks parseval(beta=1e-3) --out run") == 0
    assert "parseval_tightness" in (place / "run" / "metrics.csv").read_text()
    assert "Parseval(beta=0.001" in str(read_json(place / "run" / "run.json")["settings"]["hooks"])


def test_initial_weights_are_recorded_and_not_drawn_over_trained_ones(place, capsys):
    line = "train --images 100 --epochs 1 --quiet --accelerator cpu"
    assert code(f"{line} --model mlp --init keras --out run") == 0
    assert read_json(place / "run" / "run.json")["settings"]["init"] == "keras"
    assert start_from(place / "run")[1].init == "keras"
    assert code(f"{line} --from run --out tuned") == 0
    assert code(f"{line} --model mlp --out other") == 0
    assert code(f"{line} --from other --init keras --out again") == 2
    assert "holds weights already" in capsys.readouterr().err
    assert not (place / "again").exists()


def test_a_centred_network_holds_the_mean_of_its_training_images(place, capsys):
    line = "train --images 100 --epochs 1 --quiet --accelerator cpu"
    assert code(f"{line} --model mlp --centre --init gaussian --out run") == 0
    network, made = start_from(place / "run")
    assert made.centred
    assert torch.equal(centre_of(network), mean_image(datasets.load("digits", "train", limit=100)))
    assert code(f"{line} --from run --out tuned") == 0
    tuned, made = start_from(place / "tuned")
    assert made.centred
    assert torch.equal(centre_of(tuned), centre_of(network))
    assert code(f"{line} --model mlp --out other") == 0
    assert code(f"{line} --from other --centre --out again") == 2
    assert "takes off no mean image" in capsys.readouterr().err
    assert not (place / "again").exists()


def test_the_network_of_every_epoch_is_kept_if_asked_for(place, capsys):
    line = "train --model mlp --images 100 --quiet --accelerator cpu --schedule constant"
    assert code(f"{line} --epochs 2 --keep-epochs --out run") == 0
    assert code(f"{line} --epochs 1 --out one") == 0
    epochs = {k: fingerprint(load_model(file)) for k, file in kept_epochs(place / "run").items()}
    began = Architecture(name="mlp", shape=(1, 8, 8), classes=10).build(seed=0)
    after = [fingerprint(load_model(place / run / "model.safetensors")) for run in ("one", "run")]
    assert list(epochs.values()) == [fingerprint(began), *after]
    assert list(epochs) == [0, 1, 2]
    with pytest.raises(MissingFileError, match="--keep-epochs"):
        kept_epochs(place / "one")
    assert code(f"{line} --epochs 1 --keep-epochs --out one") == 2  # which kept none
    assert "keep_epochs" in capsys.readouterr().err


def test_a_printed_configuration_is_a_recipe(place, capsys):
    line = "train --config recipe.yaml --clip 2 --from run --out run"
    assert code(f"{line} --print-config") == 0
    printed = capsys.readouterr().out
    (place / "printed.yaml").write_text(printed)
    assert code("train --config printed.yaml --print-config") == 0
    assert capsys.readouterr().out == printed
    options = yaml.safe_load(printed)
    assert options["clip"] == 2
    assert options["from"] == "run"
    assert options["schedule"] == "multi-step(at=[1, 2], factor=0.5, warm_up=0.5)"
    assert options["val_attack"] == "pgd(steps=2)"
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --out run", "needs --model"),
        ("train --from nowhere --out run", "no network to start from"),
        ("train --model mlp --schedule step --out run", r"needs every, as in step\(every=...\)"),
        ("train --model mlp --schedule cosinus --out run", "did you mean 'cosine'"),
        ("train --model mlp --optimizer rmsprop(alpha=2) --out run", "alpha is 2"),
        ("train --model mlp --val-attack pgd --hold-out 9 --out run", "needs --val-eps"),
        ("train --model mlp --val-attack pgd --val-eps 0.1 --out run", "no images are held out"),
        ("train --model mlp --hold-out 99999 --out run", "99999 images are to be held out"),
        ("train --model mlp --devices 0 --out run", "devices is 0"),
        ("train --model mlp --accelerator quantum --out run", "quantum"),
        ("train --model mlp --precision 8 --out run", "precision"),
        ("train --model mlp --ema 2 --out run", "ema is 2"),
        ("train --model mlp --shift -1 --out run", "shift is -1"),
        ("train --model mlp --hooks parseval(beta=2) --out run", "beta is 2"),
        ("train --model mlp --hooks parsival --out run", "did you mean 'parseval'"),
        ("train --model mlp --hooks parseval --out run", r"needs beta, as in parseval\(beta="),
        ("train --model malade-dae --data boxes --out run", "trains classifiers"),
        ("train --model mlp --objective dae(sigma=0.4) --out run", "choose malade-dae"),
        (
            "train --model malade-dae --data boxes --objective dae(sigma=1) --hold-out 1 --out run",
            "no accuracy to measure",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_makes_no_folder(place, capsys, line, words):
    (place / "boxes" / "train" / "box").mkdir(parents=True)
    image = Image.new("L", (28, 28))
    image.save(place / "boxes" / "train" / "box" / "one.png")
    assert code(line) == 2
    told = capsys.readouterr().err
    assert told.startswith("holdfast: ")
    assert told.count("\n") == 1
    assert re.search(words, told)
    assert not (place / "run").exists()


def test_data_of_one_class_are_refused_before_anything_is_written(place, capsys):
    (place / "photos" / "only").mkdir(parents=True)
    Image.new("L", (8, 8)).save(place / "photos" / "only" / "0.png")
    assert code("train --model mlp --data ./photos --out net") == 2
    assert "has one class, only" in capsys.readouterr().err
    assert not (place / "net").exists()
