"""The page of speed: measures, and puts its tables between the marks of docs/results/speed.md.

    make bench
    OMP_NUM_THREADS=1 python benchmarks/speed.py [--only sampling]

What is said around the tables is written by hand and stays as it is.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import attack_overhead
import certify_speed
import growth
import torch
from attack_strength import markdown

from holdfast.files import write_text

PAGE = Path("docs/results/speed.md")


def grown() -> str:
    """The table of what grows; its figure is written beside the page."""
    results = {axis.name: growth.measured(axis, rounds=3) for axis in growth.AXES}
    growth.draw(results, PAGE.with_name("growth.svg"))
    return markdown(growth.lines(results))


SECTIONS: dict[str, Callable[[], str]] = {
    "overhead": lambda: markdown([*attack_overhead.lines("cpu", rounds=7)]),
    "sampling": lambda: markdown(certify_speed.lines(images=16, votes=200, rounds=7)),
    "growth": grown,
}


def put(page: str, name: str, table: str) -> str:
    """The page with another table between the marks of that name."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    return marks.sub(lambda found: found[1] + table + found[2], page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in [options.only] if options.only else SECTIONS:
        table = SECTIONS[name]()
        print(f"{name}\n\n{table}\n", flush=True)
        write_text(PAGE, put(PAGE.read_text(), name, table))


if __name__ == "__main__":
    main()
