import json
import pickle
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holdfast import models
from holdfast.built import origin_of
from holdfast.data import Data
from holdfast.errors import (
    DamagedFileError,
    InputError,
    MissingFileError,
    ModelError,
    UnknownNameError,
)
from holdfast.models import ARCHITECTURES, Architecture, Normalize, centre_of, mean_image
from holdfast.models.checkpoint import save_model
from holdfast.models.loading import load
from holdfast.tensors import fingerprint

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)

# Weights and biases counted by hand from the papers' tables, for MNIST's 28×28 images.
FOR_MNIST = {
    "A": (64 * 25 + 64) + (64 * 64 * 25 + 64) + (64 * 20 * 20 * 128 + 128) + (128 * 10 + 10),
    "B": (64 * 64 + 64) + (128 * 64 * 36 + 128) + (128 * 128 * 25 + 128) + (128 * 10 + 10),
    "Bstar": (64 * 64 + 64) + (128 * 64 * 36 + 128) + (128 * 128 * 25 + 128) + (128 * 10 + 10),
    "C": (128 * 9 + 128) + (64 * 128 * 9 + 64) + (64 * 5 * 5 * 128 + 128) + (128 * 10 + 10),
    "Ccode": (128 * 9 + 128) + (64 * 128 * 9 + 64) + (64 * 24 * 24 * 128 + 128) + (128 * 10 + 10),
    "D": (784 * 300 + 300) + 3 * (300 * 300 + 300) + (300 * 10 + 10),
    "Dcode": (784 * 300 + 300) + 3 * (300 * 300 + 300) + (300 * 10 + 10),
    "madry-mnist": (32 * 25 + 32) + (64 * 32 * 25 + 64) + (7 * 7 * 64 * 1024 + 1024) + 10250,
    "mlp": (784 * 500 + 500) + (500 * 150 + 150) + (150 * 10 + 10),
    "lenet": (20 * 25 + 20) + (50 * 20 * 25 + 50) + (4 * 4 * 50 * 500 + 500) + (500 * 10 + 10),
    "malade-cnn": (128 * 9 + 128) + (64 * 128 * 25 + 64) + (11 * 11 * 64 * 128 + 128) + 1290,
    "small": (8 * 9 + 8) + (32 * 8 * 9 + 32) + (14 * 14 * 32 * 128 + 128) + (128 * 10 + 10),
}


def units(narrow, wide):
    """Five residual units: convolutions without bias, batch normalisations of two a channel."""
    first = 2 * narrow + 9 * narrow * wide + 2 * wide + 9 * wide * wide
    return first + 4 * (2 * (2 * wide + 9 * wide * wide))


# And for CIFAR-10's 32×32.
FOR_CIFAR = {
    "madry-cifar10": 27 * 16 + units(16, 160) + units(160, 320) + units(320, 640) + 1280 + 6410,
    "stn-cifar10": (96 * 75 + 96)
    + (96 * 96 + 96)
    + (192 * 96 * 25 + 192)
    + (192 * 192 + 192)
    + (256 * 192 * 9 + 256)
    + (256 * 256 + 256)
    + (10 * 256 + 10),
    "convnet": (32 * 75 + 32)
    + (32 * 32 * 25 + 32)
    + (64 * 32 * 25 + 64)
    + (64 * 64 * 16 + 64)
    + (10 * 64 + 10),
    "nin": (192 * 75 + 192)
    + (160 * 192 + 160)
    + (96 * 160 + 96)
    + (192 * 96 * 25 + 192)
    + 2 * (192 * 192 + 192)
    + (192 * 192 * 9 + 192)
    + (192 * 192 + 192)
    + (10 * 192 + 10),
}
PARAMETERS = [(name, MNIST, count) for name, count in FOR_MNIST.items()]
PARAMETERS += [(name, CIFAR, count) for name, count in FOR_CIFAR.items()]


def architecture(name="small", shape=(1, 8, 8), **more):
    return Architecture(name=name, shape=shape, classes=10, **more)


