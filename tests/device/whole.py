"""End to end: train, evaluate, certify and report, from the library and from the command line."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.device.pair import Pair, expect
from tests.device.parts import FailedError, Part
from tests.device.subjects import (
    Architecture,
    EvaluationConfig,
    Linf,
    attacks,
    certify,
    data,
    digits,
    evaluate,
    training,
)

IMAGES = 64

#: Accuracies of two trainings and attacks in float32 on different devices.
WITHIN = 3 / IMAGES


def parts(pair: Pair) -> Iterator[Part]:
    yield Part("end to end/library", lambda: _library(pair))
    yield Part("end to end/command line", lambda: _commands(pair))
    yield Part("end to end/command line, MALADE", lambda: _malade(pair))


def _library(pair: Pair) -> str:
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    test = data.load("digits", limit=IMAGES)
    x, y = test.x(torch.arange(IMAGES)), test.y
    found = []
    for where in ("cpu", pair.device.type):
        with tempfile.TemporaryDirectory() as folder:
            schedule = training.Schedule(epochs=6, lr=3e-3, accelerator=where)
            objective = training.Stability(sigma=0.2)
            network = training.train_data(
                made, digits(1000), objective, schedule, Path(folder) / "run"
            ).to(where)
        named = {"pgd": attacks.PGD(Linf(0.05), steps=10), "worst": attacks.WorstCase(Linf(0.05))}
        cells = evaluate(network, x, y, named, config=EvaluationConfig(keep_images=4)).cells
        proven = certify.certify_images(network, x.to(where), sigma=0.2, votes=400, bound="cohen")
        certified = ((proven.prediction == y.numpy()) & (proven.radius > 0.1)).mean()
        found.append(
            [
                *(cell["robust_accuracy"] for cell in cells),
                cells[0]["clean_accuracy"],
                float(certified),
            ]
        )
    return _alike(found, ("pgd", "worst", "clean", "certified"))


def _commands(pair: Pair) -> str:
    """Two trainings; each network is attacked and certified where it was trained."""
    found = []
    for where in ("cpu", pair.device.type):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder)
            there = f"--accelerator {where} --quiet"
            _say(
                f"train --model small --images 1000 --epochs 6 --optimizer adam(lr=0.003) "
                f"--objective stability(sigma=0.2) --hold-out 100 "
                f"--val-attack pgd(steps=3) --val-eps 0.05 {there} "
                f"--out {run / 'net'}"
            )
            attacked = _say(
                f"evaluate --model {run / 'net'} --images {IMAGES} --eps 0.05 --json {there} "
                f"--attacks pgd,fab,square(queries=50) --out {run / 'attacked'}"
            )
            noisy = _say(
                f"evaluate --model {run / 'net'} --images {IMAGES} --eps 0.05 --json {there} "
                f"--attacks pgd(steps=5) --sigma 0.2 --votes 50 --samples 3"
            )
            proven = _say(
                f"certify --model {run / 'net'} --images {IMAGES} --sigma 0.2 --votes 1000 "
                f"--bounds renyi,cohen --intervals sequential --radii 0.1 --json {there} "
                f"--out {run / 'proven'}"
            )
            _say(f"report {run / 'attacked'} {run / 'proven'} --out {run / 'report'}")
            found.append(
                [
                    *(cell["robust_accuracy"] for cell in attacked["cells"]),
                    noisy["cells"][0]["robust_accuracy"],
                    *(cell["accuracy"] for cell in proven["cells"]),
                ]
            )
    return _alike(found, ("pgd", "fab", "square", "pgd on votes", "renyi", "cohen"))


def _malade(pair: Pair) -> str:
    """Denoiser, classifier, chain, attack on it, and its pictures, all on the device."""
    with tempfile.TemporaryDirectory() as folder:
        run, there = Path(folder), f"--accelerator {pair.device.type}"
        _say(
            f"train --model small --images 400 --epochs 3 {there} --quiet "
            f"--out {run / 'classifier'}"
        )
        _say(
            f"train --model malade-dae --images 400 --epochs 1 {there} --quiet "
            f"--objective sdae(sigma=0.3,classifier='{run / 'classifier'}') "
            f"--out {run / 'denoiser'}"
        )
        _say(
            f"tune malade --classifier {run / 'classifier'} --denoiser {run / 'denoiser'} --eps 0.1"
            f" --images 16 --steps 2 --finalists 1 --finalist-images 4 --samples 2 {there} --quiet"
            f" --attack pgd(steps=2) --out {run / 'malade'}"
        )
        cells = _say(
            f"evaluate --model {run / 'malade'} --images 8 --attacks pgd(steps=2) --eps 0.1 --each "
            f"--votes 3 --samples 2 --json {there} --quiet"
        )["cells"]
        _say(
            f"diagnose purification --model {run / 'malade'} --eps 0.1 --at 0,1,2 "
            f"--attack pgd(steps=2) --samples 2 {there} --out {run / 'pictures'}"
        )
    return f"{len(cells)} variants attacked"


def _say(line: str) -> Any:
    """Run the command line in this process; give what it printed, read as JSON if it is some.

    Raises:
        FailedError: if it ends with another exit code than 0.
    """
    from holdfast.cli.main import run

    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = run(line.split())
        except SystemExit as end:
            code = end.code
    if code:
        raise FailedError(f"holdfast {line.split()[0]} ended with {code}: {errors.getvalue()}")
    return json.loads(out.getvalue()) if "--json" in line else None


def _alike(found: list[list[float]], names: tuple[str, ...]) -> str:
    here, there = found
    pairs = [f"{name} {a:.3f} and {b:.3f}" for name, a, b in zip(names, here, there, strict=True)]
    saw = ", ".join(pairs)
    expect(max(abs(a - b) for a, b in zip(here, there, strict=True)) <= WITHIN, saw)
    return saw
