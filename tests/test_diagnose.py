"""What purification does on the way: arrays, table, and the figure from the command line."""

import copy
from dataclasses import is_dataclass

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import data as datasets
from holdfast import diagnose
from holdfast.attacks import PGD
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import MALADE, GaussianNoise
from holdfast.diagnose import purification, trace_purification
from holdfast.diagnose.purification import CLEAN
from holdfast.errors import InputError, ModelError
from holdfast.files import read_json, read_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import save_model
from holdfast.models.purified import PURIFIED, save_purified
from holdfast.report import pictures
from holdfast.threat import Linf
from tests.cases import DIAGNOSES, NOT_DIAGNOSES
from tests.test_tuning import networks
from tests.toys import Wrapped, images, small_network


def tensors(found):
    """All numbers of what a diagnosis finds, whatever it is made of."""
    if isinstance(found, torch.Tensor):
        return [found]
    if isinstance(found, pd.DataFrame):
        return [torch.tensor(found.to_numpy(dtype="float64"))]
    if is_dataclass(found):
        found = tuple(vars(found).values())
    return [one for part in found for one in tensors(part)] if isinstance(found, tuple) else []


def test_every_exported_diagnosis_has_a_case():
    found = {name: getattr(diagnose, name) for name in diagnose.__all__}
    functions = {name for name, kind in found.items() if not isinstance(kind, type)}
    assert functions == set(DIAGNOSES) | NOT_DIAGNOSES


@pytest.mark.parametrize("look", DIAGNOSES.values(), ids=DIAGNOSES)
def test_a_diagnosis_finds_the_same_twice_and_leaves_no_trace(look):
    """Of a model that draws random numbers, by Holdfast's streams and by torch's."""
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(), nn.Linear(144, 4)
    model = nn.Sequential(GaussianNoise(1e-3), *layers).double().eval()
    x = images(3, (1, 8, 8)).double()
    y = model[1:](x).argmax(dim=1)
    before, kept, state = copy.deepcopy(model.state_dict()), x.clone(), torch.get_rng_state()
    first, second = tensors(look(model, x, y)), tensors(look(model, x, y))
    assert first
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
    fewer = tensors(look(model, x[:2], y[:2]))
    for all_three, two in zip(first, fewer, strict=True):
        if two.shape != all_three.shape:  # otherwise it is a mean over the images
            axis = [n != m for n, m in zip(two.shape, all_three.shape, strict=True)].index(True)
            same = all_three.narrow(axis, 0, 2)
            assert torch.allclose(two, same, rtol=1e-6, atol=1e-6, equal_nan=True)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def towards_grey(steps=4, delta=0.0):
    """Each step goes half of the way to 0.5."""
    grey = Wrapped(lambda x: torch.full_like(x, 0.5))
    layer = MALADE(grey, steps=steps, alpha=0.5, delta=delta, sigma=1.0)
    return nn.Sequential(layer, small_network()).eval()


def test_the_images_are_the_chains_and_the_numbers_those_of_the_classifier():
    model, x = towards_grey(), images(1)
    attacks = {"m": {"weak": PGD(Linf(0.1), steps=2), "strong": PGD(Linf(0.3), steps=2)}}
    table, pictures = purification({"m": model}, x, 2, attacks, (0, 1, 4))
    assert table["step"].tolist() == [CLEAN, 0, 1, 4] * 2
    assert table["attack"].tolist() == ["weak"] * 4 + ["strong"] * 4
    assert pictures.shape == (8, 1, 6, 6)
    assert torch.equal(pictures[0], x[0])
    for start, eps in ((0, 0.1), (4, 0.3)):
        attacked = pictures[start + 1]
        assert 0.05 < float((attacked - x[0]).abs().max()) <= eps + 1e-6
        assert torch.allclose(pictures[start + 2], 0.5 + (attacked - 0.5) / 2)
        assert torch.allclose(pictures[start + 3], 0.5 + (attacked - 0.5) / 16)
    p = model[1](pictures).softmax(dim=1)
    assert table["prediction"].tolist() == p.argmax(dim=1).tolist()
    assert table["p_label"].tolist() == pytest.approx(p[:, 2].tolist(), abs=1e-6)
    p[:, 2] = 0
    assert table["other"].tolist() == p.argmax(dim=1).tolist()
    assert table["p_other"].tolist() == pytest.approx(p.amax(dim=1).tolist(), abs=1e-6)


def test_two_models_draw_the_same_noise():
    attacks = {"attack": PGD(Linf(0.1), steps=1)}
    model = towards_grey(delta=0.1)
    both = {"a": model, "b": model}
    table, pictures = purification(
        both, images(1), 0, dict.fromkeys(both, attacks), (0, 4), index=7
    )
    assert torch.equal(pictures[:3], pictures[3:])
    assert len(table) == 6