def test_every_architecture_is_counted():
    assert {name for name, _, _ in PARAMETERS} == set(ARCHITECTURES)


@pytest.mark.parametrize(("name", "shape", "count"), PARAMETERS)
def test_architectures_are_those_of_the_papers(name, shape, count):
    network = architecture(name, shape).build()
    assert sum(p.numel() for p in network.parameters()) == count
    assert network(torch.rand(1, *shape)).shape == (1, 10)


def test_b_has_input_dropout_and_bstar_has_not():
    assert isinstance(models.B()[0], nn.Dropout)
    assert not isinstance(models.Bstar()[0], nn.Dropout)
    x = torch.rand(1, 1, 28, 28)
    b, bstar = models.B().eval(), models.Bstar().eval()
    bstar.load_state_dict(dict(zip(bstar.state_dict(), b.state_dict().values(), strict=True)))
    assert torch.equal(b(x), bstar(x))


def test_c_and_d_of_the_code_differ_from_the_tables_in_activation_pooling_and_dropout():
    def of(kind, network):
        return [layer for layer in network.modules() if isinstance(layer, kind)]

    assert of(nn.Tanh, models.C())
    assert not of((nn.Tanh, nn.MaxPool2d), models.Ccode())
    rates = [[layer.p for layer in of(nn.Dropout, n)] for n in (models.Ccode(), models.Dcode())]
    assert rates == [[0.25, 0.5], [0.5] * 4]
    assert [layer.p for layer in of(nn.Dropout, models.D())] == [0.5]
    d, dcode = models.D().eval(), models.Dcode().eval()
    dcode.load_state_dict(dict(zip(dcode.state_dict(), d.state_dict().values(), strict=True)))
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(d(x), dcode(x))


def test_input_dropout_stands_before_any_architecture_and_b_is_it_before_bstar():
    written = Architecture(name="dropout | Bstar", shape=MNIST, classes=10).build(seed=3)
    b = Architecture(name="B", shape=MNIST, classes=10).build(seed=3)
    assert all(map(torch.equal, written.state_dict().values(), b.state_dict().values()))
    x = torch.ones(1, *MNIST)
    dropped = written[0](x)
    assert 0.1 < (dropped == 0).float().mean() < 0.3
    assert torch.equal(dropped[dropped > 0], torch.full_like(dropped[dropped > 0], 1 / 0.8))
    assert torch.equal(written.eval()[0](x), x)
    with pytest.raises(InputError, match="rate is 1"):
        models.InputDropout(1.0)


def test_other_shapes_and_classes():
    network = Architecture(name="C", shape=(3, 32, 32), classes=7).build()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(InputError, match="8×8 pixels are too small"):
        architecture("A").build()


def weighted(network):
    return [m for m in network.modules() if hasattr(m, "weight") and m.weight.dim() > 1]


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name, shape, _ in PARAMETERS if name not in ("D", "Dcode")]
    + [("malade-dae", MNIST)],
)
def test_keras_draws_glorots_uniform_weights_and_no_bias(name, shape):
    """The largest of thousands of draws from U(-a, a) lies just below a, their deviation a / √3."""
    for layer in weighted(architecture(name, shape, init="keras").build(seed=3)):
        receptive = layer.weight[0, 0].numel()
        limit = (6 / (sum(layer.weight.shape[:2]) * receptive)) ** 0.5
        largest = float(layer.weight.detach().abs().max())
        assert largest <= limit * (1 + 1e-6)
        if layer.weight.numel() > 1000:
            assert largest > 0.99 * limit
            assert float(layer.weight.detach().std()) == pytest.approx(limit / 3**0.5, rel=0.05)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize("name", ["D", "Dcode", "dropout | D"])
