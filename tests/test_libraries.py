"""Models of torchvision and timm by name; no network is needed."""

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models as torchvision_models

from holdfast import data
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.data.reading import Reading
from holdfast.errors import (
    DamagedFileError,
    HoldfastError,
    InputError,
    MissingFileError,
    MissingPackageError,
    UnknownNameError,
)
from holdfast.files import write_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import save_model, weights_of
from holdfast.models.external.library import read_otherwise
from holdfast.models.loading import load
from holdfast.tensors import fingerprint
from holdfast.training import Schedule, Standard, start_from, train_data
from tests.toys import images

SQUEEZENET = "torchvision/squeezenet1_1"
PRETRAINED = f"{SQUEEZENET}(weights='DEFAULT')"
FILE = "squeezenet1_1-b8a52dc0.pth"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def made(name, shape=(3, 32, 32), classes=7, **more):
    return Architecture(name=name, shape=shape, classes=classes, **more)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torchvision's weights, and no network."""

    def unreachable(*arguments, **more):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def squeezenet(cache):
    """A network whose random weights lie where torchvision looks for its own."""
    torch.manual_seed(0)
    network = torchvision_models.squeezenet1_1().eval()
    torch.save(network.state_dict(), cache / FILE)
    return network


class TestFresh:
    """Architectures."""

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("normalized", [False, True])
    def test_shapes_classes_and_round_trip(self, tmp_path, channels, normalized):
        architecture = made(SQUEEZENET, (channels, 32, 32), normalized=normalized)
        network = architecture.build(3, [0.4] * channels, [0.2] * channels).eval()
        x = images(2, (channels, 32, 32))
        assert network(x).shape == (2, 7)
        save_model(tmp_path / "model.safetensors", network, architecture)
        loaded = load(str(tmp_path))
        assert torch.allclose(loaded(x), network(x), atol=1e-5)
        assert fingerprint(loaded) == fingerprint(network)

    def test_grey_images_are_three_equal_channels(self):
        x = images(2, (1, 32, 32))
        grey = made(SQUEEZENET, (1, 32, 32)).build().eval()
        colour = made(SQUEEZENET).build().eval()
        assert torch.equal(grey(x), colour(x.repeat(1, 3, 1, 1)))

    def test_weights_come_from_the_seed(self):
        first, again, other = (fingerprint(made(SQUEEZENET).build(seed)) for seed in (1, 1, 2))
        assert first == again != other

    def test_the_network_is_torchvisions(self):
        network = made("torchvision/resnet18", (3, 64, 64), 10).build()
        assert isinstance(network, torchvision_models.ResNet)
        # Of ImageNet's 11,689,512 the last layer has 513,000.
        assert sum(p.numel() for p in network.parameters()) == 11_689_512 - 513_000 + 5_130

    def test_inception_gives_logits_alone_in_training(self):
        network = made("torchvision/inception_v3", (3, 75, 75)).build()
        assert network.training
        assert network(images(2, (3, 75, 75))).shape == (2, 7)

    def test_parameters_are_the_librarys(self):
        network = made("torchvision/squeezenet1_1(dropout=0.25)").build()
        assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.25}

    @pytest.mark.parametrize(
        ("name", "shape", "kind", "words"),
        [
            ("torchvision/alexnet", (3, 32, 32), InputError, r"made for 3×224×224"),
            (SQUEEZENET, (3, 8, 8), InputError, r"images of 3×8×8; it was made for 3×224×224"),
            (SQUEEZENET, (2, 32, 32), InputError, r"1 or 3 channels, but these have 2"),
            (f"{SQUEEZENET}(depth=3)", (3, 32, 32), InputError, r"\(depth=3\), it says"),
            (f"{SQUEEZENET}(3)", (3, 32, 32), InputError, r"given as name=value"),
            (f"{SQUEEZENET}(a=open('x'))", (3, 32, 32), InputError, r"cannot be read"),
            (f"{SQUEEZENET}(", (3, 32, 32), InputError, r"the bracket \( is not closed"),
            (PRETRAINED, (3, 32, 32), InputError, r"leave out weights="),
            ("torchvision/resnet19", (3, 32, 32), UnknownNameError, r"did you mean 'resnet18'"),
            ("resnet18", (3, 32, 32), UnknownNameError, r"did you mean 'torchvision/resnet18'"),
            ("inception_v4", (3, 32, 32), UnknownNameError, r"did you mean 'timm/inception_v4'"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_sentence(self, name, shape, kind, words):
        with pytest.raises(kind, match=words):
            made(name, shape).build()

    def test_an_architecture_is_no_model(self):
        with pytest.raises(InputError, match=r"without weights.*squeezenet1_1\(weights='DEFAULT'"):
            load(SQUEEZENET)

    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_classes_are_read_off_the_last_layer_whatever_the_order_of_a_file(
        self, tmp_path, prefix
    ):
        network = made(SQUEEZENET).build().eval()
        weights = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
        save_file(weights, tmp_path / "net.safetensors")  # which sorts them by their names
        loaded = load(f"{SQUEEZENET}(weights={tmp_path / 'net.safetensors'})", (3, 32, 32))
        x = images(2, (3, 32, 32))
        assert torch.allclose(loaded(x), network(x), atol=1e-6)


class TestLoadable:
    """What a file may ask of a library, for every one of them."""

    @pytest.mark.parametrize("parameters", ["progress=False"])
    def test_torchvision(self, cache, parameters):
        entries = made(SQUEEZENET).to_dict() | {"name": f"{SQUEEZENET}({parameters})"}
        with pytest.raises(InputError, match="a checkpoint holds only"):
            Architecture.from_dict(entries)

    def test_published_weights_are_no_parameter_of_a_file(self):
        entries = made(SQUEEZENET).to_dict() | {"name": f"{SQUEEZENET}(pretrained=True)"}
        with pytest.raises(InputError, match="has its weights already"):
            Architecture.from_dict(entries)

    def test_parameters_of_the_list_come_back(self, tmp_path):
        architecture = made("torchvision/squeezenet1_1(dropout=0.25)")
        save_model(tmp_path / "model.safetensors", architecture.build(), architecture)
        layers = load(str(tmp_path)).modules()
        assert {layer.p for layer in layers if isinstance(layer, nn.Dropout)} == {0.25}

    def test_a_name_is_a_name(self):
        for name in ("torchvision/resnet18:8", "timm/resnet18/../x", "timm/hf-hub:stranger/model"):
            with pytest.raises(InputError, match="names no model"):
                made(name)

    def test_parameters_that_no_parser_takes(self):
        for deep in ("-" * 100_000 + "1", "{[]: 1}", "[" * 5_000):
            with pytest.raises(InputError, match="cannot be read"):
                made(f"{SQUEEZENET}(dropout={deep})")


class TestPretrained:
    """Networks as torchvision publishes them."""

    @pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
    def test_loading_normalises(self, squeezenet, weights):
        model = load(f"{SQUEEZENET}(weights='{weights}')")
        assert not any(layer.training for layer in model.modules())
        x = images(2, (3, 64, 64))
        by_hand = (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
        assert torch.allclose(model(x), squeezenet(by_hand), atol=1e-5)

    def test_photographs_that_are_read_otherwise_are_told(self, squeezenet, tmp_path, capsys):
        for name in ("a/one", "b/two"):
            path = tmp_path / f"photos/{name}.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (260, 280)).save(path)
        model = nn.Sequential(load(PRETRAINED))
        told = {
            how: read_otherwise(model, data.load(f"folder(path='{tmp_path}/photos'{how})"))
            for how in ("", ", resize=256, crop=224", ", resize=232, crop=224", ", crop=224")
        }
        assert told[", resize=256, crop=224"] == []
        for how in ("", ", resize=232, crop=224", ", crop=224"):
            (note,) = told[how]
            assert "trained on photographs read by resize=256, crop=224" in note
        assert read_otherwise(model, data.load("digits")) == []
        common = ["--data", f"folder(path='{tmp_path}/photos', crop=64)", "--accelerator", "cpu"]
        assert run(["evaluate", "--model", PRETRAINED, "--attacks", "fgsm", *common]) == 0
        assert "trained on photographs read by resize=256, crop=224" in capsys.readouterr().err
        for path in tmp_path.rglob("*.png"):
            Image.new("RGB", (224, 224)).save(path)
        assert read_otherwise(model, data.load(f"{tmp_path}/photos")) == []

    def test_grey_images_are_three_equal_channels(self, squeezenet):
        model, x = load(PRETRAINED), images(2, (1, 64, 64))
        assert torch.allclose(model(x), model(x.repeat(1, 3, 1, 1)), atol=1e-6)

    def test_weights_fit_a_normalised_architecture(self, squeezenet):
        """So that training can begin from them, and go on through the common checkpoints."""
        model, x = load(PRETRAINED), images(2, (3, 64, 64))
        network = made(SQUEEZENET, (3, 64, 64), 1000, normalized=True).build().eval()
        network.load_state_dict(model.state_dict())
        assert torch.allclose(network(x), model(x), atol=1e-5)

    def test_fine_tuning_begins_with_them(self, squeezenet):
        network, architecture = start_from(Path(PRETRAINED))
        assert architecture == made(SQUEEZENET, (3, 224, 224), 1000, normalized=True)
        x = images(2, (3, 224, 224))
        assert torch.allclose(network(x), load(PRETRAINED)(x), atol=1e-5)
        with pytest.raises(MissingFileError, match="finished"):
            start_from(Path(SQUEEZENET))  # which has no weights

    def test_inception_keeps_its_own_normalisation(self, cache, monkeypatch):
        """It turns ImageNet's mean and deviation into 0.5 and 0.5; here that is one layer."""
        theirs = torchvision_models.Inception3(transform_input=True, init_weights=False).eval()
        monkeypatch.setattr(
            torchvision_models.Inception_V3_Weights,
            "get_state_dict",
            lambda self, **more: theirs.state_dict(),
        )
        model = load("torchvision/inception_v3(weights='DEFAULT')")
        x = images(2, (3, 75, 75))
        by_hand = (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
        assert torch.allclose(model(x), theirs(by_hand), atol=1e-4)
        network = (
            made("torchvision/inception_v3", (3, 75, 75), 1000, normalized=True).build().eval()
        )
        network.load_state_dict(model.state_dict())
        assert torch.allclose(network(x), model(x), atol=1e-5)
        assert model.train()(x).shape == (2, 1000)

    def test_images_that_do_not_fit(self, squeezenet):
        model = load(PRETRAINED)
        for shape in ((3, 8, 8), (2, 64, 64)):
            with pytest.raises(InputError, match=r"made for 3×224×224"):
                model(images(1, shape))

    def test_a_failure_on_the_right_shape_is_told_as_it_is(self, squeezenet):
        model = load(PRETRAINED)
        model.expects = (3, 8, 8)
        with pytest.raises(RuntimeError) as caught:
            model(images(1, (3, 8, 8)))
        assert not isinstance(caught.value, HoldfastError)

    def test_without_network_or_file(self, cache):
        with pytest.raises(
            MissingFileError, match=r"could not be downloaded.*TORCH_HOME"
        ) as caught:
            load(PRETRAINED)
        assert str(cache / FILE) in str(caught.value)

    def test_unknown_weights(self, cache):
        with pytest.raises(UnknownNameError, match=r"did you mean 'IMAGENET1K_V1'"):
            load(f"{SQUEEZENET}(weights='IMAGENET1K_V7')")

    def test_loading_never_executes(self, cache, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        torch.save(Bomb(), cache / FILE)
        with pytest.raises(DamagedFileError, match="holds more than weights"):
            load(PRETRAINED)
        (cache / FILE).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(DamagedFileError):
            load(PRETRAINED)
        assert not (tmp_path / "exploded").exists()

    def test_a_damaged_file(self, squeezenet, cache):
        whole = (cache / FILE).read_bytes()
        (cache / FILE).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DamagedFileError, match="remove it"):
            load(PRETRAINED)


class Bomb:
    def __reduce__(self):
        return (Path("exploded").touch, ())


#: What a stranger may want of timm, beside having a file of his unpickled.
HOSTILE = (
    "pretrained=True",
    "pretrained_cfg={'url': 'http://stranger/extra.pth'}",
    "pretrained_cfg_overlay={'file': 'extra.pth'}",
    "cache_dir='.'",
    "act_layer='silu'",
    "img_size={'a': 1}",
)


class TestTimm:
    """timm is optional; a stand-in with the functions that its documentation describes."""

    @pytest.fixture
    def timm(self, monkeypatch):
        calls = []

        def create_model(model_name, pretrained=False, num_classes=1000, in_chans=3, **more):
            calls.append((model_name, pretrained, num_classes, in_chans, more))
            if pretrained and model_name.endswith("lost"):
                raise OSError("no network")
            if more:
                raise TypeError("unexpected keyword argument")
            network = nn.Sequential(
                nn.Conv2d(in_chans, num_classes, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )
            network.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3} | CONFIG
            return network

        known = ["tiny.good", "tiny.lost"]
        module = ModuleType("timm")
        module.create_model = create_model
        module.list_models = lambda pretrained=False: known if pretrained else ["tiny"]
        module.is_model_pretrained = lambda name: name in ["tiny", *known]
        module.get_pretrained_cfg = lambda name: SimpleNamespace(to_dict=lambda: CONFIG)
        monkeypatch.setitem(sys.modules, "timm", module)
        return calls

    def test_fresh(self, timm, tmp_path):
        architecture = made("timm/tiny", (2, 16, 16))
        network = architecture.build().eval()
        assert timm == [("tiny", False, 7, 2, {})]
        save_model(tmp_path / "model.safetensors", network, architecture)
        x = images(2, (2, 16, 16))
        assert torch.allclose(load(str(tmp_path))(x), network(x), atol=1e-6)

    @pytest.mark.parametrize(
        ("spec", "asked"),
        [
            ("timm/tiny(weights='DEFAULT')", "tiny"),
            ("timm/tiny(pretrained=True)", "tiny"),
            ("timm/tiny(weights='good')", "tiny.good"),
            ("timm/tiny.good(weights='DEFAULT')", "tiny.good"),
        ],
    )
    def test_pretrained(self, timm, spec, asked):
        model, x = load(spec), images(2, (3, 16, 16))
        assert timm == [(asked, True, 1000, 3, {})]
        assert torch.allclose(model(x), model[1]((x - 0.5) / 0.25), atol=1e-5)
        assert not model.training

    @pytest.mark.parametrize(
        ("more", "reading"),
        [
            ({"crop_pct": 0.875, "interpolation": "bicubic"}, Reading(341, 299, "bicubic")),
            ({"crop_pct": 1.0, "interpolation": "bilinear"}, Reading(299, 299)),
            ({"crop_pct": 0.875, "interpolation": "bicubic", "crop_mode": "squash"}, None),
            ({"crop_pct": 0.875, "interpolation": "nearest"}, None),
        ],
    )
    def test_how_photographs_are_read_is_the_librarys(self, timm, monkeypatch, more, reading):
        monkeypatch.setattr(sys.modules[__name__], "CONFIG", {"input_size": (3, 299, 299), **more})
        assert load("timm/tiny.good(pretrained=True)").reading == reading

    @pytest.mark.parametrize("given", ["num_classes=9", "in_chans=1"])
    def test_published_weights_have_their_classes_and_channels(self, timm, given):
        with pytest.raises(InputError, match=f"{given}, but .* are those of the weights; leave"):
            load(f"timm/tiny(weights='good', {given})")

    def test_what_is_wrong_is_said_in_a_sentence(self, timm):
        with pytest.raises(UnknownNameError, match="did you mean 'tiny'"):
            made("timm/tinny")
        with pytest.raises(UnknownNameError, match=r"did you mean 'tiny\.good'"):
            load("timm/tiny(weights='god')")
        with pytest.raises(MissingFileError, match=r"could not be downloaded \(no network\)"):
            load("timm/tiny(weights='lost')")
        with pytest.raises(InputError, match=r"made for 3×24×20"):
            made("timm/tiny", (3, 4, 4)).build()
        for make in (made("timm/tiny(a=1)").build, lambda: load("timm/tiny(weights='good', a=1)")):
            with pytest.raises(InputError, match=r"tiny\(a=1\), it says: unexpected"):
                make()

    @pytest.fixture
    def unpickling(self, timm):
        """As timm did up to 1.0.22: a file named by a parameter is unpickled."""
        theirs = sys.modules["timm"].create_model

        def create_model(model_name, checkpoint_path="", **more):
            if checkpoint_path:
                torch.load(checkpoint_path, weights_only=False)
            return theirs(model_name, **more)

        sys.modules["timm"].create_model = create_model

    @pytest.mark.parametrize("parameters", ["checkpoint_path='extra.pth'", *HOSTILE])
    def test_a_file_gives_only_parameters_that_shape_the_network(
        self, timm, unpickling, tmp_path, monkeypatch, parameters
    ):
        monkeypatch.chdir(tmp_path)
        torch.save(Bomb(), "extra.pth")
        honest = made("timm/tiny", (3, 16, 16))
        entries = honest.to_dict() | {"name": f"timm/tiny({parameters})"}
        tensors = weights_of(honest.build())
        write_tensors(Path("model.safetensors"), tensors, {"architecture": entries})
        timm.clear()
        with pytest.raises(
            DamagedFileError,
            match=rf"given {parameters.partition('=')[0]}=|cannot be read|its weights already",
        ):
            load("model.safetensors")
        assert timm == []
        assert not Path("exploded").exists()

    def test_what_the_user_types_is_the_users(self, timm, unpickling, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        torch.save(Bomb(), "extra.pth")
        load("timm/tiny(weights='good', checkpoint_path='extra.pth')")
        assert Path("exploded").exists()

    def test_a_loadable_parameter_reaches_the_library(self, timm):
        entries = made("timm/tiny(drop_rate=0.1, depths=(1, 2))").to_dict()
        with pytest.raises(InputError, match="unexpected"):  # the stand-in takes none at all
            Architecture.from_dict(entries).build()
        assert timm == [("tiny", False, 7, 3, {"drop_rate": 0.1, "depths": (1, 2)})]

    def test_training_refuses_what_a_checkpoint_could_not_hold(self, timm, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = Data.of(images(4, (3, 16, 16)), torch.arange(4))
        architecture = made("timm/tiny(checkpoint_path='mine.pth')", (3, 16, 16), 4)
        with pytest.raises(InputError, match="leave out checkpoint_path"):
            train_data(architecture, data, Standard(), Schedule(epochs=1), Path("net"))
        assert timm == []
        assert list(tmp_path.iterdir()) == []

    def test_without_timm(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingPackageError, match=r'pip install "holdfast\[timm\]"'):
            made("timm/inception_v4")
        with pytest.raises(ImportError):
            load("timm/resnet18(weights='DEFAULT')")

    @pytest.mark.filterwarnings("ignore")  # of another project's import
    @pytest.mark.parametrize("name", ["timm/resnet18", "timm/inception_v4"])
    def test_the_real_one(self, name):
        pytest.importorskip("timm")
        network = made(name, (1, 96, 96)).build().eval()
        assert network(images(2, (1, 96, 96))).shape == (2, 7)

    @pytest.mark.filterwarnings("ignore")
    def test_the_real_ones_statistics(self):
        pytest.importorskip("timm")
        from holdfast.models.external.timm import TIMM

        assert "inception_resnet_v2" in TIMM.names()
        assert TIMM.expects("inception_resnet_v2") == (3, 299, 299)


CONFIG = {"input_size": (3, 24, 20)}


def test_the_command_line_trains_and_evaluates(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = ["--data", "digits", "--images", "32", "--accelerator", "cpu", "--quiet"]
    name = "torchvision/shufflenet_v2_x0_5"
    assert run(["train", "--model", name, "--epochs", "1", "--out", "net", *common]) == 0
    assert run(["evaluate", "--model", "net", "--attacks", "fgsm", "--eps", "0.1", *common]) == 0
    assert run(["train", "--model", SQUEEZENET, "--epochs", "1", "--out", "no", *common]) == 2
    assert "made for 3×224×224" in capsys.readouterr().err


def test_the_list_says_that_any_name_goes(capsys):
    assert run(["list"]) == 0
    text = capsys.readouterr().out
    for words in ("torchvision/NAME and timm/NAME", "timm/inception_v4", "malade-dae", "nin"):
        assert words in text
