"""Files that another may have written: each is read, or is told of in one sentence that names it.

Nothing that they say takes memory or time beyond their own size.
"""

import os
import shutil
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from holdfast import data, evaluate
from holdfast.attacks import FGSM
from holdfast.bundle import verify, write_bundle
from holdfast.certify import CertificationConfig, certify
from holdfast.cli.config import check
from holdfast.cli.main import run
from holdfast.data.reading import Reading
from holdfast.errors import DamagedFileError, HoldfastError, InputError
from holdfast.files import read_json, read_tensors, write_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import load_model, save_model
from holdfast.models.loading import load
from holdfast.report.page import build
from holdfast.state_dicts import read_weights
from holdfast.threat import Linf
from tests.fuzzing import READERS, SMALL, changed, make, network, read_all
from tests.toys import images

#: Of the reports and audits few, since each takes a tenth of a second.
EXAMPLES = 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("foreign") / "whole")


@pytest.mark.parametrize("name", READERS)
def test_what_was_changed_anyhow_is_read_or_told(whole, tmp_path, name):
    shutil.copytree(whole, tmp_path / "copy")
    heavy = name.startswith(("evaluate", "certify"))

    @settings(
        max_examples=EXAMPLES if heavy else 4 * EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changed(whole / name))
    def once(content):
        (tmp_path / "copy" / name).write_bytes(content)
        read_all(tmp_path / "copy" / name.split("/")[0], name)

    once()


@pytest.mark.parametrize("name", [name for name in READERS if not name.startswith("other")])
@pytest.mark.parametrize("instead", ["folder", "pipe", "loop"])
def test_something_else_in_the_place_of_a_file(whole, tmp_path, name, instead):
    shutil.copytree(whole, tmp_path / "copy")
    file = tmp_path / "copy" / name
    file.unlink()
    if instead == "folder":
        file.mkdir()
    elif instead == "pipe":
        os.mkfifo(file)
    elif instead == "loop":
        file.symlink_to(file)
    read_all(file.parent if "images" not in name else file.parents[1], name)


@pytest.mark.parametrize("name", ["evaluate/rows.csv", "certify/rows.csv"])
@pytest.mark.parametrize("how", ["a value is no number", "a column is missing"])
def test_no_column_of_rows_is_trusted(whole, tmp_path, name, how):
    shutil.copytree(whole, tmp_path / "copy")
    file = tmp_path / "copy" / name
    rows = pd.read_csv(file).astype(object)
    for column in rows:
        if how == "a column is missing":
            other = rows.drop(columns=column)
        else:
            other = rows.copy()
            other.loc[0, column] = "x"
        other.to_csv(file, index=False)
        read_all(file.parent, name)


class TestJSON:
    def test_it_is_not_begun_if_it_is_too_large(self, tmp_path):
        with (tmp_path / "run.json").open("wb") as file:
            file.truncate(2**40)  # of a file system that keeps no zeros
        with pytest.raises(DamagedFileError, match=r"run\.json has 1,099,511,627,776 bytes"):
            read_json(tmp_path / "run.json")

    @pytest.mark.parametrize("levels", [101, 2_000, 100_000])
    def test_it_is_nested_no_deeper_than_can_be_walked_through(self, tmp_path, levels):
        (tmp_path / "run.json").write_text('{"a":' * levels + "1" + "}" * levels)
        with pytest.raises(DamagedFileError, match=r"run\.json is"):
            read_json(tmp_path / "run.json")

    @pytest.mark.parametrize("record", ["[" * 2_000 + "]" * 2_000, "[]", "NaN", '{"a": "\\ud800"}'])
    def test_the_record_in_a_file_of_tensors(self, tmp_path, record, monkeypatch):
        monkeypatch.setattr("holdfast.files.tensors.json.dumps", lambda *_, **__: record)
        write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)}, {})
        with pytest.raises(DamagedFileError, match=r"a\.safetensors is"):
            read_tensors(tmp_path / "a.safetensors")


class TestWeights:
    def test_memory_is_taken_only_for_a_network_of_the_size_of_its_weights(
        self, tmp_path, monkeypatch
    ):
        claimed = Architecture(name="mlp", shape=(1, 4_000, 4_000), classes=10)  # 51 GB
        save_model(tmp_path / "net.safetensors", SMALL.build(seed=0), claimed)
        build, devices = Architecture.build, []

        def told(self, *arguments, **more):
            devices.append(torch.empty(0).device.type)
            return build(self, *arguments, **more)

        monkeypatch.setattr(Architecture, "build", told)
        with pytest.raises(DamagedFileError, match="does not hold the network"):
            load_model(tmp_path / "net.safetensors")
        assert devices == ["meta"]

    def test_a_file_that_was_compressed(self, tmp_path):
        """A thousand of its bytes may be a million."""
        torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
        with (
            zipfile.ZipFile(tmp_path / "plain.pth") as plain,
            zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small,
        ):
            for name in plain.namelist():
                small.writestr(name, plain.read(name))
        assert (tmp_path / "small.pth").stat().st_size < 10_000
        with pytest.raises(DamagedFileError, match=r"small\.pth .* it is compressed"):
            read_weights(tmp_path / "small.pth")