def test_what_cannot_be_followed():
    attacks = {"m": {"a": PGD(Linf(0.1), steps=1)}}
    with pytest.raises(ModelError, match="tune malade"):
        purification({"m": small_network()}, images(1), 0, attacks, (0,))
    for steps in ((0, 5), ()):
        with pytest.raises(InputError, match="4 steps"):
            purification({"m": towards_grey()}, images(1), 0, attacks, steps)


def test_a_run_with_a_folder_and_without_one(tmp_path):
    models = {"m": towards_grey()}
    data = Data.of(images(3), torch.tensor([0, 1, 2]))
    attacks = {"m": {"pgd": PGD(Linf(0.1), steps=2)}}
    found = trace_purification(models, data, 2, attacks, (1, 4))
    for _ in range(2):  # run, then read
        kept = trace_purification(models, data, 2, attacks, (1, 4), out=tmp_path / "run")
        pd.testing.assert_frame_equal(kept.table, found.table)
        assert torch.equal(kept.pictures, found.pictures)
    assert found.table["step"].tolist() == [CLEAN, 0, 1, 4]
    with pytest.raises(InputError, match="numbered from 0 to 2"):
        trace_purification(models, data, 3, attacks, (1,))
    with pytest.raises(InputError, match="no model"):
        trace_purification({}, data, 0, {}, (1,))
    with pytest.raises(InputError, match=r"a model is called ' ', which no table can show"):
        trace_purification({" ": towards_grey()}, data, 0, {" ": {}}, (1,))


def test_a_strip_shows_every_picture_with_its_caption():
    grey, colour = torch.rand(5, 4).numpy(), torch.rand(5, 4, 3).numpy()
    shown = [pictures.Strip("one", [grey, grey + 2], ["a", "b"])]
    shown.append(pictures.Strip("two", [colour, colour], ["c", "d"]))
    figure = pictures.strips(["first", "second"], shown)
    (axes,) = figure.axes
    assert len(axes.images) == 4
    assert {text.get_text() for text in axes.texts} == {"first", "second", "one", "two", *"abcd"}
    for picture in axes.images:
        assert 0 <= picture.get_array().min() <= picture.get_array().max() <= 1


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, alpha in (("malade", 0.02), ("mala", 0.09)):
        (tmp_path / name).mkdir()
        layer = MALADE(nn.Identity(), steps=3, alpha=alpha, delta=0.05, sigma=0.3)
        save_purified(tmp_path / name / PURIFIED, layer, networks())
    command = ["diagnose", "purification", "--model", "malade,mala", "--image", "3", "--out", "run"]
    options = ["--attack", "pgd(steps=1)", "--eps", "0.1,0.2", "--at", "1,3", "--variant", "bpda"]
    assert run([*command, *options]) == 0
    table = pd.read_csv(tmp_path / "run" / "traces.csv")
    assert len(table) == 2 * 2 * 4
    assert set(table["label"]) == {int(datasets.load("digits", limit=4).y[3])}
    assert read_tensors(tmp_path / "run" / "traces.safetensors")[0]["images"].shape[0] == 16
    assert "BPDA" in str(read_json(tmp_path / "run" / "run.json")["settings"]["attacks"])
    svg = (tmp_path / "run" / "traces.svg").read_bytes()
    (tmp_path / "run" / "traces.svg").unlink()
    assert run([*command, *options]) == 0  # drawn again from what is there
    assert (tmp_path / "run" / "traces.svg").read_bytes() == svg
    assert run([*command, *options, "--seed", "1"]) == 2
    bare = Architecture(name="small", shape=(1, 8, 8), classes=10)
    save_model(tmp_path / "bare.safetensors", bare.build(), bare)
    assert run([*command[:-1], "same", *options[:-2], "--source", "bare.safetensors"]) == 0
    pictures = read_tensors(tmp_path / "same" / "traces.safetensors")[0]["images"]
    assert torch.equal(pictures[:8:4], pictures[8::4])  # the image, and what it became on the way:
    assert torch.equal(pictures[1:8:4], pictures[9::4])  # attacked once, for both chains
    apart = read_tensors(tmp_path / "run" / "traces.safetensors")[0]["images"]
    assert not torch.equal(apart[1:8:4], apart[9::4])
    for wrong, named in (
        (["--variant", "bpd"], "bpda"),
        (["--at", "4"], "3 steps"),
        (["--image", "500"], "500 test images"),
    ):
        assert run([*command[:-1], "other", *options, *wrong]) == 2
        assert named in capsys.readouterr().err
