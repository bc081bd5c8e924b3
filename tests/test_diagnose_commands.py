"""``holdfast diagnose``, image by image: the library's numbers, figures, a folder to go on."""

import copy
import json
import math

import pytest
import torch

from holdfast import data as datasets
from holdfast.attacks import FGSM, IFGSM, PGD, DeepFool
from holdfast.cli.diagnose.command import short_names
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.diagnose import (
    Diagnosis,
    adversarial_directions,
    convergence,
    diagnose_data,
    discrepancy,
    gradient_norms,
    linearity,
    live_filters,
    loss_surface,
    margins,
    perceptual_similarity,
    predictions,
    second_order_cosines,
    signed_directions,
)
from holdfast.errors import InputError, ModelError, OutputError
from holdfast.models import Architecture, mean_image
from holdfast.models.checkpoint import save_model
from holdfast.models.loading import load
from holdfast.results import read_images, read_rows
from holdfast.threat import L2, Linf
from holdfast.training import save_epoch
from tests.toys import images, small_network

IMAGES = 12


def test_names_in_figures_are_told_apart_and_of_models_that_there_are():
    for names, short in (
        (["runs/net", "runs/runs/net"], ["net", "runs/net"]),
        (["runs/net", "runs/old-runs/net"], ["net", "old-runs/net"]),
        (["binarise | runs/net", "runs/net"], ["binarise | net", "net"]),
        (["runs/net/epochs/1.safetensors", "runs/net"], ["net/epochs/1.safetensors", "net"]),
        (["a/net", "./a/net"], ["a/net", "./a/net"]),  # one, which is told in full
        (["mine:good", "a/net"], ["mine:good", "a/net"]),
    ):
        assert short_names(names) == short


@pytest.fixture(scope="module")
def networks():
    """Two networks that know the digits up to 6, and so are right of some images and not of all."""
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    x, y, _ = digits(200)
    x, y = x[y < 7], y[y < 7]
    trained = []
    for seed in range(2):
        network = made.build(seed).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        trained.append(network.eval())
    return made, trained


@pytest.fixture
def place(networks, tmp_path, monkeypatch):
    """The two networks in the working directory."""
    monkeypatch.chdir(tmp_path)
    made, trained = networks
    for name, network in zip(("one", "two"), trained, strict=True):
        save_model(tmp_path / f"{name}.safetensors", network, made)
    return tmp_path


def said(capsys, line, images=IMAGES):
    """The cells that a command prints."""
    both = ["--images", str(images), "--batch-size", "5", "--json", "--quiet"]
    capsys.readouterr()
    assert run(["diagnose", *line.split(), *both]) == 0
    return json.loads(capsys.readouterr().out)["cells"]


def digits(count=IMAGES):
    data = datasets.load("digits", limit=count)
    return data.x(torch.arange(count)), data.y, torch.arange(count)


MODEL = "--model one.safetensors"
BOTH = "--networks one.safetensors,two.safetensors"
LINES = {
    "discrepancy": f"discrepancy {MODEL} {BOTH} --future two.safetensors --future-attack pgd",
    "ibp": f"ibp {MODEL} --eps 0.001,0.1",
    "linearity": f"linearity {MODEL} --eps 0.1",
    "gradient-norm": f"gradient-norm {MODEL} --attacks pgd(early_stop=False,steps=3)",
    "surface-0-0": f"surface {MODEL} --other two.safetensors --points 3",
    "subspace": f"subspace {MODEL} --orders 1,4",
    "curvature": f"curvature {MODEL} --samples 2 --iterations 4",
    "perceptual": f"perceptual {MODEL}",
    "margin": f"margin {MODEL}",
}


def test_linearity_is_that_of_the_library(place, capsys):
    x, y, index = digits()
    one, many = FGSM(Linf(0.1)), IFGSM(Linf(0.1), early_stop=False)
    found = linearity(load("one.safetensors"), x, y, one, many, index=index)
    (cell,) = said(capsys, LINES["linearity"])
    assert cell["mean_of_ratios"] == pytest.approx(found.mean_of_ratios, rel=1e-4)
    assert cell["ratio_of_means"] == pytest.approx(found.ratio_of_means, rel=1e-4)
    assert cell["cosine"] == pytest.approx(found.mean_cosine, abs=1e-4)


