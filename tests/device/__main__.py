"""Look at everything on a device beside the CPU, a line for each part.

    python -m tests.device                          on the GPU, or on the CPU beside itself
    python -m tests.device --only attacks/,bf16/    parts whose name contains one of these
    python -m tests.device --out device.md          also as a table in Markdown

Ends with 1 if a part failed. Without a GPU the CPU stands beside itself, with every weight moved by
one rounding error; see `tests.device.pair`.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.device import (
    architectures,
    attacking,
    certificates,
    defences,
    halves,
    memory,
    objectives,
    sampling,
    training,
    whole,
)
from tests.device.pair import Pair
from tests.device.parts import Line, Part, run

SUBJECTS = (
    sampling,
    attacking,
    objectives,
    defences,
    certificates,
    architectures,
    halves,
    training,
    whole,
    memory,
)


def parts(pair: Pair, only: Sequence[str] = (), quick: bool = False) -> list[Part]:
    """All parts, or those whose name contains one of ``only``, or the quick ones."""
    return [
        part
        for subject in SUBJECTS
        for part in subject.parts(pair)
        if (part.quick or not quick) and (not only or any(word in part.name for word in only))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", help="cuda, cuda:1 or cpu; a GPU if there is one")
    parser.add_argument("--only", default="", help="parts of names between commas")
    parser.add_argument("--quick", action="store_true", help="what takes no time")
    parser.add_argument("--out", type=Path, help="Markdown file for what was seen")
    a = parser.parse_args(arguments)
    device = torch.device(a.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    pair = Pair(device)
    warnings.simplefilter("ignore")
    # Convolutions in TF32 have 10 bits; what is compared in float32 is to be float32.
    torch.backends.cudnn.allow_tf32 = False
    print(_about(device), flush=True)
    began = time.perf_counter()
    lines = run(
        parts(pair, [word for word in a.only.split(",") if word], a.quick),
        device,
        lambda line: print(line, flush=True),
    )
    states = [line.state for line in lines]
    counts = {state: states.count(state) for state in ("ok", "FAILED", "skipped")}
    seconds = time.perf_counter() - began
    total = ", ".join(f"{count} {state}" for state, count in counts.items()) + f", {seconds:.0f} s"
    print(total)
    if a.out is not None:
        a.out.write_text(_markdown(device, lines, total))
    return int(counts["FAILED"] > 0 or not lines)


def _about(device: torch.device) -> str:
    if device.type != "cuda":
        where = "no GPU: the CPU beside itself, with weights moved by one rounding error"
        return f"torch {torch.__version__}; {where}"
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return (
        f"{torch.cuda.get_device_name(device)}, {memory:.0f} GiB; torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}; TF32 off"
    )


def _markdown(device: torch.device, lines: Sequence[Line], total: str) -> str:
    rows = [Line.HEAD, *[line.cells() for line in lines]]
    table = [f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows]
    table.insert(1, f"|{'---|' * len(Line.HEAD)}")
    head = ["# On a device beside the CPU", "", f"    {_about(device)}", "", f"{total}.", ""]
    return "\n".join([*head, *table, ""])


if __name__ == "__main__":
    sys.exit(main())