def test_keras_draws_the_hidden_layers_of_d_by_he_and_the_last_by_glorot(name):
    *hidden, last = weighted(architecture(name, MNIST, init="keras").build())
    for layer in hidden:
        deviation = (2 / layer.in_features) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.02)
        assert layer.weight.abs().max() > 3 * deviation  # normal, not uniform
    assert last.weight.abs().max() <= (6 / 310) ** 0.5
    assert not any(layer.bias.any() for layer in (*hidden, last))


def test_how_weights_were_drawn_is_kept_and_an_older_file_says_nothing(tmp_path):
    made = architecture(init="keras")
    assert Architecture.from_dict(made.to_dict()) == made
    assert fingerprint(made.build(1)) == fingerprint(made.build(1))
    assert fingerprint(made.build(1)) not in map(
        fingerprint, (made.build(2), architecture().build(1))
    )
    older = {name: value for name, value in made.to_dict().items() if name != "init"}
    assert Architecture.from_dict(older) == architecture()
    with pytest.raises(UnknownNameError, match="did you mean 'keras'"):
        Architecture.from_dict({**older, "init": "kerras"})


def test_gaussian_weights_are_small_and_biases_nothing():
    layers = weighted(architecture("lenet", MNIST, init="gaussian").build(seed=3))
    assert len(layers) == 4
    for layer in layers:
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
        assert not layer.bias.any()


def test_a_centred_network_sees_255_times_what_an_image_has_above_the_mean():
    made = architecture("mlp", MNIST, centred=True)
    assert Architecture.from_dict(made.to_dict()) == made
    older = {name: value for name, value in made.to_dict().items() if name != "centred"}
    assert Architecture.from_dict(older) == architecture("mlp", MNIST)
    x, mean = torch.rand(3, *MNIST), torch.rand(MNIST)
    network, plain = made.build(1, mean_image=mean), architecture("mlp", MNIST).build(1)
    assert torch.allclose(network(x), plain(255 * (x - mean)), rtol=1e-4)
    assert torch.equal(centre_of(network), mean)
    assert centre_of(plain) is None
    assert set(dict(network.named_parameters())) == {f"1.{k}" for k, _ in plain.named_parameters()}
    with pytest.raises(InputError, match="not both"):
        architecture("mlp", MNIST, centred=True, normalized=True)


def test_the_mean_image_is_over_all_images_of_a_set():
    x = torch.rand(1500, 1, 2, 2)  # more than are read at once
    data = Data.of(x, torch.zeros(1500, dtype=torch.int64))
    assert torch.allclose(mean_image(data), x.mean(dim=0), atol=1e-6)


def test_initial_weights_come_from_the_seed():
    state = torch.get_rng_state()
    first, again, other = (architecture().build(seed) for seed in (1, 1, 2))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert torch.equal(torch.get_rng_state(), state)


def test_normalisation_is_a_layer():
    network = architecture(normalized=True).build(mean=[0.3], std=[0.4])
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(network[0](x), (x - 0.3) / 0.4)
    assert torch.equal(network(x), network[1](network[0](x)))
    with pytest.raises(InputError, match="do not fit"):
        Normalize([0.5], [0.1, 0.1])
    with pytest.raises(InputError, match="above 0"):
        Normalize([0.5], [0.0])


def test_classes_of_a_librarys_architecture_are_those_of_the_data():
    with pytest.raises(InputError, match=r"num_classes=2, but classes .* leave num_classes out"):
        architecture("torchvision/squeezenet1_1(num_classes=2)", (3, 64, 64)).build()


def test_unknown_architecture():
    with pytest.raises(UnknownNameError, match="did you mean 'lenet'"):
        architecture("lennet")


@pytest.mark.parametrize("normalized", [False, True])
def test_checkpoints_give_the_network_back(tmp_path, normalized):
    made = architecture(normalized=normalized)
    network = made.build(3, [0.2], [0.5]).eval()
    save_model(tmp_path / "model.safetensors", network, made)
    for spec in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load(str(spec))
        assert not loaded.training
        x = torch.rand(3, 1, 8, 8)
        assert torch.allclose(loaded(x), network(x), atol=1e-6)
        assert fingerprint(loaded) == fingerprint(network)