class TestImages:
    def of_a_class(self, folder, name=b"one"):
        place = os.path.join(os.fsencode(folder), name)
        os.makedirs(place)
        Image.new("L", (8, 8)).save(os.fsdecode(os.path.join(place, b"0.png")))

    def test_one_that_says_that_it_has_900_megapixels(self, tmp_path):
        def chunk(kind, content):
            check = struct.pack(">I", zlib.crc32(kind + content))
            return struct.pack(">I", len(content)) + kind + content + check

        size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
        file = tmp_path / "0.png"
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b""))
        with pytest.raises(DamagedFileError, match=r"0\.png says that it is larger"):
            Reading().pixels(file)

    @pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "EPS"])
    def test_a_rarer_format_under_the_name_of_a_common_one(self, tmp_path, kind):
        Image.new("L", (16, 16)).save(tmp_path / "0.png", format=kind)
        with pytest.raises(DamagedFileError, match=r"0\.png is damaged or no image"):
            Reading().pixels(tmp_path / "0.png")

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP"])
    def test_the_formats_of_image_folders(self, tmp_path, kind):
        Image.new("L", (16, 16), 255).save(tmp_path / "0.png", format=kind)
        assert Reading().pixels(tmp_path / "0.png").min() == 1

    def test_classes_have_names_that_can_be_written(self, tmp_path):
        self.of_a_class(tmp_path, b"caf\xe9")
        with pytest.raises(InputError, match="no text in UTF-8"):
            data.load(str(tmp_path))

    def test_files_of_any_name(self, tmp_path):
        self.of_a_class(tmp_path)
        os.rename(tmp_path / "one" / "0.png", os.fsencode(tmp_path / "one") + b"/\xe9.png")
        assert data.load(str(tmp_path)).fingerprint()

    @pytest.mark.parametrize("where", ["..", ".", "../two"])
    def test_links_that_lead_round_in_a_circle(self, tmp_path, where):
        for name in (b"one", b"two"):
            self.of_a_class(tmp_path, name)
        for name in ("one", "two"):
            (tmp_path / name / "a").symlink_to(where)
            (tmp_path / name / "b").symlink_to(where)
        with pytest.raises(InputError, match="is a link, or within one"):
            data.load(str(tmp_path))


GROWING = ", ".join(
    ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in ("ab", "bc", "cd", "de", "ef", "fg")]
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "no YAML"),
        (b"[1, 2]", "holds no options"),
        (b"x", "holds no options"),
        (b"", "holds no options"),
        (b"? [a]\n: 3\n", "holds no options"),
        (b"model: " + b"[" * 2_000 + b"]" * 2_000, "no YAML|stands for more"),  # by its version
        (b"model: a\n---\nmodel: b\n", "no YAML"),
        (b"model: &a [*a]", "stands for more"),
        (f"{{{GROWING}}}".encode(), "stands for more"),
        (f'images: "{{{GROWING}}}"'.encode(), "stands for more"),
        (b"#" * 2**21, "no YAML: it has more"),
    ],
)
def test_a_configuration_that_is_none(tmp_path, content, words):
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(InputError, match=words):
        check(str(tmp_path / "run.yaml"))


@pytest.mark.parametrize("text", ["eps: 2020-13-45", "config: other.yaml", 'data: "a\\0b"'])
def test_a_configuration_whose_values_are_none(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(f"model: net\n{text}\n")
    with pytest.raises(SystemExit) as ended:
        sys.exit(run(["evaluate", "--config", "run.yaml"]))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("holdfast: ")


def test_no_path_holds_nul(tmp_path):
    x = images(2, (1, 8, 8))
    with pytest.raises(InputError, match="NUL"):
        evaluate(network(), x, torch.tensor([0, 1]), {"f": FGSM(Linf(0.1))}, out="a\0b")
    with pytest.raises(HoldfastError, match="NUL"):
        load_model(tmp_path / "a\0b")


LONG = "a" * 300
WHERE = ["a\0b", LONG, f"new/{LONG}", "/".join(["a" * 200] * 25)]


@pytest.mark.parametrize("where", WHERE, ids=["NUL", "long", "long below", "long in all"])
def test_no_file_is_where_none_can_be(tmp_path, monkeypatch, where):
    """One sentence, before anything is made."""
    monkeypatch.chdir(tmp_path)
    x, y = images(2, (1, 8, 8)), torch.tensor([0, 1])
    calls = [
        lambda: evaluate(network(), x, y, {"f": FGSM(Linf(0.1))}, out=where),
        lambda: certify(network(), x, y, config=CertificationConfig(sigma=0.1), out=where),
        lambda: load_model(Path(where)),
        lambda: load(where),
        lambda: data.load("mnist", data_dir=where),
        lambda: data.load("flowers", data_dir=where),
        lambda: data.load(where),
        lambda: write_bundle([Path("run")], Path(where)),
        lambda: verify(Path(where)),
        lambda: build([Path("run")], Path(where)),
    ]
    for call in calls:
        with pytest.raises(HoldfastError):
            call()
    assert not list(tmp_path.iterdir())
