import gzip
import hashlib
import inspect
import shutil
import struct
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, models, transforms

from holdfast import data
from holdfast.data.reading import Reading
from holdfast.errors import (
    DamagedFileError,
    InputError,
    InputTypeError,
    MissingFileError,
    MissingPackageError,
    UnknownNameError,
)
from holdfast.models import Normalize


def folder(root, classes=("ape", "bee"), count=3, mode="L", size=(5, 4)):
    generator = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            shape = size[::-1] if mode == "L" else (*size[::-1], 3)
            pixels = generator.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def write_mnist(root, images, labels, part="t10k"):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
            f">{array.ndim}i", *array.shape
        )
        (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def mnist(root, count=7):
    generator = np.random.default_rng(1)
    for part in ("train", "t10k"):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_mnist(root, images, labels, part)
    return images, labels


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"y": torch.arange(3)}, "labels have shape"),
        ({"y": torch.arange(8) + 0.9}, "labels have type"),
        ({"y": torch.arange(8)[:, None]}, "labels have shape"),
        ({"y": torch.arange(8) - 1}, "label 0 is -1"),
        ({"x": 255 * torch.ones(8, 1, 4, 4)}, "image 0 has values from 255"),
        ({"x": torch.rand(8, 1, 4, 4).numpy()}, "images are"),
        ({"x": torch.rand(0, 1, 4, 4), "y": torch.arange(0)}, "at least one image"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_tensors_are_images_with_a_label_each(changed, named):
    with pytest.raises((InputError, InputTypeError), match=named):
        data.Data.of(**{"x": torch.rand(8, 1, 4, 4), "y": torch.arange(8)} | changed)


def test_digits_are_split_once_and_lie_in_the_box():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert (len(train), len(test)) == (1297, 500)
    assert test.shape == (1, 8, 8)
    x = test.x(torch.arange(500))
    assert x.min() == 0
    assert x.max() == 1
    assert test.y.bincount().min() > 30
    rows = {tuple(row.tolist()) for row in x.flatten(1)}
    others = {tuple(row.tolist()) for row in train.x(torch.arange(1297)).flatten(1)}
    assert not rows & others


def test_mnist_from_its_files(tmp_path, monkeypatch):
    images, labels = mnist(tmp_path)
    found = data.load("mnist", data_dir=tmp_path)
    assert found.shape == (1, 28, 28)
    assert len(found.classes) == 10
    assert torch.equal(found.y, torch.from_numpy(labels.astype(np.int64)))
    x = found.x(torch.tensor([2, 0]))
    assert np.allclose(x.numpy()[:, 0], images[[2, 0]] / 255)
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    assert len(data.load("mnist", "train", limit=3)) == 3


def test_damaged_mnist(tmp_path):
    mnist(tmp_path)
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    for content in (whole[:-100], b"", gzip.compress(whole)):
        file.write_bytes(content)
        with pytest.raises(DamagedFileError, match="damaged"):
            data.load("mnist", data_dir=tmp_path)
    mnist(tmp_path)
    write_mnist(tmp_path, np.zeros((7, 28, 28), np.uint8), np.full(7, 77, np.uint8))
    with pytest.raises(DamagedFileError, match="do not fit"):
        data.load("mnist", data_dir=tmp_path)


def test_missing_mnist_is_downloaded_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    class Unreachable:
        def __init__(self, root, train=True, download=False):
            if not download:
                raise RuntimeError("Dataset not found. You can use download=True to download it")
            raise OSError("no network\nat all")

    monkeypatch.setattr(datasets, "MNIST", Unreachable)
    with pytest.raises(MissingFileError, match=r"no network at all.*--data-dir") as caught:
        data.load("mnist", data_dir=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_download_goes_where_the_data_are_kept(tmp_path, monkeypatch):
    original = datasets.MNIST

    class Reachable(original):
        def __init__(self, root, train=True, download=False):
            if download:
                from pathlib import Path

                mnist(Path(root))
                # torchvision names the folder after the class.
                (Path(root) / "MNIST").rename(Path(root) / "Reachable")
            super().__init__(root, train=train)

    monkeypatch.setattr(datasets, "MNIST", Reachable)
    assert len(data.load("mnist", data_dir=tmp_path / "cache")) == 7
    assert (tmp_path / "cache" / "Reachable" / "raw").is_dir()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folders_keep_grey_images_grey(tmp_path, mode, channels):
    root = folder(tmp_path / "images", mode=mode)
    found = data.load(str(root))
    assert found.classes == ("ape", "bee")
    assert found.shape == (channels, 4, 5)
    assert found.y.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.asarray(Image.open(root / "bee" / "0.png"), dtype=np.float32) / 255
    x = found.x(torch.tensor([3]))[0]
    assert np.allclose(x.permute(1, 2, 0).squeeze().numpy(), expected)


def test_sixteen_bit_images(tmp_path):
    (tmp_path / "one").mkdir()
    Image.fromarray(np.array([[0, 65535], [32768, 1]], dtype=np.uint16)).save(
        tmp_path / "one" / "deep.png"
    )
    x = data.load(str(tmp_path)).x(torch.tensor([0]))
    assert torch.allclose(x[0, 0], torch.tensor([[0, 1.0], [32768 / 65535, 1 / 65535]]))


def test_sixteen_bits_that_pillow_holds_in_32(tmp_path):
    (tmp_path / "one").mkdir()
    deep = np.array([[0, 65535], [32768, 1]], dtype=">u2")
    (tmp_path / "one" / "deep.pgm").write_bytes(b"P5\n2 2\n65535\n" + deep.tobytes())
    x = data.load(str(tmp_path)).x(torch.tensor([0]))
    assert torch.allclose(x[0, 0], torch.tensor([[0, 1.0], [32768 / 65535, 1 / 65535]]))


@pytest.mark.parametrize(
    ("dtype", "said"), [(np.float32, "floating point"), (np.int32, "32-bit whole numbers")]
)
def test_pixels_without_a_white_are_refused(tmp_path, dtype, said):
    (tmp_path / "one").mkdir()
    Image.fromarray(np.ones((2, 2), dtype=dtype)).save(tmp_path / "one" / "scan.tiff")
    with pytest.raises(InputError, match=f"scan.tiff has pixels of {said}.*8 or 16 bits"):
        data.load(str(tmp_path))


def test_folders_with_splits(tmp_path):
    folder(tmp_path / "train", count=4)
    folder(tmp_path / "val", count=2)
    assert len(data.load(str(tmp_path), "train")) == 8
    assert len(data.load(str(tmp_path), "test")) == 4
    folder(tmp_path / "test", count=1)
    assert len(data.load(str(tmp_path), "test")) == 2


def test_a_folder_is_named_by_where_it_lies_in_the_data_folder(tmp_path, monkeypatch):
    folder(tmp_path / "bees" / "train", count=4)
    folder(tmp_path / "bees" / "test", count=2)
    found = data.load("bees", data_dir=tmp_path)
    assert (found.name, len(found)) == ("bees", 4)
    assert found.fingerprint() == data.load(str(tmp_path / "bees")).fingerprint()
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path))
    assert len(data.load("bees", "train")) == 8
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        data.load("MNIST", data_dir=tmp_path)