def test_a_layer_without_weights_leaves_the_fingerprint():
    network = architecture().build()
    assert fingerprint(nn.Sequential(nn.Identity(), network)) == fingerprint(network)


class Bomb:
    def __reduce__(self):
        import pathlib

        return (pathlib.Path("exploded").touch, ())


def test_loading_never_executes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save(Bomb(), tmp_path / "torch.safetensors")
    for name in ("model.safetensors", "torch.safetensors"):
        with pytest.raises(DamagedFileError):
            load(str(tmp_path / name))
    assert not (tmp_path / "exploded").exists()


def saved_weights(folder):
    """The weights of one network as programs save them, and the network."""
    network = architecture().build(3)
    state = network.state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save({"epoch": 1, "optimizer": {}, "state_dict": state}, folder / "checkpoint.ckpt")
    torch.save(nn.DataParallel(network).state_dict(), folder / "parallel.pt")
    save_file(state, folder / "plain.safetensors")
    return network.eval()


@pytest.mark.parametrize(
    "name", ["plain.pth", "checkpoint.ckpt", "parallel.pt", "plain.safetensors"]
)
def test_an_architecture_takes_the_weights_of_a_file(tmp_path, name):
    network, x = saved_weights(tmp_path), torch.rand(3, 1, 8, 8)
    path = tmp_path / name
    for loaded in (
        load(f"small(weights={path})", (1, 8, 8)),
        load(f"small(weights={path}, shape=(1, 8, 8), classes=10)", (3, 32, 32)),
    ):
        assert not loaded.training
        assert torch.allclose(loaded(x), network(x), atol=1e-6)
    defended = load(f"binarise | small(weights={path})", (1, 8, 8))
    assert torch.allclose(defended(x), network(x.round()), atol=1e-6)


def test_a_file_of_weights_must_fit_and_hold_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved_weights(tmp_path)
    torch.save(Bomb(), "bomb.pth")
    torch.save({"state_dict": Bomb()}, "within.pth")
    torch.save([1, 2], "list.pth")
    Path("short.pth").write_bytes(Path("plain.pth").read_bytes()[:200])
    Path("text.pt").write_text("abc")
    for name, words in (
        ("bomb.pth", "pickle of more than numbers"),
        ("within.pth", "pickle of more than numbers"),
        ("list.pth", "no state dict"),
        ("short.pth", "damaged"),
        ("text.pt", "damaged"),
    ):
        for spec in (name, f"small(weights={name})"):
            with pytest.raises(DamagedFileError, match=words):
                load(spec, (1, 8, 8))
    assert not Path("exploded").exists()
    with pytest.raises(DamagedFileError, match=r"has shape \(.*should have"):
        load("small(weights=plain.pth, classes=9)", (1, 8, 8))
    with pytest.raises(InputError, match="depends on the images"):
        load("small(weights=plain.pth)")


@pytest.mark.filterwarnings("ignore")  # that TorchScript is deprecated
def test_weights_of_another_kind_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = saved_weights(tmp_path)
    rounded = {name: (100 * tensor).to(torch.int8) for name, tensor in network.state_dict().items()}
    torch.save(rounded, "rounded.pth")
    with pytest.raises(DamagedFileError, match=r"holds whole numbers, torch\.int8, as quantised"):
        load("small(weights=rounded.pth)", (1, 8, 8))
    torch.jit.trace(network, torch.rand(1, 1, 8, 8)).save("traced.pt")
    with pytest.raises(DamagedFileError, match="TorchScript program and no state dict: give"):
        load("small(weights=traced.pt)", (1, 8, 8))


