"""Networks that other libraries publish whole, by name; files and hubs are written by the tests."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig, evaluate
from holdfast.attacks import PGD, Square
from holdfast.cli.main import run
from holdfast.errors import (
    DamagedFileError,
    GradientError,
    InputError,
    InputTypeError,
    MissingFileError,
    MissingPackageError,
    ModelError,
    UnknownNameError,
)
from holdfast.models.external.hugging_face import _probe
from holdfast.models.external.openclip import ZeroShot
from holdfast.models.external.published import _read
from holdfast.models.external.seen import Seen
from holdfast.models.loading import load, load_denoiser
from holdfast.threat import Linf
from tests.toys import images, small_network

pytestmark = pytest.mark.filterwarnings("ignore")  # of other projects' imports and calls


#: Of a vision transformer, small.
SIZES = {
    "patch_size": 8,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}

#: Of ImageNet, as most processors have them.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Small(nn.Module):
    """As RobustBench's networks: buffers of a normalisation that files may lack."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.5]).view(1, 1, 1, 1))
        self.register_buffer("sigma", torch.tensor([0.25]).view(1, 1, 1, 1))
        self.body = small_network(seed=5)

    def forward(self, x):
        return self.body((x - self.mu) / self.sigma)


class Two(nn.Module):
    """As its ensembles."""

    def __init__(self):
        super().__init__()
        self.models = nn.ModuleList([Small(), Small()])

    def forward(self, x):
        return self.models[0](x) + self.models[1](x)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("robustbench/Carmon2019Unlabeled?threat=Linf", {"threat": "Linf"}),
        ("robustbench/A?threat=L2&dataset=cifar10", {"threat": "L2", "dataset": "cifar10"}),
        ("robustbench/A(threat='L2')", {"threat": "L2"}),
        ("hf/owner/model?revision=1&resize=False", {"revision": 1, "resize": False}),
        ("hf/owner/model", {}),
    ],
)
def test_a_name_is_read_as_an_address_or_a_spec(spec, parameters):
    read = _read(spec)
    assert dict(read.parameters) == parameters
    assert read.name == spec.partition("?")[0].partition("(")[0]


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        ("robustbench/A?threat", InputError, "name=value pairs"),
        ("robustbench/A?thread=Linf", UnknownNameError, "did you mean 'threat'"),
        ("robustbench/A?threat=linf", InputTypeError, "Linf"),
        ("hf/", InputError, "names no model"),
        ("hf/./no/model", MissingFileError, "save_pretrained wrote"),
        ("openclip/ViT-B-32", InputError, "needs pretrained"),
        ("onnx/no.onnx", MissingFileError, "no file no.onnx"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(spec, kind, words):
    with pytest.raises(kind, match=words):
        load(spec)


class TestRobustBench:
    @pytest.fixture
    def zoo(self, monkeypatch, tmp_path):
        """A package whose ``__init__`` cannot be imported, as the index's, but its zoo can."""
        pytest.importorskip("timm")
        root = tmp_path / "site" / "robustbench"
        (root / "model_zoo").mkdir(parents=True)
        (root / "__init__.py").write_text("from autoattack import AutoAttack\n")
        (root / "model_zoo" / "__init__.py").write_text("from .models import model_dicts\n")
        (root / "model_zoo" / "models.py").write_text(
            "from enum import Enum\n"
            "from tests.test_published import Small, Two\n"
            "Data = Enum('Data', {'cifar_10': 'cifar10'})\n"
            "Threat = Enum('Threat', {'Linf': 'Linf'})\n"
            "model_dicts = {Data.cifar_10: {Threat.Linf: {\n"
            "    'One2020': {'model': Small, 'gdrive_id': 'abc'},\n"
            "    'Both2020': {'model': Two, 'gdrive_id': ['abc', 'def']},\n"
            "    'Mix2023': {'model': Small, 'gdrive_id': ['abc', 'def']},\n"
            "}}}\n"
        )
        monkeypatch.syspath_prepend(str(root.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] == "robustbench"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "gdown", None)
        monkeypatch.chdir(tmp_path)
        yield tmp_path / "models" / "cifar10" / "Linf"
        for name in [name for name in sys.modules if name.partition(".")[0] == "robustbench"]:
            del sys.modules[name]

    @pytest.mark.parametrize("wrapper", ["", "module.", "module.model."])
    @pytest.mark.parametrize("within", [None, "state_dict", "last"])
    def test_weights_are_loaded_however_they_were_saved(self, zoo, wrapper, within):
        zoo.mkdir(parents=True)
        torch.manual_seed(1)
        network = Small()
        for parameter in network.parameters():
            nn.init.normal_(parameter)
        weights = {
            f"{wrapper}{name}": tensor
            for name, tensor in network.state_dict().items()
            if name not in ("mu", "sigma")
        }
        weights[f"{wrapper}model_preact_hl1.1.weight"] = torch.zeros(3)
        torch.save(weights if within is None else {within: weights}, zoo / "One2020.pt")
        model, x = load("robustbench/One2020?threat=Linf"), images(3)
        assert not model.training
        assert torch.equal(model(x), network(x))
        given = load(f"robustbench/One2020(weights='{zoo / 'One2020.pt'}')")
        assert torch.equal(given(x), network(x))

    def test_an_ensemble_has_a_file_for_each(self, zoo):
        zoo.mkdir(parents=True)
        both = Two()
        for place, part in enumerate(both.models):
            nn.init.normal_(part.body[-1].weight)
            torch.save(part.state_dict(), zoo / f"Both2020.pt_m{place}.pt")
        x = images(3)
        assert torch.equal(load("robustbench/Both2020")(x), both(x))

    def test_a_mixture_that_only_robustbench_puts_together(self, zoo):
        with pytest.raises(InputError, match="in a way of its own"):
            load("robustbench/Mix2023")

    def test_missing_weights_are_downloaded_where_gdown_is(self, zoo, monkeypatch):
        with pytest.raises(MissingFileError, match=r"uc\?id=abc there, or install gdown"):
            load("robustbench/One2020")
        gdown = ModuleType("gdown")
        asked = []

        def download(id, output, quiet):
            asked.append(id)
            if len(asked) == 1:
                Path(output).write_bytes(b"half")
                raise OSError("no network")
            torch.save(Small().state_dict(), output)

        gdown.download = download
        monkeypatch.setitem(sys.modules, "gdown", gdown)
        with pytest.raises(MissingFileError, match="no network"):
            load("robustbench/One2020")
        assert list(zoo.iterdir()) == []
        x = images(2)
        assert torch.equal(load("robustbench/One2020")(x), Small()(x))
        load("robustbench/One2020")
        assert asked == ["abc", "abc"]

    def test_other_weights_and_names_are_refused(self, zoo):
        zoo.mkdir(parents=True)
        torch.save({"weight": torch.ones(3)}, zoo / "One2020.pt")
        with pytest.raises(DamagedFileError, match="does not hold weights of robustbench/One2020"):
            load("robustbench/One2020")
        with pytest.raises(UnknownNameError, match="did you mean 'One2020'"):
            load("robustbench/One2021")
        with pytest.raises(InputError, match="it has cifar10 Linf"):
            load("robustbench/One2020?threat=L2")

    def test_without_it(self, monkeypatch):
        for name in [name for name in sys.modules if name.partition(".")[0] == "robustbench"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr("holdfast.models.external.robustbench.find_spec", lambda name: None)
        with pytest.raises(MissingPackageError, match="pip install --no-deps robustbench"):
            load("robustbench/Carmon2019Unlabeled")

    def test_the_real_zoo(self, tmp_path):
        """On one of its architectures, a wide ResNet of 28 layers, with weights written here."""
        pytest.importorskip("timm")
        for package in ("geotorch", "torchdiffeq"):
            pytest.importorskip(package)
        if find_spec("robustbench") is None:
            pytest.skip("robustbench is not installed")
        from holdfast.models.external import robustbench

        torch.manual_seed(0)
        network = robustbench._entry("Carmon2019Unlabeled", "Linf", "cifar10")["model"]().eval()
        nn.init.normal_(network.fc.weight)
        weights = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"state_dict": weights}, tmp_path / "net.pt")
        model = load(f"robustbench/Carmon2019Unlabeled?threat=Linf&weights={tmp_path / 'net.pt'}")
        x = images(2, (3, 32, 32))
        assert torch.equal(model(x), network(x))


