"""Chunks computed by workers: the rows are those of one process, whatever ends on the way."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast import Linf, evaluate
from holdfast.attacks import PGD, Square, Worst
from holdfast.certify import CertificationConfig, certify
from holdfast.cli import main
from holdfast.defenses import GaussianNoise
from holdfast.errors import (
    InputError,
    InputTypeError,
    MissingPackageError,
    ModelError,
    WorkersError,
)
from holdfast.evaluation import EvaluationConfig
from holdfast.models import Architecture, loading
from holdfast.models.checkpoint import save_model
from holdfast.progress import Progress
from holdfast.training import save_epoch
from holdfast.workers import cluster as clusters
from holdfast.workers import connected, engine, versions
from tests.test_memory import Narrow
from tests.toys import images, small_network

ROOT = Path(__file__).parents[1]
COUNT = 12
CONFIG = EvaluationConfig(batch_size=4, votes=5, samples=2, keep_images=6, audit=0)
ATTACKS = {"pgd": PGD(Linf(0.1), steps=3), "weak": PGD(Linf(0.01), steps=2)}


def data():
    x, y = images(COUNT), torch.arange(COUNT) % 3
    x[6, 0, 0, 0] = 1.0  # in chunk 1
    return x, y


class Unlucky(nn.Module):
    """Ends its process at image 6, so often; the driver's goes on."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__()
        self.network, self.folder, self.times = small_network(), folder, times
        self.driver = os.getpid()

    def forward(self, x):
        if (x[:, 0, 0, 0] == 1).any() and os.getpid() != self.driver:
            before = len(list(self.folder.glob("*")))
            if before < self.times:
                (self.folder / str(before)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.network(x)


class Odd(nn.Module):
    """Has no answer for image 6."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    def forward(self, x):
        return self.network(x).where(x[:, :1, 0, 0] != 1, torch.nan)


class Locked(nn.Module):
    """Holds what no pickle does."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()
        self.inner = nn.Identity()
        self.inner.lock = threading.Lock()

    def forward(self, x):
        with self.inner.lock:
            return self.network(x)


def locked():
    return Locked().eval()


def another_each_time():
    torch.seed()
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).eval()


# Ray neither waits for its processes nor closes its logs (2.40; later ones do the latter).
RAYS = (r"subprocess \d+ is still running", "unclosed file .*/logs/")
pytestmark = [pytest.mark.filterwarnings(f"ignore:{what}:ResourceWarning") for what in RAYS]