def test_a_limit_takes_all_classes_of_a_folder_and_the_first_images_of_a_set(tmp_path):
    root = folder(tmp_path, classes=[f"c{k}" for k in range(5)], count=7)
    found = data.load(str(root), limit=10)
    assert found.y.bincount().tolist() == [2] * 5
    assert data.load(str(root), limit=7).y.tolist() == [0, 0, 1, 2, 2, 3, 4]
    with pytest.warns(UserWarning, match="1000 images are asked for, but .* has 35 in test"):
        assert len(data.load(str(root), limit=1000)) == 35
    assert len(data.load(str(root), limit=35)) == 35
    digits = data.load("digits", limit=3)
    assert torch.equal(digits.x(torch.arange(3)), data.load("digits").x(torch.arange(3)))


@pytest.mark.parametrize("missing", ["a", "b"])
def test_classes_are_numbered_by_the_folders_of_train(missing, tmp_path):
    """Of a class without a test image the others keep their numbers."""
    folder(tmp_path / "train", classes=["a", "b", "c"], count=2)
    folder(tmp_path / "test", classes=sorted({"a", "b", "c"} - {missing}), count=2)
    found = data.load(str(tmp_path))
    assert list(found.classes) == ["a", "b", "c"]
    assert found.y.tolist() == [n for n in range(3) if "abc"[n] != missing for _ in range(2)]