class TestSeen:
    def test_it_resizes_as_torchvision_does(self):
        from torchvision.transforms.v2 import functional

        x = images(2, (3, 20, 30))
        seen = Seen([0.5] * 3, [0.25] * 3, resize=10, crop=(8, 8))(x)
        by_hand = functional.center_crop(functional.resize(x, [10], antialias=True), [8, 8])
        assert torch.allclose(seen, (by_hand - 0.5) / 0.25, atol=1e-5)

    def test_gradients_reach_every_pixel_that_counts(self):
        x = images(1, (3, 20, 20)).requires_grad_()
        Seen([0.0] * 3, [1.0] * 3, resize=(10, 10), interpolation="bicubic")(x).sum().backward()
        assert (x.grad != 0).all()

    def test_what_has_no_gradient_is_refused(self):
        with pytest.raises(InputError, match="a gradient is known of"):
            Seen([0.5], [0.5], interpolation="lanczos")


class TestHuggingFace:
    @pytest.fixture
    def vit(self, tmp_path, monkeypatch):
        transformers = pytest.importorskip("transformers")
        config = transformers.ViTConfig(**SIZES, image_size=16, num_labels=3)
        torch.manual_seed(0)
        network = transformers.ViTForImageClassification(config).eval()
        folder = tmp_path / "owner" / "vit"
        network.save_pretrained(folder)
        monkeypatch.chdir(tmp_path)
        return network, folder

    def test_the_model_sees_what_its_processor_makes(self, vit):
        import transformers

        network, folder = vit
        processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
        processor.save_pretrained(folder)
        model = load("hf/owner/vit")
        pixels = torch.randint(0, 256, (2, 3, 24, 20), dtype=torch.uint8)
        theirs = processor(list(pixels), return_tensors="pt")["pixel_values"]
        x = pixels.float() / 255
        assert torch.allclose(model(x), network(pixel_values=theirs).logits, atol=0.02)
        assert torch.allclose(model[0](x), theirs, atol=0.02)

    def test_it_can_be_attacked_and_evaluated_by_name(self, vit, capsys):
        import transformers

        transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(vit[1])
        model, x = load("hf/owner/vit"), images(4, (3, 12, 12))
        y = model(x).argmax(dim=1)
        found = evaluate(model, x, y, [PGD(Linf(0.5))], config=EvaluationConfig(audit=0))
        assert found.cells[0]["clean_accuracy"] == 1
        assert found.cells[0]["robust_accuracy"] < 1

    def test_sizes_by_the_shorter_side_and_images_that_are_ready(self, vit):
        import transformers

        network, folder = vit
        transformers.ViTImageProcessor(
            size={"shortest_edge": 20}, do_center_crop=True, crop_size={"height": 16, "width": 16}
        ).save_pretrained(folder)
        seen = load("hf/owner/vit")[0]
        assert seen(images(1, (3, 40, 30))).shape == (1, 3, 16, 16)
        ready = load("hf/owner/vit?resize=False")
        x = images(2, (3, 16, 16))
        assert torch.allclose(ready(x), network(pixel_values=(x - 0.5) / 0.5).logits, atol=1e-5)

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("EfficientNet", {}),
            ("EfficientNet", {"do_normalize": False}),
            ("EfficientNet", {"resample": 0, "size": {"height": 50, "width": 70}}),
            ("MobileViT", {}),
            ("ConvNext", {"size": {"shortest_edge": 224}}),
            ("PoolFormer", {}),
            ("ViT", {"image_mean": [0.4], "image_std": [0.3], "rescale_factor": 1 / 128}),
        ],
    )
    def test_processors_of_many_kinds(self, vit, kind, settings):
        import transformers

        processor = getattr(transformers, f"{kind}ImageProcessor")(**settings)
        processor.save_pretrained(vit[1])
        seen = load("hf/owner/vit")[0]
        pixels = (255 * _probe(3)).round().to(torch.uint8)
        theirs = processor(list(pixels), return_tensors="pt")["pixel_values"]
        assert torch.allclose(seen(pixels / 255), theirs, atol=0.08)

    @pytest.mark.parametrize("kind", ["Levit", "Perceiver", "Siglip2", "TextNet"])
    def test_a_processor_that_is_not_known_is_refused(self, vit, kind):
        import transformers

        getattr(transformers, f"{kind}ImageProcessor")().save_pretrained(vit[1])
        with pytest.raises(InputError, match=f"{kind}ImageProcessor.*, does to images what is not"):
            load("hf/owner/vit")

    def test_one_that_only_resizes_in_an_unknown_way_can_be_left_out(self, vit):
        import transformers

        network, folder = vit
        transformers.LevitImageProcessor().save_pretrained(folder)
        model, x = load("hf/owner/vit?resize=False"), images(2, (3, 16, 16))
        mean, std = (torch.tensor(s).view(3, 1, 1) for s in (MEAN, STD))
        assert torch.allclose(model(x), network(pixel_values=(x - mean) / std).logits, atol=1e-5)

    def test_weights_without_a_classifier_are_no_classifier(self, vit):
        import transformers

        network, folder = vit
        network.vit.save_pretrained(folder)
        transformers.ViTImageProcessor().save_pretrained(folder)
        with pytest.raises(InputError, match="would be random: give a model that was trained"):
            load("hf/owner/vit")

    def test_weights_of_16_bits_answer_in_32(self, vit):
        import transformers

        network, folder = vit
        network.half().save_pretrained(folder)
        transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
        model, x = load("hf/owner/vit"), images(2, (3, 16, 16))
        assert model(x).dtype == torch.float32
        theirs = network.float()(pixel_values=(x - 0.5) / 0.5).logits
        assert torch.allclose(model(x), theirs, atol=1e-5)

    def test_networks_of_one_channel(self, vit):
        import transformers

        folder = vit[1]
        config = transformers.ViTConfig(**{**SIZES, "num_channels": 1}, image_size=16, num_labels=3)
        network = transformers.ViTForImageClassification(config).eval()
        network.save_pretrained(folder)
        transformers.ViTImageProcessor(
            size={"height": 16, "width": 16}, image_mean=[0.5], image_std=[0.5]
        ).save_pretrained(folder)
        x = images(2, (1, 16, 16))
        theirs = network(pixel_values=(x - 0.5) / 0.5).logits
        assert torch.allclose(load("hf/owner/vit")(x), theirs, atol=1e-5)

    def test_a_folder_that_is_there_is_not_looked_for_elsewhere(self, vit):
        with pytest.raises(DamagedFileError, match="processor into it by save_pretrained"):
            load("hf/owner/vit")  # it has no processor
        (vit[1] / "config.json").unlink()
        with pytest.raises(MissingFileError, match=r"vit/config\.json is missing"):
            load("hf/owner/vit")

    @pytest.mark.parametrize("way", ["center", "squash", "border"])
    def test_how_timm_cuts_images(self, tmp_path, monkeypatch, way):
        timm = pytest.importorskip("timm")
        if not hasattr(timm.models, "save_for_hf"):
            pytest.skip("this timm writes no such folder")
        monkeypatch.chdir(tmp_path)
        network = timm.create_model("test_resnet.r160_in1k", pretrained=False).eval()
        network.pretrained_cfg |= {"crop_mode": way, "crop_pct": 0.9}
        timm.models.save_for_hf(network, "owner/net", safe_serialization=True)
        if way == "border":
            with pytest.raises(InputError, match=r"adds a border.*resize=False"):
                load("hf/owner/net")
            return
        from torchvision.transforms.functional import to_pil_image

        theirs = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))
        x = (255 * _probe(3)[0]).round() / 255
        seen = load("hf/owner/net")[0](x[None])[0]
        assert torch.allclose(seen, theirs(to_pil_image(x)), atol=0.08)

    def test_models_of_timm(self, tmp_path, monkeypatch):
        timm = pytest.importorskip("timm")
        if not hasattr(timm.models, "save_for_hf"):
            pytest.skip("this timm writes no such folder")
        monkeypatch.chdir(tmp_path)
        network = timm.create_model("test_resnet.r160_in1k", pretrained=False).eval()
        timm.models.save_for_hf(network, "owner/net", safe_serialization=True)
        model, x = load("hf/owner/net?resize=False"), images(2, (3, 64, 64))
        about = network.pretrained_cfg
        mean, std = (torch.tensor(about[key]).view(3, 1, 1) for key in ("mean", "std"))
        assert torch.allclose(model(x), network((x - mean) / std), atol=1e-4)
        assert load("hf/owner/net")[0](x).shape[-2:] == torch.Size(about["input_size"][1:])

    def test_without_network(self, monkeypatch):
        hub = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(hub, "hf_hub_download", fail)
        with pytest.raises(MissingFileError, match=r"could not be downloaded.*HF_HOME"):
            load("hf/owner/nothing")

    def test_without_transformers(self, tmp_path, monkeypatch):
        (tmp_path / "config.json").write_text('{"model_type": "vit"}')
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingPackageError, match=r'pip install "holdfast\[hf\]"'):
            load(f"hf/{tmp_path}")


