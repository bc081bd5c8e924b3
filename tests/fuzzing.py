"""Files of Holdfast with something changed in them, and all that reads them.

    python -m tests.fuzzing MINUTES

changes files at random for so long, and says each way in which a reader failed in anything but a
sentence.
"""

import collections
import io
import json
import math
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lightning_fabric.plugins.precision import MixedPrecision
from PIL import Image

from holdfast import data
from holdfast.attacks import FGSM, PGD, Worst
from holdfast.certify import Certification, CertificationConfig, audit_certificates, certify_data
from holdfast.cli.config import check
from holdfast.data import Data
from holdfast.data.reading import Reading
from holdfast.errors import ContradictionError, HoldfastError
from holdfast.evaluation import (
    Evaluation,
    EvaluationConfig,
    audit_run,
    compare,
    evaluate_data,
    study,
)
from holdfast.files import write_json
from holdfast.lock import LOCK, Owner, owner
from holdfast.models import Architecture
from holdfast.models.loading import load
from holdfast.report import page
from holdfast.report.subjects import read_subjects
from holdfast.results import read_about, read_images, runs_in
from holdfast.state_dicts import read_weights
from holdfast.threat import Linf
from holdfast.training import Adam, Schedule, Standard, train_data
from holdfast.training.state import CHECKPOINT, State, load_state, save_state
from holdfast.tuning import noise_of_training
from tests.toys import images

SMALL = Architecture(name="small", shape=(1, 8, 8), classes=10)
CONFIG = "model: runs/net\nattacks: [fgsm, pgd]\neps: '0.1,0.2'\nimages: 10\nout: &a runs/eval\n"

#: What a stranger may write where something else belongs.
WRONG = (
    *(None, True, "", "x", "$0_to_$1", "\ud800", "a\0b", "a" * 300, [], {}, [None], [[]]),
    *({"a": None}, -1, 0, 1.5, 1e300, 2**62, 10**30, math.nan, math.inf),
)


def network():
    return SMALL.build(seed=0).eval()


def pictures():
    x = images(4, (1, 8, 8))
    return Data.of(x, torch.tensor([0, 3, 5, 9]))


def state():
    """A training that has just begun."""
    model = SMALL.build(0)
    optimizer = Adam().build(model.parameters(), 0.1, 0.0)
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    return State(model, optimizer, precision, None)