def test_gradient_norms_are_those_of_the_library(place, capsys):
    x, y, index = digits()
    attack = PGD(Linf(0.1), steps=3, early_stop=False)
    norms, _ = gradient_norms(load("one.safetensors"), x, y, attack, index=index)
    said(capsys, f"{LINES['gradient-norm']} --out run")
    (kept,) = read_images(place / "run", 0).values()
    assert torch.allclose(kept, norms.T, rtol=1e-4, atol=1e-6)


def test_the_surface_is_that_of_the_library(place, capsys):
    x, y, index = digits(3)
    model = load("one.safetensors")
    g, across = signed_directions(model, load("two.safetensors"), x, y, index=index)
    grid = loss_surface(model, x, y, g, across, 0.3, points=3, index=index)
    said(capsys, f"{LINES['surface-0-0']} --out run", 3)
    kept = read_images(place / "run", 0)
    assert torch.allclose(kept["loss"], grid.loss, rtol=1e-4, atol=1e-5)
    assert torch.equal(kept["fooled"], grid.prediction != y[:, None, None])
    assert not (kept["g"] * kept["across"]).flatten(1).sum(dim=1).any()
    assert len(list((place / "run").glob("landscape-*.svg"))) == 3


def test_directions_are_counted_of_the_images_that_are_right(place, capsys):
    x, y, index = digits()
    model = load("one.safetensors")
    answer = model(x).argmax(dim=1)
    counts = adversarial_directions(model, x, answer, Linf(0.1), (1, 4), index=index).amax(dim=1)
    (cell,) = said(capsys, f"{LINES['subspace']} --out run")
    right = answer == y
    assert 0 < int(right.sum()) < len(x)
    assert counts[right].any()
    assert cell["right"] == pytest.approx(float(right.double().mean()))
    kept = read_rows(place / "run")["directions"]
    assert kept.tolist() == torch.where(right, counts, -1).tolist()
    assert cell["at_least_one"] == pytest.approx(float((counts[right] >= 1).double().mean()))