def fail(*arguments, **more):
    raise OSError("no network")


def tiny_clip(folder):
    """A file that describes a network for open_clip."""
    about = folder / "tiny-clip.json"
    about.write_text(
        '{"embed_dim": 8, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, '
        '"patch_size": 8}, "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8,'
        ' "heads": 2, "layers": 1}}'
    )
    return about


class TestOpenCLIP:
    @pytest.fixture
    def names(self, tmp_path):
        path = tmp_path / "names.txt"
        path.write_text("cat\ndog\n\ncar\n")
        return path

    def test_a_zero_shot_classifier_of_a_file_of_weights(self, names, tmp_path):
        clip = pytest.importorskip("open_clip")
        clip.add_model_config(tiny_clip(tmp_path))
        torch.manual_seed(0)
        network = clip.create_model("tiny-clip").eval()
        torch.save(network.state_dict(), tmp_path / "net.pt")
        model = load(f"openclip/tiny-clip?pretrained={tmp_path / 'net.pt'}&classes={names}")
        x = images(2, (3, 16, 16))
        words = clip.get_tokenizer("tiny-clip")(
            [f"a photo of a {n}." for n in ("cat", "dog", "car")]
        )
        mean, std = (
            torch.tensor(s).view(3, 1, 1)
            for s in (network.visual.image_mean, network.visual.image_std)
        )
        image = network.encode_image((x - mean) / std, normalize=True)
        theirs = network.logit_scale.exp() * image @ network.encode_text(words, normalize=True).T
        assert torch.allclose(model(x), theirs, atol=1e-3)
        adversarial = PGD(Linf(0.3))(model, x, model(x).argmax(dim=1))
        assert not torch.equal(adversarial, x)

    @pytest.mark.parametrize(
        "said", [{"quick_gelu": True}, {"resize_mode": "squash", "interpolation": "bilinear"}]
    )
    def test_weights_are_published_with_an_activation_and_a_way_to_resize(
        self, names, tmp_path, monkeypatch, said
    ):
        clip = pytest.importorskip("open_clip")
        clip.add_model_config(tiny_clip(tmp_path))
        about = {"url": "", "mean": tuple(MEAN), "std": tuple(STD), **said}
        monkeypatch.setitem(clip.pretrained._PRETRAINED, "tiny-clip", {"mine": about})
        monkeypatch.setattr(clip.factory, "download_pretrained", lambda *a, **k: f"{names}.pt")
        torch.manual_seed(0)
        network = clip.create_model("tiny-clip", force_quick_gelu="quick_gelu" in said).eval()
        torch.save(network.state_dict(), f"{names}.pt")
        way = {key: said[key] for key in ("resize_mode", "interpolation") if key in said}
        theirs = clip.image_transform(16, is_train=False, mean=MEAN, std=STD, **way)
        model = load(f"openclip/tiny-clip?pretrained=mine&classes={names}")
        from torchvision.transforms.functional import to_pil_image

        x = (255 * _probe(3)).round() / 255
        seen = theirs(to_pil_image(x[0]))[None]
        assert torch.allclose(model.seen(x), seen, atol=0.08)
        image = network.encode_image(model.seen(x), normalize=True)
        assert torch.allclose(model(x), network.logit_scale.exp() * image @ model.words.T)

    def test_no_weights_are_not_random_ones(self, names, tmp_path):
        clip = pytest.importorskip("open_clip")
        clip.add_model_config(tiny_clip(tmp_path))
        with pytest.raises(MissingFileError, match="weights  of openclip/tiny-clip"):
            load(f"openclip/tiny-clip(pretrained='', classes='{names}')")

    def test_names_and_template_are_needed(self, names, tmp_path):
        (tmp_path / "one.txt").write_text("cat\n")
        for spec, kind, words in (
            (f"openclip/A?pretrained=b&classes={tmp_path / 'one.txt'}", InputError, "at least 2"),
            (f"openclip/A(pretrained='b', classes='{names}', template='x')", InputError, "one {}"),
            ("openclip/A?pretrained=b&classes=no.txt", MissingFileError, "a name a line"),
        ):
            with pytest.raises(kind, match=words):
                load(spec)

    def test_the_nearest_sentence_is_the_class(self):
        class Both(nn.Module):
            logit_scale, visual = torch.tensor(0.0), nn.Identity()

            def encode_image(self, x):
                return x.mean(dim=(2, 3))

            def encode_text(self, words):
                return words.float()

        x = torch.full((2, 3, 4, 4), 0.1)
        x[0, 1], x[1, 2] = 1, 1
        model = ZeroShot(Both(), 5 * torch.eye(3, dtype=torch.int64))
        assert model(x).argmax(dim=1).tolist() == [1, 2]