def test_a_class_that_train_does_not_hold_is_told(tmp_path):
    folder(tmp_path / "train", classes=["a", "b"], count=2)
    folder(tmp_path / "val", classes=["a", "b", "c"], count=2)
    with pytest.raises(InputError, match=r"holds a class 'c' that .*train does not"):
        data.load(str(tmp_path))
    assert len(data.load(str(tmp_path), "train")) == 4


def test_a_folder_without_an_image_is_named_and_a_hidden_one_is_no_class(tmp_path):
    root = folder(tmp_path / "images", classes=["a", "b"], count=2)
    (root / ".git").mkdir()
    assert list(data.load(str(root)).classes) == ["a", "b"]
    (root / "__MACOSX").mkdir()
    with pytest.raises(InputError, match=r"there is no image in .*__MACOSX"):
        data.load(str(root))


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="no image folder"):
        data.load(str(tmp_path))
    root = folder(tmp_path / "images")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(root / "bee" / "9.png")
    with pytest.raises(InputError, match=r"9\.png has shape \(1, 9, 9\)"):
        data.load(str(root)).x(torch.arange(7))
    (root / "ape" / "0.png").write_bytes(b"no image")
    with pytest.raises(DamagedFileError, match=r"0\.png is damaged"):
        data.load(str(root))
    whole = (root / "bee" / "0.png").read_bytes()
    (root / "bee" / "0.png").write_bytes(whole[:60])
    with pytest.raises(DamagedFileError, match=r"0\.png is damaged"):
        data.load(str(root / "..") + "/images").x(torch.tensor([3]))