def test_the_conversion_that_a_refusal_shows_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = architecture().build(3).eval()
    torch.save(network, "whole.pth")
    with pytest.raises(DamagedFileError) as refused:
        load("whole.pth")
    exec(re.search(r'python -c "(.*)"', str(refused.value))[1])  # as the reader types it
    loaded, x = load("small(weights=whole-weights.pth)", (1, 8, 8)), torch.rand(2, 1, 8, 8)
    assert torch.allclose(loaded(x), network(x), atol=1e-6)


def test_damaged_and_missing_checkpoints(tmp_path):
    made = architecture()
    path = tmp_path / "model.safetensors"
    save_model(path, made.build(), made)
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], b"", b"\0" * 100):
        path.write_bytes(part)
        with pytest.raises(DamagedFileError, match="damaged"):
            load(str(path))
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"not which network's.*\(weights="):
        load(str(path))
    wrong = Architecture(name="mlp", shape=(1, 8, 8), classes=10)
    save_model(path, made.build(), wrong)
    with pytest.raises(DamagedFileError, match="does not hold the network"):
        load(str(path))
    with pytest.raises(MissingFileError, match="there is no model"):
        load(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"no finished network.* go on where it stopped"):
        load(str(tmp_path / "empty"))
    trained = {"data": "digits", "data_fingerprint": "0", "images": 4, "held_out": 0, "seed": 0}
    for kind, complete, words in (
        ("train", False, "run the holdfast train command"),
        ("train", True, "finished, so put the copy back"),  # since it makes none again
        ("bench", True, "one of holdfast bench, so give the folder of a training"),
    ):
        about = {"kind": kind, "complete": complete, "settings": trained}
        (tmp_path / "empty" / "run.json").write_text(json.dumps(about))
        with pytest.raises(MissingFileError, match=words):
            load(str(tmp_path / "empty"))


def test_callables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_models.py").write_text(
        "import torch\n"
        "def good():\n    return torch.nn.Flatten()\n"
        "def bad():\n    return 3\n"
        "def broken():\n    raise KeyError('weights')\n"
        "def needs(x):\n    return torch.nn.Flatten()\n"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert isinstance(load("user_models:good"), nn.Flatten)
    for spec, words in (
        ("user_models:bad", "returned an int"),
        ("user_models:broken", "KeyError"),
        ("user_models:needs", "no arguments"),
        ("user_models:nothing", "no 'nothing'"),
        ("no_such_module:f", "cannot be imported"),
        (":f", "cannot be imported"),
    ):
        with pytest.raises(ModelError, match=words):
            load(spec)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_callable_with_parameters_and_a_file_of_weights(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, width=4):\n        super().__init__(2, width)\n"
        "class Own(Net):\n"
        "    def __init__(self, weights):\n"
        "        super().__init__(5)\n        self.file = weights\n"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    saved = nn.Linear(2, 3).state_dict()
    file = f"net{suffix}"
    save_file(saved, file) if suffix == ".safetensors" else torch.save({"state_dict": saved}, file)
    net = load(f"user_nets:Net(width=3, weights={file})")
    torch.testing.assert_close(net.state_dict(), saved, rtol=0, atol=0)
    assert not net.training
    assert load("user_nets:Net(width=3)").out_features == 3
    assert load(f"user_nets:Own(weights={file})").file == file  # it loads them as it likes
    again = origin_of(net).build_again()
    torch.testing.assert_close(again.state_dict(), saved, rtol=0, atol=0)
    for spec, error, words in (
        (
            f"user_nets:Net(weights={file})",
            DamagedFileError,
            r"weights of user_nets:Net: .* \(3,.*its parameters",
        ),
        (f"user_nets:Net(height=3, weights={file})", ModelError, "unexpected.*these arguments"),
        (f"user_nets:Net(weights=no{suffix})", MissingFileError, "no file of weights"),
        ("user_nets:Net(width=", InputError, "model"),
        (file, InputError, r"package\.module:Net\(weights=net"),
    ):
        with pytest.raises(error, match=words):
            load(spec)


def test_an_architecture_is_no_model():
    with pytest.raises(InputError, match="without weights"):
        load("lenet")