@pytest.fixture(scope="module", autouse=True)
def tidy():
    """What Ray leaves is collected here, not in another file's test."""
    yield
    with warnings.catch_warnings():
        for what in RAYS:
            warnings.filterwarnings("ignore", what, ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def cluster():
    """Three workers, for all tests: each evaluation finds them connected."""
    pytest.importorskip("ray", reason="needs holdfast[ray]")
    with connected(3) as ray:
        yield ray


@pytest.fixture
def asked(monkeypatch):
    """What workers were given to do."""
    given, call = [], engine._Workers.__call__

    def told(workers, work, missing):
        given.append(work)
        return call(workers, work, missing)

    monkeypatch.setattr(engine._Workers, "__call__", told)
    return given


def run(model, out, count=None, progress=None):
    more = {} if progress is None else {"progress": progress}
    return evaluate(model, *data(), ATTACKS, config=CONFIG, out=out, workers=count, **more)


def rows(folder):
    return (folder / "rows.csv").read_bytes()


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_rows_and_images_are_those_of_one_process(cluster, tmp_path, noise):
    model = nn.Sequential(GaussianNoise(noise), small_network()) if noise else small_network()
    model.eval()
    run(model, tmp_path / "one")
    run(model, tmp_path / "three", 3)
    assert rows(tmp_path / "one") == rows(tmp_path / "three")
    kept = sorted(path.name for path in (tmp_path / "one" / "images").iterdir())
    assert kept
    for name in kept:
        one, three = (tmp_path / folder / "images" / name for folder in ("one", "three"))
        assert one.read_bytes() == three.read_bytes()


def test_a_pilot_decides_as_in_one_process(cluster, tmp_path):
    parts = (PGD(Linf(0.05), steps=10), Square(Linf(0.05), queries=5))
    suite = {"suite": Worst(parts, called=("pgd", "square"), near=(0.5, 1.0), pilot=2)}
    x, _ = data()
    found = [
        evaluate(
            small_network(),
            x,
            small_network()(x).argmax(dim=1),
            suite,
            config=replace(CONFIG, hidden=False),
            out=tmp_path / name,
            workers=count,
        )
        for name, count in (("one", None), ("three", 3))
    ]
    assert rows(tmp_path / "one") == rows(tmp_path / "three")
    spared = [one.cells[0].get("spared") for one in found]
    assert spared[0] == spared[1] is not None


def test_certificates_are_those_of_one_process(cluster, tmp_path):
    config = CertificationConfig(sigma=0.1, votes=4000)  # 8 images in a chunk
    for out, count in (("one", None), ("three", 3)):
        certify(small_network(), *data(), config=config, out=tmp_path / out, workers=count)
    assert rows(tmp_path / "one") == rows(tmp_path / "three")


def code(line):
    return main.run(line.split())


def everything(folder):
    """Rows, and what is kept beside them, by name."""
    kept = [path for pattern in ("rows.csv", "images/*") for path in folder.rglob(pattern)]
    assert kept
    return {path.relative_to(folder): path.read_bytes() for path in kept}


OF_A_MODEL = (
    "evaluate --attacks fgsm --audit off",
    "evaluate --attacks fgsm --audit off --seed 0,1",
    "certify --sigma 0.1 --audit off",
    "diagnose convergence",
    "diagnose curvature --samples 2 --iterations 2",
    "diagnose discrepancy --networks one.safetensors,two.safetensors --future two.safetensors",
    "diagnose filters",
    "diagnose gradient-norm --attacks pgd(early_stop=False,steps=2)",
    "diagnose ibp",
    "diagnose linearity",
    "diagnose margin",
    "diagnose perceptual --attack deepfool(steps=2)",
    "diagnose subspace --orders 1,4",
    "diagnose surface --points 3 --other two.safetensors",
)


@pytest.mark.parametrize("line", OF_A_MODEL)
def test_every_command_hands_its_chunks_to_the_workers(cluster, tmp_path, monkeypatch, asked, line):
    monkeypatch.chdir(tmp_path)
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    for seed, name in enumerate(("one", "two")):
        save_model(tmp_path / f"{name}.safetensors", made.build(seed), made)
    save_epoch(tmp_path / "run", 0, made.build(0), made)
    of = "run" if "convergence" in line else "one.safetensors"
    whole = f"{line} --model {of} --images 4 --batch-size 2 --quiet"
    assert code(f"{whole} --out one") == 0
    assert not asked
    assert code(f"{whole} --out three --workers 3") == 0
    assert asked
    assert everything(tmp_path / "one") == everything(tmp_path / "three")


def test_steps_of_a_reproduction_are_shared_and_nothing_is_trained_twice(cluster, tmp_path, asked):
    one, three = tmp_path / "one", tmp_path / "three"
    line = "reproduce so/figure-7 --scale quick --quiet --out"
    assert code(f"{line} {one}") == 0
    (trained,) = (one / "steps").glob("train-*")
    network = three / "steps" / trained.name / "model.safetensors"
    shutil.copytree(trained, network.parent)
    before = network.stat().st_mtime_ns
    assert not asked
    assert code(f"{line} {three} --workers 3") == 0
    assert asked
    assert network.stat().st_mtime_ns == before
    assert everything(one) == everything(three)
    asked.clear()
    assert code(f"{line} {three} --workers 2") == 0
    assert not asked


class Saying(Progress):
    def __init__(self) -> None:
        self.said = ""

    def say(self, text: str) -> None:
        self.said += text


def test_a_worker_that_is_killed_loses_nothing(cluster, tmp_path, capfd):
    (tmp_path / "deaths").mkdir()
    model, progress = Unlucky(tmp_path / "deaths", times=1).eval(), Saying()
    run(model, tmp_path / "three", 3, progress)
    assert len(list((tmp_path / "deaths").iterdir())) == 1
    assert "chunk 1 (images 4 to 7) goes to another worker" in progress.said
    assert capfd.readouterr().out == ""  # Ray's own noise would spoil --json
    run(model, tmp_path / "one")
    assert rows(tmp_path / "one") == rows(tmp_path / "three")


def test_a_chunk_that_ends_every_worker_is_told_of_and_the_rest_is_kept(cluster, tmp_path):
    (tmp_path / "deaths").mkdir()
    model, out = Unlucky(tmp_path / "deaths", times=100).eval(), tmp_path / "run"
    with pytest.raises(WorkersError, match=r"3 workers .* chunk 1 \(images 4 to 7\)"):
        run(model, out, 3)
    chunks = {path.stem.partition(".")[2] for path in (out / "rows").glob("*.csv")}
    assert chunks == {"00000", "00002"}
    run(model, out)
    run(model, tmp_path / "one")
    assert rows(out) == rows(tmp_path / "one")


def test_a_worker_whose_memory_runs_out_halves_its_batches(cluster, tmp_path):
    driver = os.getpid()
    model = Narrow(2, lambda x: os.getpid() != driver)
    with pytest.warns(UserWarning, match="4 images at once, and they are taken 2 at a time"):
        run(model, tmp_path / "three", 3)
    half = replace(CONFIG, batch_size=2)
    evaluate(small_network(), *data(), ATTACKS, config=half, out=tmp_path / "one")
    assert rows(tmp_path / "one") == rows(tmp_path / "three")


def test_what_the_work_raises_is_raised(cluster, tmp_path):
    with pytest.raises(ModelError, match="image 6"):
        run(Odd().eval(), tmp_path, 3)


def test_what_other_chunks_raise_is_not_logged_by_ray(cluster, monkeypatch):
    """On a terminal it would tell, seconds later, of each that nobody has asked for."""
    worker, told = cluster._private.worker, []
    monkeypatch.setattr(worker, "_unhandled_error_handler", told.append)
    monkeypatch.setattr(worker.Worker, "deserialize_objects", lambda *_: [ModelError("odd.")])
    worker.global_worker.raise_errors([], [])
    assert not told
    monkeypatch.delenv("RAY_IGNORE_UNHANDLED_ERRORS")
    worker.global_worker.raise_errors([], [])
    assert told


def test_what_cannot_be_sent_is_named_and_what_a_callable_builds_is_built_there(cluster, tmp_path):
    with pytest.raises(
        WorkersError, match=r"inner\.lock is a _thread\.lock.* package\.module:callable"
    ):
        run(locked(), tmp_path / "run", 3)
    assert not (tmp_path / "run").exists()
    model = loading.load("tests.test_workers:locked")
    run(model, tmp_path / "three", 3)
    run(model, tmp_path / "one")
    assert rows(tmp_path / "one") == rows(tmp_path / "three")
    with pytest.raises(ModelError, match="another network in each process"):
        run(loading.load("tests.test_workers:another_each_time"), tmp_path / "run", 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (0, "workers is 0, but must be at least 1"),
        ("-2", "workers is -2, but must be at least 1"),
        (10**6, "at most 1024"),
        ("many", "workers is 'many', but must be a number .*ray://host:10001"),
        ("ray://nowhere", "must be a number"),
        (True, "workers is True"),
    ],
)
def test_what_are_no_workers_is_refused(tmp_path, given, words):
    with pytest.raises((InputError, InputTypeError), match=words):
        run(small_network(), tmp_path / "run", given)
    assert not (tmp_path / "run").exists()


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'holdfast\[ray\]'"):
        run(small_network(), tmp_path / "run", 2)
    assert not (tmp_path / "run").exists()


