import gzip
import inspect
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from holdfast import data
from holdfast.errors import (
    DamagedFileError,
    InputError,
    InputTypeError,
    MissingFileError,
    UnknownNameError,
)


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
    assert len(data.load(str(root), limit=1000)) == 35
    digits = data.load("digits", limit=3)
    assert torch.equal(digits.x(torch.arange(3)), data.load("digits").x(torch.arange(3)))


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