def test_bad_names(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        data.load("mnits")
    with pytest.raises(MissingFileError, match="no image folder"):
        data.load(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="0 images are asked for"):
        data.load("digits", limit=0)


@pytest.mark.parametrize("split", ["nope", "Train", "", None, 1])
def test_an_unknown_split_is_refused(split):
    with pytest.raises(InputTypeError, match=r"split .* must be 'train' or 'test'"):
        inspect.unwrap(data.load)("digits", split)  # without the tests' own type checker


@pytest.mark.parametrize("limit", [1.5, True, "3"])
def test_a_limit_is_a_whole_number(limit):
    with pytest.raises(InputTypeError, match="limit"):
        inspect.unwrap(data.load)("digits", limit=limit)


def test_fingerprints_tell_data_apart():
    prints = {
        data.load("digits", split, limit=limit).fingerprint()
        for split in ("train", "test")
        for limit in (None, 100)
    }
    assert len(prints) == 4
    assert data.load("digits").fingerprint() == data.load("digits").fingerprint()


SIZES = ((40, 31), (33, 64), (29, 30), (80, 29))
MODES = {"L": ".png", "RGB": ".JPEG", "RGBA": ".png", "P": ".png", "1": ".png", "CMYK": ".jpg"}


def photographs(root, classes=("ape", "bee"), places=("",)):
    """Images of mixed sizes and modes in one folder for each class; returns their paths."""
    generator = np.random.default_rng(2)
    files = []
    for name in classes:
        for place in places:
            (root / name / place).mkdir(parents=True, exist_ok=True)
            for i, (mode, ending) in enumerate(MODES.items()):
                width, height = SIZES[i % len(SIZES)]
                pixels = generator.integers(0, 256, (height, width, 4), dtype=np.uint8)
                file = root / name / place / f"{name}_{i}{ending}"
                Image.fromarray(pixels).convert("RGB").convert(mode).save(file)
                files.append(file)
    return files


def by_torchvision(file, resize, crop, interpolation="bilinear"):
    with Image.open(file) as image:
        return transforms.Compose(
            [
                transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
                transforms.CenterCrop(crop),
                transforms.ToTensor(),
            ]
        )(image.convert("RGB"))


@pytest.mark.parametrize(
    ("resize", "crop", "interpolation"),
    [(28, 24, "bilinear"), (28, 28, "bicubic"), (50, 33, "bicubic"), (9, 8, "bilinear")],
)
def test_images_of_mixed_sizes_are_those_of_torchvisions_transforms(
    tmp_path, resize, crop, interpolation
):
    files = photographs(tmp_path)
    sizes = f"resize={resize}, crop={crop}, interpolation={interpolation}, channels=3"
    found = data.load(f"folder(path={tmp_path}, {sizes})")
    assert found.shape == (3, crop, crop)
    assert found.y.tolist() == [0] * len(MODES) + [1] * len(MODES)
    x = found.x(torch.arange(len(found)))
    expected = [by_torchvision(file, resize, crop, interpolation) for file in files]
    assert torch.equal(x, torch.stack(expected))


def test_with_the_models_normalisation_an_image_is_what_the_weights_were_trained_on(tmp_path):
    files = photographs(tmp_path, ["ape"])
    published = models.Inception_V3_Weights.DEFAULT.transforms()
    found = data.load(f"folder(path={tmp_path}, resize=342, crop=299, channels=3)")
    x = Normalize(published.mean, published.std)(found.x(torch.arange(2)))
    for image, file in zip(x, files, strict=False):
        assert torch.allclose(image, published(Image.open(file).convert("RGB")), atol=1e-6)


def test_grey_images_among_colour_ones_get_three_channels_and_colour_is_never_lost(tmp_path):
    root = folder(tmp_path / "ape", ["colour"], mode="RGB").parent
    folder(root, ["grey"])
    x = data.load(str(root)).x(torch.tensor([0, 3]))
    grey = torch.from_numpy(np.asarray(Image.open(root / "grey" / "0.png")) / 255).float()
    assert torch.equal(x[1], grey.expand(3, -1, -1))
    (root / "ape").rename(root / "lemur")  # now the first image is grey
    with pytest.raises(InputError, match=r"\(3, 4, 5\), but .*channels=3"):
        data.load(str(root)).x(torch.arange(6))
    assert data.load(f"folder(path={root}, channels=3)").x(torch.arange(6)).shape[1] == 3
    one = data.load(f"folder(path={root}, channels=1)").x(torch.arange(6))
    assert torch.equal(one[0, 0], grey)


def test_sixteen_bits_are_kept_through_resizing_and_stay_in_the_box(tmp_path):
    (tmp_path / "one").mkdir()
    deep = np.random.default_rng(3).choice([0, 30001, 65535], (20, 31)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "one" / "deep.png")
    sizes = "resize=40, crop=40, interpolation=bicubic, channels=3"
    x = data.load(f"folder(path={tmp_path}, {sizes})").x(torch.tensor([0]))
    assert x.shape == (1, 3, 40, 40)
    assert x.min() == 0
    assert x.max() == 1
    assert ((x * 255) % 1 > 0.01).any()  # finer than eight bits


def test_sizes_that_do_not_fit_are_refused(tmp_path):
    photographs(tmp_path)
    for sizes, message in (
        ("resize=20, crop=21", "crop is 21, but must be at most resize, 20"),
        ("resize=0", "resize is 0"),
        ("crop=-1", "crop is -1"),
        ("resize=1000000", "at most 4096"),
        ("interpolation=bicubic, crop=8", "give resize"),
        ("crop=30, channels=3", r"ape_1.JPEG has 33×64|ape_2.png has 29×30"),
        ("resize=20, channels=3", r"resize=256, crop=224"),
        ("resize=20, crop=20, interpolation=nearest", "interpolation .* must be 'bilinear'"),
        ("resize=20, crop=20, channels=2", "channels is 2"),
        ("resize=1.5", "resize is 1.5, but must be a whole number"),
        ("size=20", "has no parameter size"),
    ):
        with pytest.raises((InputError, InputTypeError, UnknownNameError), match=message):
            data.load(f"folder(path={tmp_path}, {sizes})").x(torch.arange(3))
    with pytest.raises(InputError, match="needs path"):
        data.load("folder(crop=3)")
    with pytest.raises(MissingFileError, match="no image folder nowhere"):
        data.load("folder(path=nowhere, crop=3)", data_dir=tmp_path)
    with pytest.raises(InputError, match="none that it is asked for"):
        data.load(f"folder(path={tmp_path}, crop=3)", data_dir=tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        data.load("imagnet(resize=342, crop=299)")
    with pytest.raises(UnknownNameError, match="digits has no parameter crop"):
        data.load("digits(crop=3)")


def test_a_folder_whose_name_looks_like_a_spec_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "images (copy)")
    assert len(data.load("images (copy)")) == 6
    assert len(data.load("folder(path='images (copy)', resize=4, crop=4)")) == 6


def test_what_is_read_otherwise_is_other_data(tmp_path):
    photographs(tmp_path)
    specs = ["resize=20, crop=20", "resize=21, crop=20", "resize=20, crop=19", "crop=20"]
    specs += ["resize=20, crop=20, interpolation=bicubic"]
    prints = {data.load(f"folder(path={tmp_path}, {spec})").fingerprint() for spec in specs}
    assert len(prints) == len(specs)
    same = folder(tmp_path / "same")
    plain = data.load(str(same)).fingerprint()
    assert data.load(f"folder(path={same})").fingerprint() == plain
    # As of a folder in 0.2, so that its runs go on.
    content = hashlib.sha256(np.array([0, 0, 0, 1, 1, 1]).tobytes())
    for file in sorted(same.glob("*/*.png")):
        content.update(hashlib.sha256(file.read_bytes()).hexdigest().encode())
    assert plain == content.hexdigest()[:16]


def imagenet(root, part="val", count=1000):
    names = [f"n{k:08d}" for k in range(count)][::-1]  # not in the order of their numbers
    first = photographs(root / part, names[:2])[1]
    for name in names[2:]:
        (root / part / name).mkdir()
        shutil.copy(first, root / part / name / "one.JPEG")
    return root


def test_imagenet_is_read_in_the_order_of_the_networks_outputs(tmp_path):
    imagenet(tmp_path / "imagenet")
    found = data.load("imagenet", data_dir=tmp_path)
    assert found.shape == (3, 224, 224)
    assert found.classes == tuple(sorted(found.classes))
    assert len(found.classes) == 1000
    files = len(MODES)
    assert found.y.tolist() == [*range(998), *[998] * files, *[999] * files]
    expected = by_torchvision(tmp_path / "imagenet/val/n00000999/n00000999_0.png", 256, 224)
    x = found.x(torch.tensor([998 + files, 0]))
    assert torch.equal(x[0], expected)
    for place in (tmp_path / "imagenet", tmp_path):
        small = data.load("imagenet(resize=16, crop=12)", data_dir=place, limit=100)
        assert small.shape == (3, 12, 12)
        assert len(small.y.unique()) > 98
    (tmp_path / "imagenet").rename(tmp_path / "ILSVRC2012")
    assert len(data.load("imagenet", data_dir=tmp_path)) == len(found)
    with pytest.raises(MissingFileError, match=r"train images would be in .*imagenet/train"):
        data.load("imagenet", "train", data_dir=tmp_path)
    # Classes keep their numbers though some have no image here.
    shutil.rmtree(tmp_path / "ILSVRC2012/val/n00000000")
    (tmp_path / "ILSVRC2012/val/n00000000").mkdir()
    assert data.load("imagenet", data_dir=tmp_path).y.min() == 1


def test_what_is_not_the_whole_of_imagenet_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingFileError, match=r"nowhere.*image-net\.org.*HOLDFAST_DATA"):
        data.load("imagenet")
    imagenet(tmp_path, count=10)
    with pytest.raises(InputError, match=r"10 folders, but ImageNet's 1000 .*folder\(path"):
        data.load("imagenet", data_dir=tmp_path)
    with pytest.raises(InputError, match="crop is 299, but must be at most resize, 256"):
        data.load("imagenet(crop=299)", data_dir=tmp_path)
    for name in range(1000):
        (tmp_path / "train" / f"n{name:08d}").mkdir(parents=True)
    with pytest.raises(InputError, match="hold no image"):
        data.load("imagenet", "train", data_dir=tmp_path)