def test_an_address_that_does_not_answer_is_refused():
    ray = pytest.importorskip("ray", reason="needs holdfast[ray]")
    with pytest.raises(WorkersError, match=r"no Ray cluster answers at ray://127\.0\.0\.1:1 "):
        clusters._join(ray, "ray://127.0.0.1:1")


def test_workers_of_another_version_are_refused(cluster, monkeypatch):
    own = versions.versions()
    monkeypatch.setattr(versions, "versions", lambda: {**own, "torch": "1.0"})
    with pytest.raises(WorkersError, match=f"has torch {own['torch']}, .* has torch 1.0"):
        versions.check_versions(cluster)
    monkeypatch.setattr(versions, "versions", lambda: {"holdfastly": "1.0"})
    with pytest.raises(WorkersError, match="has no holdfastly"):
        versions.check_versions(cluster)


DRIVER = """
import os, sys, time
from pathlib import Path
from torch import nn
from tests import test_workers as mine

class Waiting(nn.Module):
    def __init__(self):
        super().__init__()
        self.network, self.driver = mine.small_network(), os.getpid()
    def forward(self, x):
        if (x[:, 0, 0, 0] == 1).any() and os.getpid() != self.driver:
            (Path(sys.argv[2]) / "worker").write_text(str(os.getpid()))
            time.sleep(1000)
        return self.network(x)

mine.run(Waiting().eval(), Path(sys.argv[1]), 2)
"""


