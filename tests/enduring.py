"""A long load: many images, eight attacks, a tiny network; what grows while it runs?

    python -m tests.enduring IMAGES

The first half of the pieces warms up: caches fill, the allocator takes what it needs. In the second
half the memory of the process and the files that it holds open must not grow; each piece must be
told, up to the last; and every image has a row without attack and one for each.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from holdfast.attacks import APGD, DDN, FGSM, MIM, PGD, RFGSM, DeepFool, Square
from holdfast.data import Data
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.progress import Progress
from holdfast.results import read_rows
from holdfast.threat import L2, Linf
from tests.toys import images, random_linear

SHAPE = (1, 4, 4)
BUDGET = Linf(0.05)
ATTACKS = [
    ("r-fgsm", RFGSM(BUDGET)),
    ("fgsm", FGSM(BUDGET)),
    ("pgd", PGD(BUDGET, steps=3)),
    ("mim", MIM(BUDGET, steps=3)),
    ("apgd", APGD(BUDGET, steps=4)),
    ("square", Square(BUDGET, queries=5)),
    ("deepfool", DeepFool(L2(0.2), steps=3)),
    ("ddn", DDN(L2(0.2), steps=5)),
]

#: Of memory in the second half: what an allocator's arenas vary by.
MOST_GROWTH = 4 * 2**20


class Watch(Progress):
    """The memory and the open files at each batch."""

    def __init__(self) -> None:
        self.total = 0
        self.told = 0
        self.memory: list[int] = []
        self.files: list[int] = []

    def start(self, what: str, total: int, done: int = 0) -> None:
        self.total += total

    def advance(self, pieces: int = 1, note: str = "") -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(resident * os.sysconf("SC_PAGE_SIZE"))
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.told += pieces


def main(count: int) -> None:
    torch.set_num_threads(1)
    model, x = random_linear(10, 16), images(count, SHAPE)
    data = Data.of(x, model(x).argmax(dim=1))  # all are right, so all are attacked
    watch = Watch()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        how = EvaluationConfig(batch_size=500)
        evaluate_data(model, data, ATTACKS, how, "linear", out, progress=watch)
        rows = len(read_rows(out))
    half = len(watch.memory) // 2
    grown = max(watch.memory[half:]) - max(watch.memory[:half])
    tenths = np.array_split(np.array(watch.memory) / 2**20, 10)
    print(
        f"{count:,} images, {rows:,} rows, {watch.told:,} pieces: memory grew by "
        f"{max(grown, 0) / 2**20:.1f} MiB of {max(watch.memory) / 2**20:.0f} in the second half, "
        f"{max(watch.files)} files open at most\n"
        f"MiB in each tenth: {', '.join(f'{tenth.max():.0f}' for tenth in tenths)}"
    )
    wrong = {
        "pieces were not told": watch.told != watch.total,
        "rows are missing": rows != count * (1 + len(ATTACKS)),
        "memory grows": grown > MOST_GROWTH,
        "open files grow": max(watch.files[half:]) > max(watch.files[:half]),
    }
    if any(wrong.values()):
        raise SystemExit("; ".join(what for what, is_so in wrong.items() if is_so))


if __name__ == "__main__":
    main(int(sys.argv[1]))
