"""How fast a GPU is used, and how far that is from its limits: one prepared run.

    python benchmarks/speed_gpu.py --device cuda --out runs/speed-gpu [--limit 110]

It needs Holdfast, installed as ever, and one GPU that does nothing else. Where nothing can be
installed, `src` on the PYTHONPATH will do, and beside it a folder that holds a file
holdfast-0.dist-info/METADATA of two lines, "Name: holdfast" and "Version: 0". After each item, the
most valuable first, it writes again

    speed-gpu.md     a table for each section, what was left out, and what failed
    speed-gpu.json   the same with every number unrounded, and what card and versions they are of

so that whatever ends it leaves what is measured. What no longer fits into ``--limit`` seconds of
the clock, by a guess, is left out; what outlasts them is cut off; an error ends its item alone.
Compilation is the last and takes the longest: ``--limit 400`` has room for all of it, by the same
guesses. ``--quick`` is a rehearsal at sizes that say nothing, for a CPU.

The sections are in gpu_passes.py and gpu_holdfast.py.
"""

import argparse
import gc
import json
import platform
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import gpu_holdfast
import gpu_passes
import torch
from attack_strength import markdown
from gpu_bench import Bench, Item

from holdfast.files import write_text

#: Of each section, what its table says.
SECTIONS = {
    "ceilings": "What the card gives at best: the fastest of the rounds.",
    "passes": "A gradient in the images, forward and back, and a forward pass. Operations are "
    "counted by torch's FlopCounterMode; the ceiling is the product of matrices in that precision, "
    "above; the GPU is busy while a kernel runs, by torch's profiler, over the time without it. "
    "The first call compiles. TF32 is off elsewhere than in the row of that name.",
    "overhead": "Attacks over a bare loop of as many gradients (attack_overhead.py).",
    "sampling": "Votes for certificates over bare forward passes (certify_speed.py).",
    "training": "A step of the trainer over bare passes (training_step.py), and of Deep Defense "
    "over its authors' loop (deep_defense_step.py).",
    "batch size": "Two steps of PGD on ResNet-50 at the batch that `auto` chooses, and at one that "
    "memory does not hold.",
}


class OutOfTime(BaseException):
    """The limit is reached; no `Exception`, or what falls back from errors would go on."""


class Results:
    """What is measured so far, on the disk after every item."""

    def __init__(self, out: Path, device: str) -> None:
        self.out, self.card = out, card(device)
        self.rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in SECTIONS}
        self.notes: list[str] = []

    def write(self) -> None:
        """Both files."""
        text = ["# Speed on a GPU", ", ".join(f"{key} {value}" for key, value in self.card.items())]
        for section, rows in self.rows.items():
            if rows:
                text += [f"## {section}", SECTIONS[section], markdown([shown(row) for row in rows])]
        text += ["## Not measured", *(f"- {note}" for note in self.notes)] if self.notes else []
        write_text(self.out / "speed-gpu.md", "\n\n".join(text) + "\n")
        raw = {"card": self.card, "sections": self.rows, "not measured": self.notes}
        write_text(self.out / "speed-gpu.json", json.dumps(raw, default=plain, indent=1) + "\n")


def shown(row: Mapping[str, Any]) -> dict[str, object]:
    """A line of a table: numbers of three digits."""
    return {
        name: f"{value:.3g}" if isinstance(value, float) and value < 1e3 else digits(value)
        for name, value in row.items()
    }


def digits(value: object) -> object:
    return f"{value:,.0f}" if isinstance(value, float) else value


def plain(value: object) -> object:
    """What JSON has no form for."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def card(device: str) -> dict[str, object]:
    """What was measured on, and with which versions."""
    found: dict[str, object] = {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        found = {
            "card": about.name,
            "GiB": round(about.total_memory / 2**30, 1),
            "multiprocessors": about.multi_processor_count,
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            **found,
        }
    return found


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block once so many seconds have passed."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure(item: Item, left: float, results: Results) -> None:
    """One item's rows, or why there are none."""
    name = f"{item.section}: {item.name}"
    if left < item.seconds:
        had = f"{max(left, 0):.0f} s were left"
        results.notes.append(f"{name}: {had}, and it may take {item.seconds:g} s.")
        return
    try:
        with within(left):
            for row in item.rows():
                results.rows[item.section].append(row)
                print(name, *shown(row).values(), sep=" | ", file=sys.stderr, flush=True)
    except OutOfTime:
        results.notes.append(f"{name}: was cut off at the limit.")
    except Exception as error:  # of one item, which must not cost the others
        traceback.print_exc()
        brief = (str(error).strip().splitlines() or [""])[0][:300]
        results.notes.append(f"{name}: {type(error).__name__}: {brief}")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=110.0, help="seconds, once torch is loaded")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="items with one of these words")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    results = Results(options.out, options.device)
    bench = Bench(options.device, options.rounds, options.quick)
    first, more = list(gpu_passes.items(bench)), list(gpu_passes.compiled_items(bench))
    everything = [*first[:3], *gpu_holdfast.items(bench), *first[3:], *more]
    for item in everything:
        if options.only and not any(
            word in f"{item.section}: {item.name}" for word in options.only
        ):
            continue
        start = time.monotonic()
        measure(item, options.limit - (start - began), results)
        taken = time.monotonic() - start
        print(f"{item.section}: {item.name} took {taken:.1f} s", file=sys.stderr, flush=True)
        results.write()
    print((options.out / "speed-gpu.md").read_text())


if __name__ == "__main__":
    main()