def test_a_driver_that_is_killed_goes_on_with_other_workers(cluster, tmp_path):
    """And its workers end with it."""
    out, until = tmp_path / "run", time.monotonic() + 600
    with tempfile.TemporaryDirectory() as short:  # where Ray has its sockets
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        script = DRIVER.replace("sys.argv[2]", repr(str(tmp_path)))  # a worker has others
        asked = [sys.executable, "-c", script, str(out)]
        driver = subprocess.Popen(
            asked, cwd=ROOT, env={**env, "TMPDIR": short}, stderr=subprocess.PIPE, text=True
        )
        try:
            while driver.poll() is None and not (
                len(list(out.glob("rows/*.csv"))) == 6 and (tmp_path / "worker").exists()
            ):
                assert time.monotonic() < until
                time.sleep(0.2)
        finally:
            driver.kill()
        assert "Traceback" not in driver.communicate()[1]  # two processes on one core are told of
        worker = Path("/proc", (tmp_path / "worker").read_text(), "cmdline")
        while worker.exists() and worker.read_text():  # of a zombie it is empty
            assert time.monotonic() < until
            time.sleep(0.2)
    run(small_network(), out, 3)
    run(small_network(), tmp_path / "one")
    assert rows(out) == rows(tmp_path / "one")


TERMINATED = """
import os, signal, sys, time
from holdfast.workers import connected

with connected(1) as ray:
    assert ray.get(ray.remote(os.path.basename).remote("run")) == "run"
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1000)
    except KeyboardInterrupt:
        print("interrupted")
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""


def test_a_driver_that_is_told_to_end_ends_as_by_an_interruption():
    """A cluster's scheduler says so; Ray would print addresses and abort."""
    pytest.importorskip("ray", reason="needs holdfast[ray]")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    asked = [sys.executable, "-c", TERMINATED]
    done = subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n"
    assert "SIGTERM" not in done.stderr


@pytest.mark.parametrize("mine", [signal.SIG_IGN, lambda *_: None])
def test_who_has_a_use_for_that_signal_keeps_it(mine):
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with clusters._terminated_in_order() as settle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray takes it
            settle()
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