def test_the_discrepancy_is_that_of_the_library_of_all_models_together(place, capsys):
    x, y, index = digits(60)
    one, two = load("one.safetensors"), load("two.safetensors")
    functions = {"one": one, "two": two}
    threat = Linf(0.3)
    past = [predictions(functions, FGSM(threat)(of, x, y, index=index)) for of in (one, two)]
    future = predictions(functions, PGD(threat)(two, x, y, index=index))
    whole = discrepancy(past, future, confidence=0.6)
    capsys.readouterr()
    line = LINES["discrepancy"].replace(MODEL, f"{MODEL},two.safetensors")
    line += " --eps 0.3 --confidence 0.6 --images 60 --batch-size 25 --json --quiet"
    assert run(["diagnose", *line.split()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [cell["difference"] for cell in told["cells"]] == pytest.approx(whole.each.tolist())
    assert 0 < whole.low < whole.value
    assert told["together"]["discrepancy"] == pytest.approx(whole.value)
    assert told["together"]["exceeded"] == pytest.approx(whole.low)
    parts = [cell["exceeded"] for cell in told["cells"]]  # hold together with the confidence
    assert sum(parts) / 2 == pytest.approx(whole.low)


def test_cosines_are_those_of_the_library(place, capsys):
    x, y, index = digits()
    model = load("one.safetensors")
    found = second_order_cosines(model, x, y, samples=2, iterations=4, index=index)
    (cell,) = said(capsys, LINES["curvature"])
    assert cell["one_draw"] == pytest.approx(float(found.one_draw.mean()), abs=1e-4)
    assert cell["mean_of_draws"] == pytest.approx(float(found.mean_of_draws.mean()), abs=1e-4)
    assert cell["chance"] == pytest.approx(found.chance)


def test_pass_is_that_of_the_images_that_fool(place, capsys):
    pytest.importorskip("cv2")
    x, y, index = digits()
    model = load("one.safetensors")
    x_adv = DeepFool(threat=L2(math.inf))(model, x, y, index=index)
    (cell,) = said(capsys, LINES["perceptual"])
    fooled = (model(x).argmax(dim=1) == y) & (model(x_adv).argmax(dim=1) != y)
    assert 0 < int(fooled.sum()) < len(x)
    assert cell["fooled"] == pytest.approx(float(fooled.double().mean()))
    score = perceptual_similarity(x, x_adv).score[fooled]
    assert cell["pass"] == pytest.approx(float(score.mean()), abs=1e-4)


def test_margins_are_those_of_the_library_relative_to_the_training_sets_mean(place, capsys):
    (cell,) = said(capsys, f"margin {MODEL} --steps 2 --overshoot 0.1")
    x, y, index = digits()
    mean = mean_image(datasets.load("digits", "train"))
    found = margins(load("one.safetensors"), x, y, mean=mean, steps=2, overshoot=0.1, index=index)
    assert cell["accuracy"] == pytest.approx(float(found.right.float().mean()))
    assert cell["rho2"] == pytest.approx(float(found.relative.mean()), rel=1e-5)
    assert cell["l2"] == pytest.approx(float(found.l2.mean()), rel=1e-5)


def test_convergence_is_that_of_the_epochs_that_a_run_kept(place, networks, capsys):
    made, trained = networks
    for epoch, network in enumerate(trained):
        save_epoch(place / "run", epoch, network, made)
    cells = said(capsys, "convergence --model run --out curves")
    x, y, _ = digits()
    mean = mean_image(datasets.load("digits", "train"))
    table = convergence(dict(enumerate(trained)), x, y, mean=mean, batch_size=5)
    assert [cell["rho2"] for cell in cells] == pytest.approx(table["rho2"].tolist(), rel=1e-5)
    assert [cell["accuracy"] for cell in cells] == pytest.approx(table["accuracy"].tolist())
    assert (place / "curves" / "convergence.svg").stat().st_size


def test_a_filter_lives_if_it_fires_anywhere_on_any_image(place, networks, capsys):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    )
    with torch.no_grad():
        network[0].weight[:, 0, 0, 0] = torch.tensor([1.0, -1.0, 1.0])
        network[0].bias[:] = torch.tensor([0.0, 0.0, -0.9])
    x = torch.full((3, 1, 2, 2), 0.5)
    x[2, 0, 1, 1] = 1.0
    fires = live_filters(network, x)["1"]
    assert fires.tolist() == [[True, False, False]] * 2 + [[True, False, True]]
    assert not network[1]._forward_hooks
    with pytest.raises(ModelError, match="no ReLU behind a convolution"):
        live_filters(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), x)
    made, (hurt, _) = networks
    hurt = copy.deepcopy(hurt)
    with torch.no_grad():
        hurt[0].bias[:3] = -100
    save_model(place / "hurt.safetensors", hurt, made)
    (cell,) = said(capsys, "filters --model hurt.safetensors")
    assert cell["filters"] == 8 + 32
    assert cell["layer 1: dead"] == pytest.approx(3 / 8)
    assert cell["dead"] == pytest.approx((3 + 32 * cell["layer 3: dead"]) / 40)