def make(root):
    """One of each of the files, small, in folders by kind; their digests are left out."""
    model, found = network(), pictures()
    worst = Worst((FGSM(Linf(0.3)), PGD(Linf(0.3), steps=2)))
    attacks = [("worst", worst), ("fgsm", FGSM(Linf(0.1)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = EvaluationConfig(batch_size=2)
        evaluate_data(model, found, attacks, config, "net", root / "evaluate")
        how = CertificationConfig(sigma=0.1, votes=30, intervals=("clopper-pearson",))
        certify_data(model, found, how, "net", root / "certify")
        study({"net": model}, found, attacks[1:], (0, 1), config, root / "study")
        digits = data.load("digits", "train", limit=40)
        train_data(SMALL, digits, Standard(), Schedule(epochs=1), root / "train")
    begun = state()
    begun.network(images(4, (1, 8, 8))).sum().backward()
    begun.optimizer.step()
    begun.best = {name: value.clone() for name, value in begun.network.state_dict().items()}
    begun.journal.add({"loss": 1.0}, 4)
    begun.journal.close(1, {})
    (root / "other").mkdir()
    save_state(root / "other" / CHECKPOINT, begun, SMALL)
    for file in root.rglob("run.json"):
        about = json.loads(file.read_text())
        file.write_text(json.dumps({k: v for k, v in about.items() if "sha256" not in k}))
    write_json(root / "other" / LOCK, asdict(Owner.me()))
    (root / "other" / "config.yaml").write_text(CONFIG)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "other" / "image.png")
    torch.save(network().state_dict(), root / "other" / "weights.pth")
    return root


def report(folder):
    """All of a page but its figures."""
    with mock.patch.object(page, "save_figures"), tempfile.TemporaryDirectory() as out:
        page.build([folder], Path(out) / "report")


def resume(folder):
    """Take a training up where a checkpoint left it, and go on for a step."""
    taken_up = state()
    load_state(folder / CHECKPOINT, taken_up)
    taken_up.network(images(4, (1, 8, 8))).sum().backward()
    taken_up.optimizer.step()
    taken_up.chosen.load_state_dict(taken_up.best or taken_up.network.state_dict())


#: Each file, and what reads it, given its folder.
READERS = {
    "evaluate/run.json": (
        report,
        lambda folder: compare(folder, folder),
        lambda folder: Evaluation.read(folder)._repr_html_(),
        lambda folder: audit_run(folder, network(), pictures(), [], share=0.1),
    ),
    "evaluate/rows.csv": (
        report,
        lambda folder: compare(folder, folder),
        lambda folder: audit_run(folder, network(), pictures(), [], share=0.1),
    ),
    "evaluate/images/0001.00000.safetensors": (report, lambda folder: read_images(folder, 1)),
    "certify/run.json": (
        report,
        lambda folder: Certification.read(folder)._repr_html_(),
        lambda folder: audit_certificates(folder, network(), pictures(), share=0.1),
    ),
    "certify/rows.csv": (
        report,
        lambda folder: audit_certificates(folder, network(), pictures(), share=0.1),
    ),
    "study/run.json": (lambda folder: [read_about(run) for run in runs_in(folder)],),
    "train/run.json": (
        lambda folder: noise_of_training(read_about(folder)),
        lambda folder: read_subjects([folder.parent / "evaluate", folder]),
    ),
    "train/model.safetensors": (lambda folder: load(str(folder)),),
    f"other/{CHECKPOINT}": (resume,),
    f"other/{LOCK}": (owner,),
    "other/config.yaml": (lambda folder: check(str(folder / "config.yaml")),),
    "other/image.png": (lambda folder: Reading().pixels(folder / "image.png"),),
    "other/weights.pth": (lambda folder: read_weights(folder / "weights.pth"),),
}


def places(content, before=()):
    """The way to every part of what JSON holds."""
    parts = {dict: lambda: content.items(), list: lambda: enumerate(content)}
    for key, value in parts.get(type(content), tuple)():
        yield (*before, key)
        yield from places(value, (*before, key))


@st.composite
def other_json(draw, text):
    """What JSON holds, with a part or two of it taken away or replaced."""
    content = json.loads(text)
    for _ in range(draw(st.integers(1, 2))):
        ways = list(places(content))
        if not ways:
            return json.dumps(draw(st.sampled_from(WRONG))).encode()
        *way, last = draw(st.sampled_from(ways))
        part = content
        for key in way:
            part = part[key]
        if draw(st.booleans()) or not isinstance(part, dict | list):
            part[last] = draw(st.sampled_from(WRONG))
        else:
            del part[last]
    return json.dumps(content).encode()


@st.composite
def other_rows(draw, content):
    """A table, with a value, a column or a row of it taken away, doubled or replaced."""
    rows = pd.read_csv(io.BytesIO(content)).astype(object)
    name = draw(st.sampled_from([*rows]))
    how = draw(st.sampled_from(("value", "column", "without", "short", "twice")))
    if how == "value":
        rows.loc[draw(st.integers(0, len(rows) - 1)), name] = str(draw(st.sampled_from(WRONG)))
    elif how == "column":
        rows[name] = str(draw(st.sampled_from(WRONG)))
    else:
        rows = {
            "without": rows.drop(columns=name),
            "short": rows[1:],
            "twice": pd.concat([rows, rows]),
        }[how]
    return rows.to_csv(index=False).encode(errors="replace")


@st.composite
def other_bytes(draw, content):
    """A file, with bytes of it replaced, added or cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        some = draw(st.binary(max_size=8))
        changed[place : place + draw(st.integers(0, 8))] = some
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)


def other_header(content):
    """A file of tensors, whose record of them says something else."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    record = other_json(header["__metadata__"]["holdfast"])

    def written(text):
        metadata = {"holdfast": text.decode()}
        new = json.dumps({**header, "__metadata__": metadata}).encode()
        return len(new).to_bytes(8, "little") + new + content[8 + size :]

    return record.map(written)


def changed(file):
    """Strategies for the content of a file with something changed in it."""
    content = file.read_bytes()
    if file.suffix == ".json":
        return other_json(content) | other_bytes(content)
    if file.suffix == ".csv":
        return other_rows(content) | other_bytes(content)
    if file.suffix == ".safetensors":
        return other_header(content) | other_bytes(content)
    return other_bytes(content)


def read_all(folder, name):
    """Let all readers of a file read it: each succeeds, or fails in a sentence that names it."""
    for reader in READERS[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reader(folder)
            except ContradictionError:
                pass  # of what was attacked and certified, as it now stands there
            except HoldfastError as error:
                if str(folder) not in str(error):
                    raise AssertionError(f"no file is named: {error}") from error


AT_RANDOM = {
    "max_examples": 40,
    "deadline": None,
    "derandomize": False,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def search(minutes):
    """Change files at random, and tell of each way in which a reader failed."""
    found = collections.Counter()
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as place:
        root, copy = make(Path(place) / "whole"), Path(place) / "copy"
        while time.monotonic() < end:
            for name in READERS:
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(root, copy)
                settings(**AT_RANDOM)(given(changed(root / name))(_once(copy, name, found)))()
    for key, count in found.most_common():
        print(count, key)


def _once(copy, name, found):
    """Put content in the place of a file, let it be read, and count what comes of it."""

    def once(content):
        (copy / name).write_bytes(content)
        try:
            read_all(copy / name.split("/")[0], name)
            found["read, or told in a sentence"] += 1
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{name}: {type(error).__name__} {error!s:.80} {at.name} {at.lineno}"
            found[key] += 1
            if found[key] == 1:
                print(key, content[:300], flush=True)
                traceback.print_exception(error, limit=-6)

    return once


if __name__ == "__main__":
    search(float(sys.argv[1]))
