"""Kill each command at random writes, until it has been killed so many times, and compare.

    python -m tests.crashing KILLS

The process is killed by itself, just before or just after a file is renamed or linked into place,
which is all that a run folder ever sees. A run that was killed is begun again until it is whole:
its files must then be those of a run that nothing disturbed, and nothing else may lie beside them.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from holdfast import data
from holdfast.attacks import FGSM, PGD
from holdfast.certify import CertificationConfig, certify_data
from holdfast.data import Data
from holdfast.diagnose import Diagnosis, diagnose_data
from holdfast.evaluation import EvaluationConfig, evaluate_data, study
from holdfast.lock import LOCK
from holdfast.models import Architecture
from holdfast.results import read_about
from holdfast.threat import Linf
from holdfast.training import Schedule, Standard, train_data
from tests.test_tuning import tuned
from tests.toys import images

SMALL = Architecture(name="small", shape=(1, 8, 8), classes=10)
ATTACKS = [("fgsm", FGSM(Linf(0.1))), ("pgd", PGD(Linf(0.1), steps=2))]

#: Writes that a process may make before the one at which it is killed: of a study four are locks.
WRITES = 12

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


COMMANDS: dict[str, Callable[[Path], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "certify": _certify,
    "study": _study,
    "diagnose": _diagnose,
    "tune": _tune,
}


def child(work: Callable[[Path], None], out: Path, writes: int, after: bool) -> bool:
    """Let a process of its own do the work, and kill itself at a write; say whether it did."""
    process = os.fork()
    if process == 0:
        left = writes

        def killing(call):
            def called(*arguments, **more):
                nonlocal left
                left -= 1
                if left == 0 and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                call(*arguments, **more)
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            return called

        os.replace, os.link, os.unlink = map(killing, (os.replace, os.link, os.unlink))
        try:
            warnings.simplefilter("ignore")
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
    work, left = COMMANDS[name], kills
    child(work, place / "whole", 0, after=False)
    whole = content(place / "whole")
    while left > 0:
        out = place / "killed"
        while child(work, out, chance.randint(1, WRITES) if left else 0, chance.random() < 0.5):
            left -= 1
        if not read_about(out)["complete"] or content(out) != whole:
            others = {file for file, was in content(out).items() if whole.get(file, b"") != was}
            raise RuntimeError(f"{name} ended otherwise: {others or whole.keys() - content(out)}")
        shutil.rmtree(out)


def main(kills: int) -> None:
    torch.set_num_threads(1)  # a child has none of its parent's threads
    data.load("digits")  # so that no child need import what this imports
    for name in COMMANDS:
        with tempfile.TemporaryDirectory() as place:
            crash(name, kills, Path(place), random.Random(name))
        print(f"{name}: killed {kills} times, and always ended as the undisturbed run", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