def tiny_imagenet(root):
    """Three classes, in no order, in the archive's layout."""
    names = ["n03", "n01", "n02"]
    photographs(root / "train", names, ["images"])
    for name in names:
        (root / "train" / name / f"{name}_boxes.txt").write_text("n03_0.JPEG\t0\t0\t62\t63\n")
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for i, name in enumerate(["n02", "n03", "n02", "n01"]):
        file = root / "train" / name / "images" / f"{name}_1.JPEG"
        shutil.copy(file, root / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{name}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(names) + "\n")
    return root


def test_tiny_imagenet_in_the_layout_of_its_archive(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    train = data.load("tiny-imagenet(resize=16, crop=16)", "train", data_dir=tmp_path)
    assert train.classes == ("n01", "n02", "n03")
    assert train.y.tolist() == [k for k in range(3) for _ in MODES]
    test = data.load("tiny-imagenet", data_dir=root)
    assert test.shape == (3, 64, 33)
    assert test.y.tolist() == [0, 1, 1, 2]
    image = np.asarray(Image.open(root / "val/images/val_1.JPEG")).transpose(2, 0, 1)
    x = test.x(torch.tensor([3]))
    assert np.array_equal(x[0].numpy(), image.astype(np.float32) / 255)


def test_what_tiny_imagenet_lacks_is_said(tmp_path):
    with pytest.raises(MissingFileError, match=r"wnids\.txt .*tiny-imagenet-200\.zip"):
        data.load("tiny-imagenet", data_dir=tmp_path)
    root = tiny_imagenet(tmp_path / "tiny-imagenet")
    annotations = root / "val" / "val_annotations.txt"
    whole = annotations.read_text()
    for text in (whole + "val_9.JPEG\tn99\t0\n", "val_0.JPEG n01", "", "\n"):
        annotations.write_text(text)
        with pytest.raises(DamagedFileError, match=r"val_annotations\.txt.*unpack"):
            data.load("tiny-imagenet", data_dir=tmp_path)
    annotations.write_text(whole + "val_9.JPEG\tn03\t0\n")  # no such image
    with pytest.raises(DamagedFileError, match=r"val_9\.JPEG"):
        data.load("tiny-imagenet", data_dir=tmp_path).x(torch.tensor([4]))
    shutil.rmtree(root / "train" / "n02")
    with pytest.raises(DamagedFileError, match=r"no image in .*n02.*unpack"):
        data.load("tiny-imagenet", "train", data_dir=tmp_path)


def test_an_image_is_decoded_when_its_batch_is_asked_for_and_not_kept(tmp_path, monkeypatch):
    files = photographs(tmp_path)
    opened = []
    pixels = Reading.pixels
    monkeypatch.setattr(
        Reading, "pixels", lambda self, path: opened.append(str(path)) or pixels(self, path)
    )
    found = data.load(f"folder(path={tmp_path}, resize=20, crop=20, channels=3)")
    assert opened == [str(files[0])]  # for the shape
    found.fingerprint()
    opened.clear()
    for index in ([3, 5], [3]):
        found.take(torch.tensor([0, 1, 2, 3, 4, 5])).x(torch.tensor(index))
    assert opened == [str(files[i]) for i in (3, 5, 3)]


def test_a_batch_is_the_same_whoever_decodes_it(tmp_path, monkeypatch):
    photographs(tmp_path, [f"c{k}" for k in range(4)])
    found = data.load(f"folder(path={tmp_path}, resize=20, crop=20, channels=3)")
    index = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
    alone = torch.cat([found.x(index[i : i + 1]) for i in range(len(index))])
    who = set()
    pixels = Reading.pixels

    def watched(self, path):
        who.add(threading.get_ident())
        return pixels(self, path)

    monkeypatch.setattr(Reading, "pixels", watched)
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        who.clear()
        assert torch.equal(found.x(index), alone)
        assert (who == {threading.get_ident()}) == (threads == 1)
    (tmp_path / "c2" / "c2_1.JPEG").write_bytes(b"no image")
    with pytest.raises(DamagedFileError, match="c2_1"):
        found.x(index)


def test_a_pass_over_all_images_holds_few_large_ones_at_once(tmp_path):
    photographs(tmp_path, [f"c{k}" for k in range(20)])
    large = data.load(f"folder(path={tmp_path}, resize=256, crop=224, channels=3)")
    sizes = [len(index) for index in large.all_batches()]
    assert sum(sizes) == len(large) == 120
    assert max(sizes) * 3 * 224 * 224 <= 2**24
    small = data.load("digits")
    assert [len(index) for index in small.all_batches()] == [500]


class TestOtherLibraries:
    """Data that other libraries read; files are written by the tests."""

    @pytest.fixture
    def photos(self):
        """Pictures of Pillow that differ, and labels."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (6, 10, 12, 3), dtype=torch.uint8, generator=generator)
        return [Image.fromarray(one.numpy()) for one in pixels], [0, 1, 2, 0, 1, 2], pixels

    def test_a_data_set_of_torch_with_transforms(self, photos):
        from torchvision.transforms import v2

        pictures, labels, pixels = photos

        class Pictures(torch.utils.data.Dataset):
            classes = ("a", "b", "c")
            transform = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(p=1.0)])

            def __len__(self):
                return len(pictures)

            def __getitem__(self, place):
                return self.transform(pictures[place]), labels[place]

        found = data.of_dataset(Pictures())
        assert found.classes == ("a", "b", "c")
        assert found.y.tolist() == labels
        theirs = pixels.permute(0, 3, 1, 2).flip(-1).float() / 255
        assert torch.allclose(found.x(torch.tensor([5, 2])), theirs[[5, 2]])
        Pictures.transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32), v2.Lambda(minus)])
        with pytest.raises(InputError, match="leave normalisation to the model"):
            data.of_dataset(Pictures())

    def test_what_is_no_data_set(self):
        with pytest.raises(InputTypeError, match="a length and items"):
            data.of_dataset(3)
        four = torch.utils.data.TensorDataset(torch.rand(4, 1, 2, 2), torch.arange(4))
        with pytest.raises(InputError, match="labels from 0 to 3, but 3 classes"):
            data.of_dataset(four, classes=list("abc"))

    def test_torchvisions_by_name(self, tmp_path, photos):
        """SVHN's file is one of MATLAB's, in which the digit 0 is a 10."""
        from scipy.io import savemat

        _, _, pixels = photos
        big = torch.zeros(6, 32, 32, 3, dtype=torch.uint8)
        big[:, :10, :12] = pixels
        y = np.array([10, 1, 2, 3, 4, 5])[:, None]
        savemat(tmp_path / "test_32x32.mat", {"X": big.permute(1, 2, 3, 0).numpy(), "y": y})
        checked = "torchvision.datasets.svhn.check_integrity"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checked, lambda *arguments: True)
            patch.setattr("torchvision.datasets.svhn.calculate_md5", lambda path: "", raising=False)
            patch.setattr(
                "torchvision.datasets.SVHN._check_integrity", lambda self: True, raising=False
            )
            found = data.load("torchvision(name=SVHN)", data_dir=tmp_path, limit=3)
        assert found.y.tolist() == [0, 2, 4]
        assert torch.allclose(
            found.x(torch.tensor([1])) * 255, big[[2]].permute(0, 3, 1, 2).float()
        )
        with pytest.raises(UnknownNameError, match="did you mean 'SVHN'"):
            data.load("torchvision(name=SVHM)")

    def test_the_hubs_from_a_folder(self, tmp_path, photos):
        datasets = pytest.importorskip("datasets")
        pictures, labels, pixels = photos
        features = datasets.Features(
            {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
        )
        table = datasets.Dataset.from_dict({"img": pictures, "label": labels}, features=features)
        datasets.DatasetDict({"validation": table}).save_to_disk(tmp_path / "photos")
        found = data.load(f"hf(path='{tmp_path / 'photos'}', image=img)", limit=3)
        assert found.classes == ("a", "b", "c")
        assert found.y.tolist() == [0, 2, 1]
        assert torch.allclose(
            found.x(torch.tensor([1])) * 255, pixels[[2]].permute(0, 3, 1, 2).float()
        )
        again = data.load(f"hf(path='{tmp_path / 'photos'}', image=img)", limit=3)
        small = data.load(f"hf(path='{tmp_path / 'photos'}', image=img, resize=8)", limit=3)
        assert found.fingerprint() == again.fingerprint() != small.fingerprint()
        for spec, words in (
            (f"hf(path='{tmp_path / 'photos'}')", "no column 'image', but img, label"),
            (f"hf(path='{tmp_path / 'photos'}', image=img, part=test)", "part of"),
        ):
            with pytest.raises((InputError, UnknownNameError), match=words):
                data.load(spec)
        with pytest.raises(InputError, match="no part for train images, but validation"):
            data.load(f"hf(path='{tmp_path / 'photos'}', image=img)", "train")

    def test_shards_of_webdataset(self, tmp_path, photos):
        wds = pytest.importorskip("webdataset")
        pictures, labels, pixels = photos
        for shard in range(2):
            with wds.TarWriter(str(tmp_path / f"{shard:03d}.tar")) as sink:
                for place in range(3 * shard, 3 * shard + 3):
                    sink.write(
                        {"__key__": f"{place}", "png": pictures[place], "cls": labels[place]}
                    )
        found = data.load(f"webdataset(path='{tmp_path}/{{000..001}}.tar')")
        assert found.y.tolist() == labels
        assert torch.allclose(found.x(torch.arange(6)) * 255, pixels.permute(0, 3, 1, 2).float())
        with pytest.raises(InputError, match="a class number, digit"):
            data.load(f"webdataset(path='{tmp_path}/000.tar', label=digit)")
        with pytest.raises(MissingFileError, match="there is no shard"):
            data.load("webdataset(path='no.tar')")

    @pytest.mark.parametrize(
        ("spec", "package", "extra"),
        [("hf(path=x)", "datasets", "datasets"), ("webdataset(path=x)",) + ("webdataset",) * 2],
    )
    def test_what_is_missing_is_said(self, spec, package, extra, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPackageError, match=rf'pip install "holdfast\[{extra}\]"'):
            data.load(spec)


def minus(image):
    return image - 1.0
