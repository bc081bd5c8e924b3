"""A run folder has one owner and one subject: lock, identity of model and data, a full disk."""

import errno
import gc
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import nn

from holdfast import data, digests, evaluate, files, lock
from holdfast.attacks import FGSM
from holdfast.bundle import verify
from holdfast.certify import CertificationConfig, certify_data
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.errors import DamagedFileError, HoldfastError, InputError, OutputError
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.files import create_json, read_json, read_table, write_json, write_table
from holdfast.models.identity import identify
from holdfast.progress import Progress
from holdfast.report.subjects import read_subjects
from holdfast.results import Part, Run, read_about
from holdfast.results.schema import FORMAT
from holdfast.tensors import fingerprint
from holdfast.threat import Linf
from tests.toys import images, small_network

ATTACKS = [("fgsm", FGSM(Linf(0.1)))]


def evaluated(model, found, out, progress=None):
    return evaluate_data(
        model, found, ATTACKS, EvaluationConfig(), "m", out, progress or Progress()
    )


class Saying(Progress):
    def __init__(self):
        self.said = ""

    def say(self, text):
        self.said += text


class TestLock:
    def test_a_second_process_is_told_which_one_writes(self, tmp_path):
        folder = tmp_path / "run"
        code = (
            "import sys; from pathlib import Path; from holdfast.results import Run\n"
            "with Run(Path(sys.argv[1]), 'k', {'a': 1}).writing(): print('held', flush=True); "
            "sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(OutputError) as told, Run(folder, "k", {"a": 1}).writing():
                pass
            with pytest.raises(OutputError) as other:
                Run(folder, "k", {"a": 2})
            holder.kill()
            holder.wait()
            with pytest.raises(OutputError, match="a = 1, and now it is 2"):  # not: in use
                Run(folder, "k", {"a": 2})
            with Run(folder, "k", {"a": 1}).writing() as unfinished:  # of a dead one it is free
                assert unfinished
                assert lock.owner(folder).process == os.getpid()
        finally:
            holder.kill()
            holder.communicate()
        for error in (told, other):
            assert f"process {holder.pid} on host {lock.Owner.me().host}" in str(error.value)
        with pytest.raises(OutputError, match="a = 1, and now it is 2"):
            Run(folder, "k", {"a": 2})
        assert not (folder / lock.LOCK).exists()

    @pytest.mark.parametrize(
        ("other", "free"),
        [
            ({"started": "another boot 17"}, True),  # a number that was used again
            ({"host": "elsewhere", "started": "another boot 17"}, False),
            ({"space": "another container", "started": "another boot 17"}, False),
            ({"started": None}, False),
            ({"since": "an hour ago"}, False),  # lives: it is this very process
        ],
    )
    def test_only_the_lock_of_a_dead_process_is_taken_over(self, tmp_path, other, free):
        write_json(tmp_path / lock.LOCK, asdict(replace(lock.Owner.me(), **other)))
        run = Run(tmp_path, "k", {})
        if free:
            with run.writing():
                run.check()
        else:
            before = (tmp_path / lock.LOCK).read_bytes()
            with pytest.raises(OutputError, match="in use by process"), run.writing():
                pass
            assert (tmp_path / lock.LOCK).read_bytes() == before
            assert not (tmp_path / "run.json").exists()

    def test_a_lock_that_says_nothing_is_told(self, tmp_path):
        (tmp_path / lock.LOCK).write_text("")
        with pytest.raises(DamagedFileError, match="remove it"), Run(tmp_path, "k", {}).writing():
            pass

    def test_of_many_at_once_one_takes_over(self, tmp_path):
        """All find the lock of a dead process; each keeps what it takes until all have tried."""
        dead = replace(lock.Owner.me(), started="another boot 17")
        context = multiprocessing.get_context("fork")
        for turn in range(5):
            folder = tmp_path / str(turn)
            folder.mkdir()
            write_json(folder / lock.LOCK, asdict(dead))
            barrier, results = context.Barrier(6), context.Queue()
            racers = [
                context.Process(target=_race, args=(folder, barrier, results)) for _ in range(6)
            ]
            for racer in racers:
                racer.start()
            taken = [results.get() for _ in racers]
            for racer in racers:
                racer.join()
            assert sum(taken) == 1

    def test_while_one_looks_at_a_lock_and_replaces_it_no_other_does(self, tmp_path, monkeypatch):
        fcntl = pytest.importorskip("fcntl")
        dead = replace(lock.Owner.me(), started="another boot 17")
        write_json(tmp_path / lock.LOCK, asdict(dead))
        kept_out = []

        def tried(path, content):
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                kept_out.append(path.exists())
            finally:
                os.close(handle)
            create_json(path, content)

        monkeypatch.setattr(lock, "create_json", tried)
        with lock.held(tmp_path):
            assert kept_out == [False]  # between the removal of one and the making of the other

    def test_each_write_looks_whether_the_folder_is_still_this_runs(self, tmp_path):
        run = Run(tmp_path, "k", {"a": 1})
        rows = data_frame()
        with pytest.raises(OutputError, match="no longer held"):
            run.chunks.write(0, 0, rows, 0.0)
        with run.writing():
            run.chunks.write(0, 0, rows, 0.0)
            about = read_json(tmp_path / "run.json")
            write_json(tmp_path / "run.json", {**about, "settings": {"a": 2}})
            for write in (lambda: run.chunks.write(0, 1, rows, 0.0), run.merge, run.finish):
                with pytest.raises(OutputError, match="a = 2, and now it is 1"):
                    write()
            write_json(tmp_path / "run.json", about)
            other = replace(lock.Owner.me(), process=1)
            write_json(tmp_path / lock.LOCK, asdict(other))
            with pytest.raises(OutputError, match="no longer held"):
                run.chunks.write_images(0, 1, {"x": torch.zeros(1)})
        assert lock.owner(tmp_path) == other  # which is not this run's to give back
        assert [path.name for path in (tmp_path / "rows").glob("*.csv")] == ["0000.00000.csv"]

    def test_the_processes_of_a_run_are_one_owner(self, tmp_path):
        first = Run(tmp_path, "k", {"a": 1})
        with first.writing():
            second = Run(tmp_path, "k", {"a": 1}).join()
            second.chunks.write(0, 0, data_frame(), 0.0)
            assert first.chunks.has(0, 0)
        with pytest.raises(OutputError, match="no longer held"):
            second.chunks.write(0, 1, data_frame(), 0.0)
        with pytest.raises(OutputError, match="no longer held"):
            Run(tmp_path, "k", {"a": 1}).join()

    def test_a_file_is_created_once(self, tmp_path, monkeypatch):
        create_json(tmp_path / "a.json", {"a": 1})
        with pytest.raises(FileExistsError):
            create_json(tmp_path / "a.json", {"a": 2})

        def no_links(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        with pytest.raises(FileExistsError):
            create_json(tmp_path / "a.json", {"a": 2})
        create_json(tmp_path / "b.json", {"b": 1})
        assert [read_json(tmp_path / f"{name}.json")[name] for name in "ab"] == [1, 1]
        assert len(list(tmp_path.iterdir())) == 2

    def test_what_the_input_stops_leaves_no_folder(self, tmp_path):
        (tmp_path / "there").mkdir()
        for folder in (tmp_path / "new" / "run", tmp_path / "there"):
            with pytest.raises(InputError), Run(folder, "k", {}).writing():
                raise InputError("wrong")
        assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
        run = Run(tmp_path / "new", "k", {})
        with suppress(InputError), run.writing():
            run.chunks.write_images(0, 0, {"x": torch.zeros(1)})  # of a chunk that is not finished
            raise InputError("wrong")
        assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
        with suppress(InputError), run.writing():
            run.chunks.write(0, 0, data_frame(), 0.0)
            raise InputError("wrong")
        assert run.chunks.has(0, 0)
        assert not (tmp_path / "new" / lock.LOCK).exists()

    def test_a_run_that_fails_empties_no_folder_that_another_has_taken(self, tmp_path):
        run = Run(tmp_path / "run", "k", {})
        other = replace(lock.Owner.me(), process=1)
        with suppress(InputError), run.writing():
            write_json(tmp_path / "run" / lock.LOCK, asdict(other))
            raise InputError("wrong")
        assert lock.owner(tmp_path / "run") == other
        assert (tmp_path / "run" / "run.json").exists()

    def test_a_run_taken_up_is_kept_when_it_fails_again(self, tmp_path):
        with suppress(KeyboardInterrupt), Run(tmp_path / "run", "k", {}).writing():
            raise KeyboardInterrupt
        with suppress(InputError), Run(tmp_path / "run", "k", {}).writing():
            raise InputError("wrong")
        assert (tmp_path / "run" / "run.json").exists()


def _race(folder, barrier, results):
    barrier.wait()
    try:
        with lock.held(folder):
            results.put(1)
            barrier.wait()
    except OutputError:
        results.put(0)
        barrier.wait()


def data_frame():
    return pd.DataFrame({"index": [0]})


class Scaled(nn.Module):
    """Weights that stay while what is done with them does not."""

    def __init__(self, network, scale=1.0):
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, x):
        return self.scale * self.network(x)


class Restless(nn.Module):
    """Draws random numbers and does not say so."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x + torch.randn_like(x))


class TestFinished:
    def test_a_run_that_is_there_says_which_audit_it_holds(self, tmp_path):
        found = Data.of(images(4), torch.arange(4) % 3)
        attacks = [("fgsm", FGSM(Linf(0.1)))]
        for share, said in ((0.15, "with a limit of "), (math.inf, "with no limit")):
            out, kept = tmp_path / said, Saying()
            evaluate_data(small_network(), found, attacks, EvaluationConfig(audit=share), out=out)
            again = EvaluationConfig(audit=0.5)
            evaluate_data(small_network(), found, attacks, again, out=out, progress=kept)
            assert f"passes {said}" in kept.said
            assert f"holdfast audit {out} makes another" in kept.said
        out, kept = tmp_path / "off", Saying()
        for _ in range(2):
            evaluate_data(
                small_network(), found, attacks, EvaluationConfig(audit=0), out=out, progress=kept
            )
        assert "nothing was run" in kept.said
        assert "audit" not in kept.said


class TestIdentity:
    def test_a_path_that_is_spelled_otherwise_is_the_same(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        for name in ("runs/net", "runs/net/", "./runs/net", "runs//net"):
            evaluate_data(network, found, ATTACKS, EvaluationConfig(), name, tmp_path)
        with pytest.raises(OutputError, match="model = 'runs/net', and now it is 'net'"):
            evaluate_data(network, found, ATTACKS, EvaluationConfig(), "net", tmp_path)

    def test_the_same_weights_that_answer_otherwise_are_refused(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(Scaled(network), found, tmp_path)
        with pytest.raises(OutputError, match="answers otherwise"):
            evaluated(Scaled(network, 1.1), found, tmp_path)
        progress = Saying()
        evaluated(Scaled(network, 1 + 1e-5), found, tmp_path, progress)  # as other hardware rounds
        assert "nothing was run" in progress.said
        for what in ("all images and labels", "weights", "answers", "source"):
            assert what in progress.said

    def test_the_same_answers_from_another_source_are_refused(self, tmp_path, monkeypatch):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        (tmp_path / "mine.py").write_text(MINE)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "mine", raising=False)  # another test's
        import mine

        evaluated(mine.Mine(network), found, tmp_path / "run")
        first = identify(mine.Mine(network), found)
        for text, same in (
            (MINE.replace("return", "# as ever\n        return "), True),
            (MINE.replace("self.network(x)", "self.network(1 * x)"), False),
        ):
            (tmp_path / "mine.py").write_text(text)
            second = identify(mine.Mine(network), found)
            assert (second == first) is same
        with pytest.raises(OutputError, match="classes had another source"):
            evaluated(mine.Mine(network), found, tmp_path / "run")

    def test_published_classes_have_no_source_to_compare(self):
        assert (
            identify(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), pixels())["model_source"] is None
        )

    @pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
    def test_what_a_layer_keeps_beside_tensors_counts_as_far_as_it_can_be_told(self):
        class Keeps(nn.Linear):
            kept: object

            def get_extra_state(self):
                return {"kept": self.kept, "nobody knows": object()}

        layer = Keeps(2, 2)
        whole = torch._empty_affine_quantized([2], scale=0.1, zero_point=0, dtype=torch.qint8)
        packed = whole, torch.qint8  # as quantised layers have them
        prints = []
        for kept in (1, 2, [layer.weight], [2 * layer.weight.detach()], packed, packed):
            layer.kept = kept
            prints.append(fingerprint(layer))
        assert len(set(prints)) == 5
        assert prints[4] == prints[5]

    def test_answers_that_are_never_the_same_are_not_compared(self):
        assert identify(Restless(flat()), pixels())["model_answers"] is None
        nothing = Scaled(flat(), float("nan"))
        assert identify(nothing, pixels())["model_answers"] is None

    def test_asking_leaves_model_and_generators_alone(self):
        model = Restless(flat()).train()
        state = torch.get_rng_state()
        identify(model, pixels())
        assert model.training
        assert torch.equal(torch.get_rng_state(), state)

    def test_folders_of_older_versions_are_refused_in_a_sentence(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        about = read_json(tmp_path / "run.json")
        del about["format"]
        write_json(tmp_path / "run.json", about)
        with pytest.raises(OutputError, match="report still reads it"):
            evaluated(network, found, tmp_path)

    def test_folders_of_later_versions_are_refused_whoever_reads_them(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        about = read_json(tmp_path / "run.json")
        about["format"] = FORMAT + 1
        about["versions"]["holdfast"] = "9.9"
        write_json(tmp_path / "run.json", about)
        for read in (
            lambda: read_about(tmp_path),
            lambda: evaluated(network, found, tmp_path),
            lambda: verify(tmp_path),  # which contradicts nothing
        ):
            with pytest.raises(InputError, match=r"by Holdfast 9\.9 in format 4, .* reads up to 3"):
                read()

    @pytest.mark.parametrize("complete", [True, False])
    def test_runs_whose_settings_had_other_names_go_on(self, tmp_path, complete):
        """Those of 0.2 are read by the report, and taken up by the same command."""
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        how = CertificationConfig(sigma=0.1, bounds=("cohen", "renyi"), radii=(0.1,), votes=50)

        def both():
            evaluated(network, found, tmp_path / "evaluation")
            return certify_data(network, found, how, "m", tmp_path / "certification")

        rows = both().rows
        until = {
            "evaluation": {"keep_images": "keep"},
            "certification": {
                "votes": "n",
                "selection_votes": "n0",
                "bounds": "bound",
                "intervals": "interval",
                "radii": "radius",
            },
        }
        for name, old in until.items():
            about = read_json(tmp_path / name / "run.json")
            settings = {old.get(key, key): value for key, value in about["settings"].items()}
            assert set(old.values()) <= set(settings)
            about |= {"settings": settings, "complete": complete}
            write_json(tmp_path / name / "run.json", about)
        if complete:
            (subject,) = read_subjects([tmp_path / name for name in until])
            proofs = [proof for each in subject.classifiers for proof in each.certifications]
            assert [proof.bound for proof in proofs] == ["cohen", "renyi"]
            assert all(proof.settings["radii"] == [0.1] for proof in proofs)
        assert (both().rows == rows).all(axis=None)
        with pytest.raises(OutputError, match="votes = 50, and now it is 60"):
            certify_data(network, found, replace(how, votes=60), "m", tmp_path / "certification")


MINE = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)
"""


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def pixels():
    return Data.of(images(3, (1, 2, 2)), torch.arange(3) % 2)


class TestData:
    @pytest.fixture
    def root(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        root = tmp_path / "images"
        (root / "a").mkdir(parents=True)
        for number in range(300):  # more than are looked at by 0.1.0
            Image.fromarray(np.full((2, 2), number % 256, np.uint8)).save(
                root / "a" / f"{number:03d}.png"
            )
        return root

    def test_any_image_counts(self, root):
        before = data.load(str(root)).fingerprint()
        assert data.load(str(root)).fingerprint() == before
        Image.fromarray(np.full((2, 2), 99, np.uint8)).save(root / "a" / "299.png")
        after = data.load(str(root)).fingerprint()
        assert after != before
        part = data.load(str(root)).take(torch.tensor([0, 5]))
        assert part.fingerprint() not in (before, after)
        x, y = torch.rand(300, 1, 2, 2), torch.zeros(300, dtype=torch.int64)
        memory = Data.of(x.clone(), y).fingerprint()
        x[299, 0, 1, 1] = 0.5
        assert Data.of(x, y).fingerprint() != memory

    def test_unchanged_files_are_read_once(self, root, monkeypatch):
        monkeypatch.setattr(digests, "_COARSE", 0.0)
        files_read = []
        read = Path.read_bytes

        def told(path):
            if path.suffix == ".png":  # and not what keeps the digests
                files_read.append(path.name)
            return read(path)

        monkeypatch.setattr(Path, "read_bytes", told)
        first = data.load(str(root)).fingerprint()
        assert len(files_read) == 300
        assert data.load(str(root)).fingerprint() == first
        assert len(files_read) == 300
        changed = root / "a" / "007.png"
        times = changed.stat()
        pixels = bytearray(read(changed))
        pixels[-20] ^= 1
        changed.write_bytes(bytes(pixels))
        os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copying program does
        assert data.load(str(root)).fingerprint() != first
        assert files_read[300:] == ["007.png"]
        assert all(path.suffix == ".png" for path in (root / "a").iterdir())  # nothing beside them

    def test_a_file_changed_just_now_is_read_again(self, root, monkeypatch):
        monkeypatch.setattr(digests, "_COARSE", 3600.0)
        data.load(str(root)).fingerprint()
        assert not digests._cache(root).exists()

    def test_no_place_for_a_cache_is_no_failure(self, root, tmp_path, monkeypatch):
        monkeypatch.setattr(digests, "_COARSE", 0.0)
        expected = data.load(str(root)).fingerprint()
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").write_text("a file")
        assert data.load(str(root)).fingerprint() == expected
        (tmp_path / "cache").unlink()
        digests._cache(root).parent.mkdir(parents=True)
        digests._cache(root).write_text("damaged")
        assert data.load(str(root)).fingerprint() == expected


class TestFullDisk:
    COMMANDS = (
        "train --model mlp --images 64 --epochs 1 --quiet --out",
        "evaluate --model net --images 8 --attacks fgsm --eps 0.1 --quiet --out",
        "evaluate --model net --images 8 --attacks fgsm --eps 0.1 --keep-images 0 --quiet --out",
    )

    @pytest.mark.parametrize(
        ("command", "where"),
        [
            *product(COMMANDS, ("json", "table", "folder")),
            *product(COMMANDS[:2], ("tensors",)),
        ],
    )
    def test_it_has_one_exit_code(self, tmp_path, monkeypatch, capsys, command, where):
        monkeypatch.chdir(tmp_path)
        assert run([*self.COMMANDS[0].split(), "net"]) == 0
        threads = set(threading.enumerate())

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        def safetensors_says(*_, **__):
            raise SafetensorError("I/O error: No space left on device (os error 28)")

        if where == "tensors":
            monkeypatch.setattr(files.tensors, "save_file", safetensors_says)
        else:
            target = {
                "json": "pathlib.Path.write_text",
                "table": "pandas.DataFrame.to_csv",
                "folder": "tempfile.TemporaryDirectory",
            }[where]
            monkeypatch.setattr(target, full)
        assert run([*command.split(), "run"]) == 1  # the system's, as the manual says
        assert "No space left" in capsys.readouterr().err
        # TensorBoard's would write on, to a folder that may be gone, and by a path that may mean
        # another one by then.
        assert not [thread for thread in set(threading.enumerate()) - threads if thread.is_alive()]
        if (tmp_path / "run").exists():  # with what was finished, and nobody's
            assert not (tmp_path / "run" / lock.LOCK).exists()


def test_every_number_of_a_table_is_read_as_it_was_written(tmp_path):
    numbers = np.random.default_rng(0).random(1000) * 10.0 ** np.linspace(-30, 30, 1000)
    write_table(tmp_path / "a.csv", pd.DataFrame({"radius": numbers}))
    assert read_table(tmp_path / "a.csv")["radius"].tolist() == numbers.tolist()


def test_chunks_that_a_kill_left_in_a_finished_run_are_cleared(tmp_path, monkeypatch):
    x, y = images(4), torch.arange(4) % 3
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.results.run.clear_work", lambda path, checkpoint: None)
        evaluate(small_network(), x, y, dict(ATTACKS), out=tmp_path)
    assert list((tmp_path / "rows").iterdir())
    before = (tmp_path / "rows.csv").read_bytes()
    evaluate(small_network(), x, y, dict(ATTACKS), out=tmp_path)
    assert not (tmp_path / "rows").exists()
    assert (tmp_path / "rows.csv").read_bytes() == before


class TestResumeOr:
    """The one skeleton of all runs."""

    def run(self, folder, done, results=lambda run, rows: {"count": len(rows)}, **more):
        chunks = {0: torch.arange(2), 1: torch.arange(2, 5)}

        def compute(missing):
            for cell in missing.cells:
                done.append((cell, missing.chunk))
                yield Part(cell, pd.DataFrame({"cell": cell, "index": missing.index.numpy()}))

        def work(run):
            run.fill(chunks, ["a", "b"], compute, "work")

        Run.resume_or(folder, "k", {"a": 1}, work, results, **more)

    def test_only_what_is_missing_is_computed(self, tmp_path):
        done = []

        def fails(run, rows):
            assert list(rows["cell"]) == [0] * 5 + [1] * 5
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.run(tmp_path, done, fails)
        assert done == [(0, 0), (1, 0), (0, 1), (1, 1)]
        assert not read_json(tmp_path / "run.json")["complete"]
        (tmp_path / "rows.csv").unlink()
        (tmp_path / "rows" / "0001.00000.csv").unlink()
        done.clear()
        self.run(tmp_path, done)
        assert done == [(1, 0)]
        assert read_json(tmp_path / "run.json")["count"] == 10
        assert not (tmp_path / "rows").exists()
        done.clear()
        listening = Saying()
        self.run(tmp_path, done, progress=listening)
        assert not done
        assert "is complete" in listening.said

    def test_work_that_goes_on_from_a_file_of_its_own(self, tmp_path):
        """It is kept while the run is unfinished, and goes with its end, also a belated one."""
        checkpoint = tmp_path / "checkpoint"

        def run(results):
            Run.resume_or(
                tmp_path,
                "k",
                {},
                lambda run: checkpoint.write_text("half"),
                results,
                checkpoint="checkpoint",
            )

        def fails(run, rows):
            assert not len(rows)
            raise InputError("no")

        with pytest.raises(InputError):
            run(fails)
        assert checkpoint.exists()
        run(lambda run, rows: {})
        assert not checkpoint.exists()
        checkpoint.write_text("of a process that was killed after its last step")
        run(lambda run, rows: {})
        assert not checkpoint.exists()


class TestDamage:
    """What a run left behind may have been changed since; that is told in a sentence."""

    def change(self, path, **changes):
        write_json(path, {**read_json(path), **changes})

    @pytest.mark.parametrize(
        "changes", [{"cells": "x"}, {"cells": [{}]}, {"warnings": 1}, {"rows_sha256": None}]
    )
    def test_a_finished_run_that_says_something_else(self, tmp_path, changes):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        self.change(tmp_path / "run.json", **changes)
        with pytest.raises(DamagedFileError, match=r"run\.json is not what"):
            evaluated(network, found, tmp_path)

    def test_one_of_an_earlier_version_is_checked_where_it_is_read(self, tmp_path):
        """It has no digest; what it need not say is not asked for."""
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        about = read_json(tmp_path / "run.json")
        for name in ("sha256", "rows_sha256", "warnings"):
            del about[name]
        write_json(tmp_path / "run.json", about)
        evaluated(network, found, tmp_path)
        for name, value in (("cells", None), ("cells", "x"), ("cells", [{}]), ("warnings", 1)):
            write_json(tmp_path / "run.json", {**about, name: value})
            with pytest.raises(DamagedFileError, match=rf"run\.json is not .*: {name}"):
                evaluated(network, found, tmp_path)
        write_json(tmp_path / "run.json", about)
        (tmp_path / "rows.csv").write_text("index\n1\n")
        with pytest.raises(DamagedFileError, match=r"rows\.csv is not .* attack is missing"):
            evaluated(network, found, tmp_path)

    def test_a_folder_in_the_place_of_a_file(self, tmp_path):
        (tmp_path / "a.json").mkdir()
        with pytest.raises(OutputError, match=r"a\.json is a folder"):
            write_json(tmp_path / "a.json", {})
        assert {path.name for path in tmp_path.iterdir()} == {"a.json"}

    def test_settings_of_another_form(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        settings = read_json(tmp_path / "run.json")["settings"]
        for values in (None, "x", [], [[]], ["x"] * 32, [10**400] * 32, [{}] * 32):
            answers = {**settings["model_answers"], "values": values}
            self.change(tmp_path / "run.json", settings={**settings, "model_answers": answers})
            with pytest.raises(HoldfastError, match=r"answers|too large"):
                evaluated(network, found, tmp_path)
        self.change(tmp_path / "run.json", settings="x")
        with pytest.raises(DamagedFileError, match="settings: expected `object`"):
            evaluated(network, found, tmp_path)

    @pytest.mark.parametrize(
        "changes",
        [{"seconds": 10**400}, {"seconds": "x"}, {"skipped": 1}, {"skipped": {"a": []}}],
    )
    def test_a_chunk_that_does_not_say_how_long_it_took(self, tmp_path, changes):
        class Stopped(Progress):
            def advance(self, count, note=""):
                if note:
                    raise KeyboardInterrupt

        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        with pytest.raises(KeyboardInterrupt):
            evaluated(network, found, tmp_path, Stopped())
        (chunk,) = (tmp_path / "rows").glob("0000.*.json")
        self.change(chunk, **changes)
        with pytest.warns(UserWarning, match="chunk 0 of cell 0 is computed again"):
            found_again = evaluated(network, found, tmp_path)
        pd.testing.assert_frame_equal(found_again.rows, evaluated(network, found, None).rows)

    def test_a_folder_where_a_file_belongs(self, tmp_path):
        network, found = small_network(), Data.of(images(4), torch.arange(4) % 3)
        evaluated(network, found, tmp_path)
        (tmp_path / "rows.csv").unlink()
        (tmp_path / "rows.csv").mkdir()
        with pytest.raises(DamagedFileError, match=r"rows\.csv is a folder"):
            evaluated(network, found, tmp_path)


def test_no_collection_takes_a_form_that_a_file_was_read_as(tmp_path):
    """Where the last one did, processes ended by a segmentation fault in msgspec."""

    class Form(TypedDict):
        eps: float

    (tmp_path / "a.json").write_text('{"eps": 0.1}')
    assert files.read_as(tmp_path / "a.json", Form) == {"eps": 0.1}
    assert files.fitted({"eps": 0.1}, Form, tmp_path) == {"eps": 0.1}
    form = weakref.ref(Form)
    files.records._lasting.cache_clear()  # as the end of the process does
    del Form
    gc.collect()
    assert form() is not None


def test_who_may_read_a_folder_may_read_its_tensors(tmp_path):
    """A group that shares a disk, or the host's user what a container wrote."""
    files.write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)}, {})
    files.write_text(tmp_path / "a.txt", "x")
    tensors, text = ((tmp_path / name).stat().st_mode for name in ("a.safetensors", "a.txt"))
    assert tensors == text
