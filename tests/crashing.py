"""Kill each command at random writes, until it has been killed so many times, and compare.

    python -m tests.crashing KILLS [COMMAND ...]

The process is killed by itself, just before or just after a file is renamed or linked into place
or taken away, which is all that a folder of results ever sees. A run that was killed is begun again
until it is whole: its files must then be those of a run that nothing disturbed, and nothing else
may lie beside them.
"""

import io
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from holdfast import data
from holdfast.attacks import FGSM, PGD
from holdfast.bundle import write_bundle
from holdfast.certify import CertificationConfig, certify_data
from holdfast.cli.reproduce import reproduce
from holdfast.data import Data
from holdfast.diagnose import Diagnosis, diagnose_data
from holdfast.errors import OutputError
from holdfast.evaluation import EvaluationConfig, evaluate_data, study
from holdfast.lock import LOCK
from holdfast.models import Architecture
from holdfast.report.page import build
from holdfast.results import read_about
from holdfast.threat import Linf
from holdfast.training import Schedule, Standard, train_data
from tests.test_tuning import tuned
from tests.toys import images

SMALL = Architecture(name="small", shape=(1, 8, 8), classes=10)
ATTACKS = [("fgsm", FGSM(Linf(0.1))), ("pgd", PGD(Linf(0.1), steps=2))]

#: What holds times.
NEVER_THE_SAME = ("run.json", "speed.csv")


def network() -> torch.nn.Module:
    return SMALL.build(seed=0).eval()


def pictures() -> Data:
    return Data.of(images(8, (1, 8, 8)), torch.arange(8) + 2)


def _evaluate(out: Path) -> None:
    evaluate_data(network(), pictures(), ATTACKS, EvaluationConfig(batch_size=2), "net", out)


def _certify(out: Path) -> None:
    how = CertificationConfig(sigma=0.1, votes=20, bounds=("cohen", "renyi"), batch_size=40)
    certify_data(network(), pictures(), how, "net", out)


def _study(out: Path) -> None:
    study({"net": network()}, pictures(), ATTACKS[:1], (0, 1), EvaluationConfig(), out)


def _train(out: Path) -> None:
    digits = data.load("digits", "train", limit=64)
    schedule = Schedule(epochs=3, batch_size=16, accelerator="cpu")
    train_data(SMALL, digits, Standard(), schedule, out, checkpoint_seconds=0.0)


def _diagnose(out: Path) -> None:
    def mean(model, x, y, *, seed, index):
        return {"mean": x.flatten(1).mean(dim=1), "x": x}

    grey = Diagnosis("grey", {}, mean, lambda found: {"mean": found["mean"].mean()})
    models = {"one": network(), "two": network()}
    diagnose_data(grey, models, pictures(), batch_size=2, out=out)


def _tune(out: Path) -> None:
    tuned(out)


def _runs(out: Path) -> None:
    """What a report and a bundle are made of."""
    kept = EvaluationConfig(batch_size=8, keep_images=4)
    evaluate_data(network(), pictures(), ATTACKS, kept, "net", out / "evaluation")
    _certify(out / "certification")


def _finished(out: Path) -> list[Path]:
    return [out.with_name("runs") / name for name in ("evaluation", "certification")]


def _report(out: Path) -> None:
    build(_finished(out), out)


def _bundle(out: Path) -> None:
    out.mkdir(exist_ok=True)
    with suppress(OutputError):  # of one that is there: whoever was killed had finished it
        write_bundle(_finished(out), out / "study.zip")


def _reproduce(out: Path) -> None:
    with redirect_stdout(io.StringIO()):
        reproduce(["so/figure-7"], scale="quick", out=out, quiet=True)


class Command(NamedTuple):
    """A command, and how many writes its process may make before the one that it is killed at.

    One that goes on where it stopped is killed after few of them: of a study's, four are locks. One
    that begins anew could otherwise never be killed at its last ones.
    """

    work: Callable[[Path], None]
    writes: int = 12


COMMANDS = {
    "train": Command(_train),
    "evaluate": Command(_evaluate),
    "certify": Command(_certify),
    "study": Command(_study),
    "diagnose": Command(_diagnose),
    "tune": Command(_tune),
    "report": Command(_report, writes=45),
    "bundle": Command(_bundle, writes=4),
    "reproduce": Command(_reproduce, writes=60),
}


def child(work: Callable[[Path], None], out: Path, writes: int, after: bool) -> bool:
    """Let a process of its own do the work, and kill itself at a write; say whether it did."""
    process = os.fork()
    if process == 0:
        left = writes

        def killing(call):
            def called(*arguments, **more):
                nonlocal left
                if out not in Path(arguments[-1]).parents:  # a file of its own, which nobody sees
                    return call(*arguments, **more)
                left -= 1
                if left == 0 and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                call(*arguments, **more)
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return None

            return called

        os.replace, os.link, os.unlink = map(killing, (os.replace, os.link, os.unlink))
        try:
            warnings.simplefilter("ignore")
            tempfile.tempdir = str(out.parent)
            work(out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"{out} did not go on")
    return os.WIFSIGNALED(status)


def content(folder: Path) -> dict[str, bytes | None]:
    """What a finished run holds, but for what is never the same, and the lock of a dead process."""
    return {
        str(file.relative_to(folder)): None if file.name in NEVER_THE_SAME else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "tensorboard" not in file.parts and file.name != LOCK
    }


def crash(name: str, kills: int, place: Path, chance: random.Random) -> None:
    """Kill a command so many times, over as many runs as that takes.

    Raises:
        RuntimeError: if a run does not go on, or ends as another than the undisturbed one.
    """
    (work, writes), left = COMMANDS[name], kills
    child(_runs, place / "runs", 0, after=False)
    child(work, place / "whole", 0, after=False)
    whole = content(place / "whole")
    while left > 0:
        out = place / "killed"
        while child(work, out, chance.randint(1, writes) if left else 0, chance.random() < 0.5):
            left -= 1
        complete = all(read_about(file.parent)["complete"] for file in out.rglob("run.json"))
        if not complete or content(out) != whole:
            others = {file for file, was in content(out).items() if whole.get(file, b"") != was}
            raise RuntimeError(f"{name} ended otherwise: {others or whole.keys() - content(out)}")
        shutil.rmtree(out)


def main(kills: int, names: list[str]) -> None:
    torch.set_num_threads(1)  # a child has none of its parent's threads
    data.load("digits")  # so that no child need import what this imports
    for name in names or COMMANDS:
        with tempfile.TemporaryDirectory() as place:
            crash(name, kills, Path(place), random.Random(name))
        print(f"{name}: killed {kills} times, and always ended as the undisturbed run", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