class TestONNX:
    @pytest.fixture
    def exported(self, tmp_path):
        """A network written as ONNX, of any batch and of batches of 3."""
        onnx = pytest.importorskip("onnx")
        from onnx import TensorProto, helper, numpy_helper

        network = small_network()
        weight, bias = network[3].weight.detach().numpy(), network[3].bias.detach().numpy()
        kernel, shift = network[0].weight.detach().numpy(), network[0].bias.detach().numpy()

        def write(batch):
            graph = helper.make_graph(
                [
                    helper.make_node("Conv", ["x", "k", "s"], ["c"], pads=[1] * 4),
                    helper.make_node("Tanh", ["c"], ["t"]),
                    helper.make_node("Flatten", ["t"], ["f"]),
                    helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1),
                ],
                "net",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 6, 6])],
                [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
                [
                    numpy_helper.from_array(np.ascontiguousarray(array), name)
                    for array, name in ((kernel, "k"), (shift, "s"), (weight, "w"), (bias, "b"))
                ],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
            model.ir_version = 8
            path = tmp_path / f"net-{batch}.onnx"
            onnx.save(model, path)
            return path

        return network, write

    def test_its_layers_have_gradients(self, exported):
        pytest.importorskip("onnx2torch")
        network, write = exported
        model, x = load(f"onnx/{write('n')}"), images(4)
        y = network(x).argmax(dim=1)
        assert torch.allclose(model(x), network(x), atol=1e-5)
        own = PGD(Linf(0.1))(network, x, y)
        assert torch.allclose(PGD(Linf(0.1))(model, x, y), own, atol=1e-4)

    @pytest.mark.parametrize("batch", ["n", 3])
    def test_its_answers_are_asked_in_batches_that_it_takes(self, exported, batch):
        pytest.importorskip("onnxruntime")
        network, write = exported
        model, x = load(f"onnxruntime/{write(batch)}"), images(7)
        assert torch.allclose(model(x), network(x), atol=1e-5)
        y = network(x).argmax(dim=1)
        adversarial = Square(Linf(0.5), queries=50)(model, x, y)
        assert (model(adversarial).argmax(dim=1) != y).any()

    def test_a_gradient_is_refused_in_a_sentence(self, exported):
        pytest.importorskip("onnxruntime")
        network, write = exported
        model, x = load(f"onnxruntime/{write('n')}"), images(4)
        y = network(x).argmax(dim=1)
        with pytest.raises(GradientError, match="has no gradient: choose attacks that ask for"):
            PGD(Linf(0.1))(model, x, y)

    def test_the_command_line_runs_what_asks_for_answers_alone(self, exported, tmp_path, capsys):
        pytest.importorskip("onnxruntime")
        from torchvision.utils import save_image

        _, write = exported
        for place, image in enumerate(images(4)):
            folder = tmp_path / "photos" / str(place)
            folder.mkdir(parents=True)
            save_image(image.expand(3, -1, -1), folder / "a.png")
        common = ["--model", f"onnxruntime/{write('n')}", "--eps", "0.5", "--accelerator", "cpu"]
        common += ["--data", f"folder(path={tmp_path / 'photos'}, channels=1)", "--quiet"]
        assert run(["evaluate", "--attacks", "square(queries=20)", "--audit", "off", *common]) == 0
        assert run(["evaluate", "--attacks", "pgd", "--audit", "off", *common]) == 2
        assert "has no gradient" in capsys.readouterr().err

    def test_layers_that_take_a_fixed_number_of_images_take_any(self, exported, tmp_path):
        """As torch.onnx.export writes without dynamic_axes: a shape that is one of one image."""
        pytest.importorskip("onnx2torch")
        import onnx
        from onnx import helper, numpy_helper

        network, write = exported
        model = onnx.load(write(1))
        nodes = [node for node in model.graph.node if node.op_type != "Flatten"]
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "two"))
        flatten = helper.make_node("Reshape", ["t", "two"], ["f"])
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:2], flatten, *nodes[2:]])
        onnx.save(model, tmp_path / "one.onnx")
        loaded, x = load(f"onnx/{tmp_path / 'one.onnx'}"), images(5)
        assert torch.allclose(loaded(x), network(x), atol=1e-5)
        y = network(x).argmax(dim=1)
        own = PGD(Linf(0.1))(network, x, y)
        assert torch.allclose(PGD(Linf(0.1))(loaded, x, y), own, atol=1e-4)
        assert type(load(f"onnx/{write(3)}")) is not type(loaded)  # whose layers take any

    @pytest.mark.parametrize(
        ("library", "package"), [("onnx", "onnx2torch"), ("onnxruntime", "onnxruntime")]
    )
    def test_which_of_several_outputs_the_logits_are_is_not_guessed(
        self, exported, tmp_path, library, package
    ):
        pytest.importorskip(package)
        import onnx
        from onnx import TensorProto, helper

        model = onnx.load(exported[1]("n"))
        model.graph.output.insert(
            0, helper.make_tensor_value_info("f", TensorProto.FLOAT, ["n", 1])
        )
        onnx.save(model, tmp_path / "two.onnx")
        with pytest.raises(InputError, match="has 2 outputs, f, logits, but must"):
            load(f"{library}/{tmp_path / 'two.onnx'}")

    def test_a_file_by_its_path_alone(self, tmp_path):
        (tmp_path / "net.onnx").write_bytes(b"nothing")
        with pytest.raises(InputError, match=r"write onnx/.*which has gradients"):
            load(str(tmp_path / "net.onnx"))

    def test_a_damaged_file(self, tmp_path):
        pytest.importorskip("onnxruntime")
        (tmp_path / "net.onnx").write_bytes(b"nothing")
        with pytest.raises(DamagedFileError, match="damaged"):
            load(f"onnxruntime/{tmp_path / 'net.onnx'}")

    def test_no_denoiser(self, exported):
        pytest.importorskip("onnx2torch")
        with pytest.raises(ModelError, match="is a classifier"):
            load_denoiser(f"onnx/{exported[1]('n')}")