@pytest.mark.parametrize("figure", LINES)
def test_a_folder_holds_rows_and_figures_and_is_read_again(place, capsys, figure):
    if figure == "perceptual":
        pytest.importorskip("cv2")
    line = LINES[figure].replace(MODEL, f"{MODEL},two.safetensors") + " --out run"
    first = said(capsys, line, 2)
    assert [cell["model"] for cell in first] == ["one.safetensors", "two.safetensors"]
    assert json.loads((place / "run" / "run.json").read_text())["cells"] == first
    assert all((place / "run" / f"{figure}.{kind}").stat().st_size for kind in ("svg", "pdf"))
    assert read_rows(place / "run")["cell"].tolist() == [0] * 2 + [1] * 2
    assert said(capsys, line, 2) == first
    assert run(["diagnose", *line.split(), "--images", "2", "--seed", "1", "--quiet"]) == 2
    assert run(["diagnose", *line.split(), "--images", "2", "--batch-size", "5", "--quiet"]) == 0
    assert "figure: run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"linearity {MODEL} --multi i-fgsm", "early_stop=False"),
        (f"linearity {MODEL} --single nothing", "unknown attack"),
        ("linearity --model ,", "--model is empty"),
        (f"gradient-norm {MODEL} --attacks pgd", "early_stop=False"),
        (f"gradient-norm {MODEL} --attacks ,", "--attacks is empty"),
        (f"gradient-norm {MODEL} --attacks fgsm,fgsm", "--attacks has fgsm twice"),
        (f"surface {MODEL} --other two.safetensors --points 1", "an odd number of points"),
        (f"surface {MODEL} --other two.safetensors --eps 0", "positive size"),
        (f"surface {MODEL} --other none.safetensors", "none.safetensors"),
        (f"subspace {MODEL} --norm l1", "use L2 or Linf"),
        (f"subspace {MODEL} --orders 3", "3"),
        (f"subspace {MODEL} --orders 100", "100"),
        (f"curvature {MODEL} --xi 0", "must be positive"),
        (f"curvature {MODEL} --iterations 0", "iterations is 0"),
        (f"perceptual {MODEL} --attack nothing", "unknown attack"),
        (f"subspace {MODEL} --batch-size 0", "batch_size is 0"),
        (
            f"discrepancy {MODEL} --future two.safetensors --networks one.safetensors",
            "at least two",
        ),
        (f"discrepancy {MODEL} {BOTH} --future none.safetensors", "none.safetensors"),
        (f"discrepancy {MODEL} {BOTH} --future two.safetensors --confidence 1", "between 0 and 1"),
        (f"discrepancy {MODEL} {BOTH} --future two.safetensors --attack nothing", "unknown attack"),
        (f"margin {MODEL} --steps 0", "steps"),
        ("convergence --model one.safetensors", "--keep-epochs"),
    ],
)
def test_bad_input_is_refused_before_there_is_a_folder(place, capsys, line, words):
    assert run(["diagnose", *line.split(), "--out", "run", "--images", "3", "--quiet"]) == 2
    told = capsys.readouterr().err
    assert words in told, told
    assert told.count("\n") == 1
    assert not (place / "run").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--model runs/a,runs/a", "--model has runs/a twice"),
        ("--model runs/a --eps 0.1,0.2,0.1", "--eps has 0.1 twice"),
        ("--model runs/a --at 1,1", "--at has 1 twice"),
    ],
)
def test_what_a_chain_is_shown_by_is_given_once(place, capsys, line, words):
    assert run(["diagnose", "purification", *line.split(), "--out", "run"]) == 2
    assert words in capsys.readouterr().err
    assert not (place / "run").exists()


def test_a_killed_diagnosis_goes_on_at_the_missing_batch(tmp_path):
    looked = []

    def look(model, x, y, *, seed, index):
        if looked.count([2, 3]) == 0 and index.tolist() == [2, 3]:
            looked.append([2, 3])
            raise KeyboardInterrupt
        looked.append(index.tolist())
        return {"first": x.flatten(1)[:, 0], "x": x}

    diagnosis = Diagnosis("x", {}, look, lambda found: {"mean": float("nan")})
    data = Data.of(images(4), torch.zeros(4, dtype=torch.int64))
    models = {"m": small_network()}
    with pytest.raises(KeyboardInterrupt):
        diagnose_data(diagnosis, models, data, batch_size=2, out=tmp_path / "run")
    looked.append("again")
    found = diagnose_data(diagnosis, models, data, batch_size=2, out=tmp_path / "run")
    after = looked[looked.index("again") + 1 :]
    assert [0, 1] not in after
    assert [2, 3] in after
    assert torch.equal(torch.from_numpy(found["m"]["x"]), images(4))
    assert found["m"]["first"].tolist() == pytest.approx(images(4).flatten(1)[:, 0].tolist())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["cells"][0]["mean"] is None
    with pytest.raises(OutputError, match="seed"):
        diagnose_data(diagnosis, models, data, seed=1, batch_size=2, out=tmp_path / "run")
    with pytest.raises(InputError, match="no model"):
        diagnose_data(diagnosis, {}, data)
