"""Recipes: what they name is there, what they run runs, and what they say follows from the rows."""

import fcntl
import json
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from holdfast.cli.main import read, run
from holdfast.environment import environment
from holdfast.errors import InputError, UnknownNameError
from holdfast.files import write_tensors
from holdfast.metrics import paired
from holdfast.report.gallery import gallery_of
from holdfast.reproduce import (
    Cell,
    Claim,
    Computed,
    Curves,
    Gallery,
    Largest,
    Line,
    Mean,
    MeanOver,
    Measure,
    Pictures,
    Plane,
    Recipe,
    Recorded,
    Result,
    Scale,
    Scaled,
    Smallest,
    SmallestOver,
    Step,
    Table,
    Verdict,
    accuracy,
    accuracy_within,
    at_least,
    at_most,
    certify,
    diagnose,
    evaluate,
    gradient_norm,
    less,
    more,
    papers,
    recipe,
    spec,
    train,
    tune,
    verdicts,
)
from holdfast.reproduce.claims import judge
from holdfast.reproduce.combined import difference
from holdfast.reproduce.departures import otherwise
from holdfast.reproduce.hands import AtOnce
from holdfast.reproduce.page import _points, numbers, write_item
from holdfast.reproduce.paper_page import write_paper
from holdfast.reproduce.provenance import provenance
from holdfast.reproduce.recipes import Paper, chosen
from holdfast.reproduce.rows import rows_of
from holdfast.reproduce.run import Outcome, found, reproduce, state
from holdfast.reproduce.scale import SCALES
from holdfast.reproduce.shown import shown
from holdfast.reproduce.steps import in_order
from holdfast.results import read_rows
from tests.finished import finish
from tools import pages

RECIPES = [one for paper in papers() for one in paper.recipes]


def _names(one: Recipe) -> str:
    return one.name


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("one", RECIPES, ids=_names)
def test_every_step_of_every_recipe_is_a_command_that_can_be_typed(
    one: Recipe, scale: str, tmp_path: Path
) -> None:
    result = one.build(Scale(scale))
    assert result.parts
    seen = set()
    for step in result.steps:
        kind = (step.command, *(name for name, _ in step.options))
        if kind in seen:  # a step differs from another by its numbers alone
            continue
        seen.add(kind)
        read(step.arguments(tmp_path, Path("data")))  # raises for an option that does not exist


@pytest.mark.parametrize("one", RECIPES, ids=_names)
def test_a_scale_changes_sizes_and_never_the_steps_or_the_printed_numbers(one: Recipe) -> None:
    found = []
    for scale in ("cpu", "paper"):
        result = one.build(Scale(scale))
        printed = {
            (column, cell.paper)
            for part in result.parts
            if isinstance(part, Table)
            for cells in part.rows.values()
            for column, cell in cells.items()
            if cell.paper is not None
        }
        found.append(({step.command for step in result.steps}, printed))
    (commands, printed), (of_paper, all_printed) = found
    assert commands - {"train"} <= of_paper  # published networks are not trained
    assert printed <= all_printed


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.name)
def test_every_recipe_of_a_paper_runs_at_the_quick_scale_and_safe_claims_hold(
    paper: Paper, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        ["reproduce", paper.name, "--scale", "quick", "--out", str(tmp_path), "--json", "--quiet"]
    )
    out, err = capsys.readouterr()
    assert code == 0, err
    told = json.loads(out)
    assert told["failed"] == {}
    verdicts = {(claim["item"], claim["claim"]): claim["verdict"] for claim in told["claims"]}
    for one in paper.recipes:
        assert not found(one.build(Scale("quick")).steps, tmp_path / "steps").failed
        for claim in one.build(Scale("quick")).claims:
            verdict = verdicts[one.item, claim.sentence]
            assert (verdict == Verdict.NOT_RUN) == (not claim.checks), claim.sentence
            if claim.safe:
                assert verdict == Verdict.HOLDS, claim.sentence
    for page in (paper.name, *(one.name for one in paper.recipes)):
        folder = tmp_path / page
        for link in (folder / "README.md").read_text().split("](")[1:]:
            assert (folder / link.split(")")[0]).exists(), link


def test_photographs_are_resized_as_the_library_of_their_network_says() -> None:
    timm = pytest.importorskip("timm")
    seen = set()
    for item in ("table-1", "table-4", "figure-2"):
        for step in recipe(f"ensemble-adversarial-training/{item}").build(Scale("paper")).steps:
            options = dict(step.options)
            named = re.fullmatch(r"timm/(\w+)\(weights='(\w+)'\)", str(options["model"]))
            assert named, step.name
            about = timm.get_pretrained_cfg(".".join(named.groups()))
            side = about.input_size[-1]
            shape = f"resize={int(side / about.crop_pct)}, crop={side}"
            assert options["data"] == f"imagenet({shape}, interpolation={about.interpolation})"
            seen.add(named[1])
    assert seen == {"inception_v3", "inception_v4", "inception_resnet_v2"}


def test_a_paper_is_known_by_its_short_name_too() -> None:
    for paper in papers():
        assert chosen(paper.short) == chosen(paper.name) == paper.recipes
    assert chosen("EAT/table-7") == chosen("ensemble-adversarial-training/table-7")


def test_every_table_and_figure_is_a_name_whatever_its_items_are() -> None:
    """In several items it is all of them, on another's page that one."""
    for name, items in {
        "so/figure-2": ["figure-2-left", "figure-2-middle", "figure-2-right"],
        "dd/table-1": [f"table-1-{net}" for net in ("convnet", "imagenet", "lenet", "mlp", "nin")],
        "eat/figure-3": ["appendix-c-1"],
        "eat/table-3": ["table-4"],
        "eat/table-7": ["table-7"],
    }.items():
        assert [one.item for one in chosen(name)] == items
    assert recipe("eat/figure-3").item == "appendix-c-1"
    with pytest.raises(InputError, match="figure-2-left"):
        recipe("so/figure-2")
    for nothing in ("eat/table", "eat/figure", "eat/table-5"):  # no results
        with pytest.raises(UnknownNameError):
            chosen(nothing)


def test_names_are_found_whatever_the_dash_and_the_nearest_is_named() -> None:
    one = RECIPES[0]
    assert recipe(one.name.replace("-", "_")) == one
    assert chosen(one.paper)[0].paper == one.paper
    with pytest.raises(UnknownNameError, match=one.paper):
        chosen(one.paper[:-1])
    with pytest.raises(UnknownNameError, match="table-7"):
        chosen("ensemble-adversarial-training/tabel-7")
    with pytest.raises(UnknownNameError, match="cpu"):
        Scale("gpu")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ensemble-adversarial-train"], "ensemble-adversarial-training"),
        (["ensemble-adversarial-training", "--scale", "large"], "cpu"),
        (["list", "--scale", "large"], "cpu"),
        (["list", "eat"], "leave out eat."),
        (["eat", "list"], "leave out eat."),
        (["list", "--dry-run"], "leave out --dry-run."),
        (["list", "--finished"], "leave out --finished."),
        (["list", "--data-dir", "data"], "leave out --data-dir."),
        (["list", "--pages", "pages"], "leave out --pages."),
        (["list", "--at-once", "2"], "leave out --at-once."),
        (["ea/table-7"], "eat"),
        (["eat/table-7", "--at-once", "0"], "--at-once is 0"),
        (["eat/table-7", "--at-once", "257"], "from 1 to 256"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["reproduce", *arguments, "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["runs, new", "runs (new)", "runs [new]", "o'brien"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_folder_that_options_of_steps_cannot_hold_is_told_before_the_first(
    name: str, dry: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert run(["reproduce", "so/figure-7", "--scale", "quick", "--out", str(out), *dry]) == 2
    assert f"--out is {out}, but" in capsys.readouterr().err
    assert not out.exists()


def test_the_list_is_a_table_for_each_paper_and_whole_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["reproduce", "list"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said
    for paper in papers():
        table = said[said.index(f"{paper.name}/") :]
        for one in paper.recipes:
            pattern = (
                re.escape(one.item)
                + r" .*"
                + r" +".join(re.escape(f"{minutes:g}") for minutes in one.minutes.values())
            )
            assert re.search(pattern, table), one.name
            first = (one.title.partition(": ")[2] or one.title).split()[0]
            assert first in table


def test_data_that_is_not_there_is_told_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    name = "ensemble-adversarial-training/table-7"
    assert run(["reproduce", name, "--data-dir", str(tmp_path), "--out", str(out)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert not out.exists()


def _net(seed: int = 0) -> Step:
    return train("net", model="small", epochs=1, images=64, seed=seed)


def test_a_folder_of_images_that_recipes_name_is_no_unknown_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it is, where it is looked for, and how to get it."""
    out = tmp_path / "out"
    assert run(["reproduce", "so/figure-3", "--data-dir", str(tmp_path), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "cifar10-jpeg, the subset of CIFAR-10" in said
    assert f"is not in {tmp_path}:" in said
    assert "cifar10-jpeg/train/CLASS" in said
    assert not out.exists()


def test_a_step_is_known_by_what_it_holds_and_not_by_what_it_is_called() -> None:
    one, other = train("a", model="small", seed=1), train("b", model="small", seed=1)
    assert one.folder == other.folder
    assert one.folder != train("a", model="small", seed=2).folder
    of_one, of_other = (evaluate("e", model=net, attacks="fgsm") for net in (_net(0), _net(1)))
    assert of_one.folder != of_other.folder  # what it needs is part of it
    assert of_one.folder != evaluate("e", model=_net(0), attacks="pgd").folder


def test_steps_come_once_and_after_what_they_need() -> None:
    net, source = _net(0), _net(1)
    fed = train("fed", model="small", objective=spec("ensemble(eps=0.1, sources=['{0}'])", source))
    last = evaluate("e", model=fed, source=[net, source], attacks="fgsm")
    order = in_order([last, net])
    assert [step.folder for step in order] == [s.folder for s in (source, fed, net, last)]


def test_a_certificate_is_the_papers_unless_a_recipe_names_another(tmp_path: Path) -> None:
    """What certify advises by itself may change: neither the step's meaning nor its folder does."""
    silent, named = (
        certify("floor", model="net", sigma=0.3, votes=100, bounds=bounds)
        for bounds in (None, "cohen")
    )
    _, options = read(silent.arguments(tmp_path, None))
    assert (options["bounds"], options["intervals"]) == (("renyi",), ("clopper-pearson",))
    _, options = read(named.arguments(tmp_path, None))
    assert (options["bounds"], options["intervals"]) == (("cohen",), ("clopper-pearson",))
    assert silent.folder == "certify-net-c2e5d2d725"
    assert "bounds" not in dict(silent.options)


def test_what_fails_stops_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    broken, sound = _net(0), _net(1)
    steps = in_order(
        [evaluate("x", model=broken, attacks="fgsm"), evaluate("y", model=sound, attacks="fgsm")]
    )

    def work(arguments: Sequence[str]) -> None:
        if "0" in arguments[arguments.index("--seed") + 1 :][:1] if "--seed" in arguments else ():
            raise InputError("it broke.")
        finish(Path(arguments[-1]))

    outcome = reproduce(steps, tmp_path, work)
    assert len(outcome.done) == 2
    assert outcome.failed[broken.folder] == "it broke."
    assert "net" in next(why for folder, why in outcome.failed.items() if "evaluate" in folder)


def test_a_killed_reproduction_goes_on_where_it_was(tmp_path: Path) -> None:
    steps = [_net(0), _net(1), _net(2)]
    begun: list[str] = []

    def killed_at_the_second(arguments: Sequence[str]) -> None:
        begun.append(arguments[-1])
        if len(begun) == 2:
            raise KeyboardInterrupt
        finish(Path(arguments[-1]))

    with pytest.raises(KeyboardInterrupt):
        reproduce(steps, tmp_path, killed_at_the_second)
    assert [state(step, tmp_path) for step in steps] == ["complete", "missing", "missing"]
    assert len(reproduce(steps, tmp_path, killed_at_the_second).done) == 3
    assert begun == [str(tmp_path / steps[place].folder) for place in (0, 1, 1, 2)]


def test_what_a_process_killed_after_a_step_left_is_removed(tmp_path: Path) -> None:
    step = _net(0)
    finish(tmp_path / step.folder)
    (tmp_path / step.folder / "checkpoint.safetensors").write_text("of a training that is finished")
    (tmp_path / step.folder / "rows").mkdir()
    assert reproduce([step], tmp_path, _refuse).done == {step.folder}
    assert [path.name for path in (tmp_path / step.folder).iterdir()] == ["run.json"]


def test_what_a_process_killed_at_a_page_left_is_removed(tmp_path: Path) -> None:
    made = Recipe("p", "table-1", "Title", "", {}, lambda scale: Result([]))
    left = tmp_path / made.name / ".README.md.0f1e2d3c.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("# T")
    write_item(made, Scale("quick"), Outcome(frozenset(), {}), tmp_path, tmp_path)
    assert {path.name for path in left.parent.iterdir()} == {"README.md", "claims.json"}


def _serve(arguments: Sequence[str]) -> None:
    """In a process of its own: fail, die, or finish and say in which process."""
    folder = Path(arguments[-1])
    seed = arguments[arguments.index("--seed") + 1] if "--seed" in arguments else ""
    if seed == "1":
        raise InputError("it broke.")
    if seed == "2":
        os._exit(7)
    finish(folder)
    (folder / "process").write_text(str(os.getpid()))


def test_steps_at_once_are_done_by_processes_and_one_that_dies_fails_its_step_alone(
    tmp_path: Path,
) -> None:
    nets = [_net(seed) for seed in range(5)]
    steps = in_order(evaluate(f"of {net.folder}", model=net, attacks="fgsm") for net in nets)
    with AtOnce(_serve, 2) as hands:
        outcome = reproduce(steps, tmp_path, hands)
        for process in multiprocessing.active_children():  # idle ones are replaced, too
            process.kill()
            process.join()
        assert reproduce([_net(5), _net(6)], tmp_path, hands).failed == {}
    assert len(outcome.done) == 6
    assert outcome.failed[nets[1].folder] == "it broke."
    assert "exit code 7" in outcome.failed[nets[2].folder]
    assert sum(why == "it needs net, which failed." for why in outcome.failed.values()) == 2
    processes = {file.read_text() for file in tmp_path.glob("*/process")}
    assert str(os.getpid()) not in processes
    for process in processes:  # they ended with the block
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_steps_at_once_end_with_the_process_that_was_killed_over_them(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent(
            """
            import fcntl, sys, time
            from holdfast.reproduce.hands import AtOnce

            def slow(arguments):
                with open(arguments[0], "w") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    print("begun", file=file, flush=True)
                    time.sleep(3600)

            if __name__ == "__main__":
                with AtOnce(slow, 2) as hands:
                    for name in sys.argv[1:]:
                        hands.take(name, [name])
                    hands.ended()
            """
        )
    )
    files = [tmp_path / "one", tmp_path / "two"]
    with subprocess.Popen([sys.executable, script, *files]) as driver:
        _until(lambda: all(file.exists() and file.read_text() for file in files))
        driver.kill()
    _until(lambda: not any(map(_is_held, files)))


def _until(true: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 300
        time.sleep(0.05)


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_pages_of_what_is_finished_run_nothing_and_say_what_was_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = "certified-robustness-additive-gaussian-noise"
    out = tmp_path / "out"
    assert run(["reproduce", paper, "--scale", "quick", "--finished", "--out", str(out)]) == 0
    assert not (out / "steps").exists()
    written = {page.parent.name for page in out.rglob("README.md")}
    assert written == {paper, "figure-4"}  # which needs no network
    page = (out / paper / "README.md").read_text()
    assert "[figure-4](figure-4/README.md)" in page
    alone = (out / paper / "figure-4" / "README.md").read_text()
    reduced = alone.partition("## What was reduced")[2]
    assert "points of the grid" in reduced
    assert "images" not in reduced  # whatever the others reduce
    assert re.search(r"\n\| table-1 \|.*\| \d not run \|\n", page)
    assert "page: " in capsys.readouterr().out
    of_none = tmp_path / "none"
    item = f"{paper}/figure-3"
    assert run(["reproduce", item, "--scale", "quick", "--finished", "--out", str(of_none)]) == 0
    assert [page.parent.name for page in of_none.rglob("README.md")] == [paper]


@pytest.mark.parametrize(
    "written",
    [
        "{",
        '{"kind": "evaluate", "schema": 99}',
        "[]",
        '{"kind": "train", "complete": true, "settings": {}, "format": 4}',  # of a later version
    ],
)
def test_a_folder_that_cannot_be_read_fails_its_step_and_the_others_go_on(
    written: str, tmp_path: Path
) -> None:
    damaged, sound = _net(0), _net(1)
    of_damaged = evaluate("e", model=damaged, attacks="fgsm")
    finish(tmp_path / damaged.folder)
    (tmp_path / damaged.folder / "run.json").write_text(written)
    steps = in_order([of_damaged, sound])
    outcome = reproduce(steps, tmp_path, lambda arguments: finish(Path(arguments[-1])))
    assert outcome.done == {sound.folder}
    assert "run.json" in outcome.failed[damaged.folder]
    assert outcome.failed[of_damaged.folder] == "it needs net, which failed."
    assert (tmp_path / damaged.folder / "run.json").read_text() == written
    assert "run.json" in found(steps, tmp_path).failed[damaged.folder]
    shown = [state(step, tmp_path) for step in (damaged, of_damaged, sound)]  # by a dry run
    assert shown == ["unreadable", "missing", "complete"]


def test_a_step_that_failed_is_told_by_the_exit_code_and_the_pages_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, item = tmp_path / "out", "so/figure-7"
    first, *others = recipe(item).build(Scale("quick")).steps
    (out / "steps" / first.folder).mkdir(parents=True)
    (out / "steps" / first.folder / "run.json").write_text("{")
    command = ["reproduce", item, "--scale", "quick", "--out", str(out)]
    assert run([*command, "--quiet"]) == 2
    told = capsys.readouterr()
    assert f"missing: {first.folder}: " in told.out
    assert f"{1 + len(others)} of {1 + len(others)} steps are missing" in told.err
    page = (out / recipe(item).name / "README.md").read_text(encoding="utf-8")
    assert first.name in page.partition("## What is missing")[2]
    assert run([*command, "--finished", "--quiet"]) == 0  # which is asked for what there is


def test_a_finished_step_whose_rows_were_changed_fails_and_is_not_reported(tmp_path: Path) -> None:
    net = _net(0)
    attacked = evaluate("e", model=net, attacks="fgsm")
    steps = in_order([attacked])
    for step in steps:
        finish(tmp_path / step.folder)
    folder = tmp_path / attacked.folder
    about = json.loads((folder / "run.json").read_text())
    (folder / "rows.csv").write_text("index,attack,robust\n0,fgsm,1\n")
    (folder / "run.json").write_text(json.dumps(about | {"rows_sha256": "0" * 64}))
    for outcome in (found(steps, tmp_path), reproduce(steps, tmp_path, lambda arguments: None)):
        assert outcome.done == {net.folder}
        assert "rows.csv is not what the run wrote" in outcome.failed[attacked.folder]


def test_a_file_in_the_place_of_the_results_is_told_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    quick = ["reproduce", "ensemble-adversarial-training/table-7", "--scale", "quick"]
    fresh = tmp_path / "out"
    for where in (["--out", str(tmp_path / "file")], ["--out", str(fresh), "--pages"]):
        where = where if where[-1] != "--pages" else [*where, str(tmp_path / "file")]
        assert run([*quick, *where]) in (1, 2)
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "is a file" in said
        assert said.endswith(
            "give another --pages.\n" if "--pages" in where else "another --out.\n"
        )
        assert not fresh.exists()
    assert (tmp_path / "file").read_text() == "mine"


def _with_rows(root: Path, step: Step, fooled: Sequence[bool]) -> Step:
    """A finished evaluation by one attack, of images that it did or did not fool."""
    rows = pd.DataFrame(
        {
            "attack": "fgsm",
            "norm": "linf",
            "eps": 0.1,
            "index": range(len(fooled)),
            "label": 0,
            "clean_prediction": 0,
            "rank": 0,
            "fooled": fooled,
        }
    )
    finish(root / step.folder, rows)
    return step


def _evaluated(root: Path, seed: int, fooled: Sequence[bool]) -> Step:
    return _with_rows(root, evaluate("e", model=_net(seed), attacks="fgsm"), fooled)


def test_the_interval_of_a_mean_over_seeds_is_students_and_of_one_network_the_images(
    tmp_path: Path,
) -> None:
    one = _evaluated(tmp_path, 0, [True] * 20 + [False] * 80)
    found = accuracy(one).read(tmp_path)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.7082, 0.8733), abs=1e-4)  # Clopper-Pearson
    three = [
        _evaluated(tmp_path, seed, [True] * n + [False] * (100 - n))
        for seed, n in enumerate((10, 20, 30))
    ]
    found = accuracy(three).read(tmp_path)
    half = 4.302653 * 0.1 / np.sqrt(3)  # t with 2 degrees of freedom, deviation 0.1
    assert 0.8 + half > 1
    assert (found.low, found.high) == pytest.approx((0.8 - half, 1.0))
    assert found.seeds == 3


def test_the_interval_of_a_fraction_over_seeds_ends_at_0_and_1_and_that_of_a_length_does_not(
    tmp_path: Path,
) -> None:
    high, low = (
        [
            _evaluated(tmp_path, 3 * of + seed, [True] * n + [False] * (50 - n))
            for seed, n in enumerate(counts)
        ]
        for of, counts in enumerate(((0, 0, 9), (50, 50, 41)))
    )
    near_1, near_0 = (accuracy(steps).read(tmp_path) for steps in (high, low))
    assert near_1.high == 1.0
    assert near_0.low == 0.0
    assert near_1.low == pytest.approx(1 - near_0.high)
    mean = MeanOver((accuracy(high), accuracy(high)))
    assert mean.read(tmp_path)[:3] == pytest.approx(near_1[:3])
    undeclared = Mean(tuple(high), accuracy(high).of)  # such as a length, or a cosine
    assert undeclared.read(tmp_path).high > 1.0
    assert difference(accuracy(low), accuracy(high), tmp_path).low == -1.0


def test_a_scaled_measure_is_scaled_with_its_interval(tmp_path: Path) -> None:
    one = accuracy(_evaluated(tmp_path, 0, [True] * 20 + [False] * 80))
    plain, scaled = one.read(tmp_path), Scaled(one, 0.95).read(tmp_path)
    assert scaled[:3] == pytest.approx([0.95 * part for part in plain[:3]])
    assert scaled[3:] == plain[3:]


def test_of_several_measures_the_largest_and_the_smallest(tmp_path: Path) -> None:
    of = tuple(
        accuracy(_evaluated(tmp_path, seed, [fooled, False, False]))
        for seed, fooled in enumerate((True, False))
    )
    fewest, most = (one.read(tmp_path) for one in of)
    assert fewest.value < most.value
    assert Smallest(of).read(tmp_path) == Smallest(of[::-1]).read(tmp_path) == fewest
    assert Largest(of).read(tmp_path) == Largest(of[::-1]).read(tmp_path) == most
    assert Largest(of).steps == tuple(step for one in of for step in one.steps)


def test_what_stands_under_all_attacks_is_no_more_than_under_the_strongest(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fooled = rng.random((3, 60)) < 0.3
    of = tuple(
        accuracy(_evaluated(tmp_path, seed, list(map(bool, one))))
        for seed, one in enumerate(fooled)
    )
    worst, mean = SmallestOver(of), MeanOver(of)
    assert worst.read(tmp_path).value == pytest.approx((~fooled.any(axis=0)).mean())
    assert worst.read(tmp_path).value < Smallest(of).read(tmp_path).value
    assert mean.read(tmp_path).value == pytest.approx((~fooled).mean())
    same = accuracy(_evaluated(tmp_path, 9, list(map(bool, fooled.any(axis=0)))))
    assert worst.read(tmp_path) == same.read(tmp_path)  # its interval is a fraction's
    assert difference(of[0], worst, tmp_path).value > 0
    assert worst.steps == mean.steps == tuple(step for one in of for step in one.steps)
    fewer = accuracy(_evaluated(tmp_path, 8, [False] * 10))
    for over in (SmallestOver, MeanOver):
        with pytest.raises(InputError, match="same images"):
            over((of[0], fewer)).read(tmp_path)


def test_one_run_without_a_limit_answers_for_every_size(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "attack": "ddn",
            "norm": "l2",
            "eps": np.inf,
            "index": range(4),
            "fooled": [True, True, True, False],
            "l2": [0.0, 0.4, 0.9, 0.2],  # the last moved, and fooled nobody
        }
    )
    step = evaluate("e", model=_net(), attacks="ddn")
    finish(tmp_path / step.folder, rows)
    left = {size: accuracy_within(step, size, "l2").read(tmp_path).value for size in (0.3, 0.4, 1)}
    assert left == {0.3: 0.75, 0.4: 0.5, 1: 0.25}


def test_recipes_are_installed_with_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "b")]
    made = tmp_path / "made"
    root = Path(__file__).parents[1]
    subprocess.run([*build, "--build-lib", str(made)], cwd=root, check=True, capture_output=True)
    here = {path.relative_to(root) for path in (root / "recipes").rglob("*.py")}
    there = {path.relative_to(made / "holdfast") for path in (made / "holdfast").rglob("*.py")}
    assert here <= there


def test_what_is_shipped_as_sources_can_be_built(tmp_path: Path) -> None:
    """A wheel is made of the sdist, in which setup.py looks for the recipes."""
    root = Path(__file__).parents[1]
    make = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    make += ["sdist", "--dist-dir", str(tmp_path / "made")]
    subprocess.run(make, cwd=root, check=True, capture_output=True)
    (archive,) = (tmp_path / "made").iterdir()
    with tarfile.open(archive) as shipped:
        there = {name.partition("/")[2] for name in shipped.getnames()}
    here = {str(path.relative_to(root)) for path in (root / "recipes").rglob("*.py")}
    assert here | {"setup.py", "LICENSE", "src/holdfast/py.typed"} <= there


def test_students_interval_covers_the_mean_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        values = rng.normal(0.5, 0.1, size=3)
        from holdfast.reproduce.measures import _over_seeds

        low, high = _over_seeds(values)
        covered += low <= 0.5 <= high
    assert 0.92 < covered / 400 < 0.98


def test_differences_are_taken_on_the_same_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5
    first = _evaluated(tmp_path, 0, list(hard))
    second = _evaluated(tmp_path, 1, list(hard | (rng.random(400) < 0.06)))
    found = difference(accuracy(first), accuracy(second), tmp_path)
    assert 0 < found.low < found.value  # two intervals over images would overlap by far
    fewer = _evaluated(tmp_path, 2, list(hard[:10]))
    with pytest.raises(InputError, match="same images"):
        difference(accuracy(first), accuracy(fewer), tmp_path)


def test_a_difference_of_fractions_is_as_sure_as_that_of_two_models(tmp_path: Path) -> None:
    first, second, third = (
        accuracy(_evaluated(tmp_path, seed, [True] * n + [False] * (60 - n)))
        for seed, n in enumerate((20, 20, 29))
    )
    same, more_left = difference(first, second, tmp_path), difference(first, third, tmp_path)
    assert same.value == 0.0
    assert same.low == -same.high < -0.02  # on other images they may differ
    of = [1.0 - np.repeat([1.0, 0.0], [n, 60 - n]) for n in (29, 20)]
    expected = paired(*(one.astype(bool) for one in of))
    assert more_left[:3] == (expected.difference, expected.low, expected.high)
    assert more_left[3:] == (60, 1)


def test_numbers_of_different_images_differ_by_their_intervals_together(tmp_path: Path) -> None:
    rng, covered, widths = np.random.default_rng(5), 0, []
    truth = (0.97, 0.9)
    for round_ in range(200):
        sides = tuple(
            accuracy(_evaluated(tmp_path, 2 * round_ + side, list(rng.random(n) > p)))
            for side, (n, p) in enumerate(zip((80, 120), truth, strict=True))
        )
        found = more(*sides, "more").difference(tmp_path)
        assert -1.0 <= found.low <= found.value <= found.high <= 1.0
        covered += found.low <= truth[0] - truth[1] <= found.high
        widths.append((found.value - found.low, found.high - found.value))
    assert covered >= 188  # of 200 intervals of 95 %
    below, above = map(np.mean, zip(*widths, strict=True))
    assert below > above  # near 1 a fraction has less room above it
    surely = accuracy(_evaluated(tmp_path, 998, [False] * 10))
    never = accuracy(_evaluated(tmp_path, 999, [True] * 11))
    assert more(surely, never, "more").difference(tmp_path).high == 1.0


def test_numbers_that_are_the_same_do_not_say_that_one_is_larger(tmp_path: Path) -> None:
    first, second = (_evaluated(tmp_path, seed, [False] * 20) for seed in (0, 1))  # 0 % and 0 %
    done = frozenset((first.folder, second.folder))

    def verdicts(*sides: Measure) -> dict[str, Verdict]:
        return {
            made.__name__: judge(Claim("", "", [made(*sides, "")]), tmp_path, done).verdict
            for made in (more, less, at_least, at_most)
        }

    of_images = verdicts(accuracy(first), accuracy(second))
    assert set(of_images.values()) == {Verdict.UNDECIDED}  # on other images they may differ
    exact = verdicts(*(Computed((step,), lambda rows: len(rows)) for step in (first, second)))
    assert exact["more"] == exact["less"] == Verdict.UNDECIDED
    assert exact["at_least"] == exact["at_most"] == Verdict.HOLDS


def test_a_check_is_told_with_both_numbers(tmp_path: Path) -> None:
    step = _evaluated(tmp_path, 0, [False] * 4)
    half, less_than_0 = (Computed((step,), lambda _, value=value: value) for value in (0.5, -0.25))
    claim = Claim("", "", [more(half, less_than_0, "a"), more(less_than_0, half, "b")])
    (told,) = verdicts.verdicts([judge(claim, tmp_path, frozenset((step.folder,)))], "quick").claims
    assert list(told.found) == [
        "a: yes (0.500 - (-0.250) = 0.750, no interval)",
        "b: no (-0.250 - 0.500 = -0.750, no interval)",
    ]


def test_verdicts_follow_from_the_checks(tmp_path: Path) -> None:
    strong, weak = (
        _evaluated(tmp_path, seed, [True] * n + [False] * (200 - n))
        for seed, n in enumerate((20, 160))
    )
    same = _evaluated(tmp_path, 2, [True] * 21 + [False] * 179)
    missing = accuracy(evaluate("e", model=_net(9), attacks="fgsm"))
    a, b, c = map(accuracy, (strong, weak, same))
    done = frozenset(step.folder for step in (strong, weak, same))
    cases = [
        ([more(a, b, "")], Verdict.HOLDS),
        ([less(a, b, "")], Verdict.NOT_HERE),
        ([more(a, c, "", by=0.05), less(a, c, "", by=0.0)], Verdict.NOT_HERE),
        ([more(a, c, "", by=0.006)], Verdict.UNDECIDED),
        ([more(a, b, ""), less(a, b, "")], Verdict.IN_PART),
        ([at_least(a, 0.8, "")], Verdict.HOLDS),
        ([more(missing, a, "")], Verdict.NOT_RUN),
        ([more(missing, a, ""), more(a, b, "")], Verdict.IN_PART),
    ]
    for checks, verdict in cases:
        assert judge(Claim("", "", checks), tmp_path, done).verdict == verdict


def test_the_page_has_the_number_the_interval_and_the_papers_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    here = _evaluated(tmp_path, 0, [True] * 20 + [False] * 80)
    gone = evaluate("gone", model=_net(1), attacks="fgsm")
    table = Table("T", {"row": {"x": Cell(accuracy(here), 0.75), "y": Cell(accuracy(gone), 0.5)}})
    made = Recipe("p", "table-1", "Title", "", {}, lambda scale: Result([table]))
    outcome = reproduce([here, gone], tmp_path, _refuse)
    write_item(made, Scale("quick"), outcome, tmp_path, tmp_path / "pages")
    page = (tmp_path / "pages/p/table-1/README.md").read_text()
    assert "| row | **80.0** [70.8, 87.3] (75.0, +5.0) | (50.0) |" in page
    assert "(the paper's, and how far from it). 100 images, 1 seed.\n" in page
    assert "evaluate gone: it needs net, which failed" in page
    numbers = pd.read_csv(tmp_path / "pages/p/table-1/table.csv").set_index("column")
    assert numbers.loc["x", "difference"] == pytest.approx(0.05)
    assert np.isnan(numbers.loc["y", "measured"])
    other = Recipe("p", "table-2", "", "", {}, lambda _: Result([replace(table, elsewhere=True)]))
    write_item(other, Scale("quick"), outcome, tmp_path, tmp_path / "pages")
    page = (tmp_path / "pages/p/table-2/README.md").read_text()
    assert "| row | **80.0** [70.8, 87.3] (75.0) | (50.0) |" in page
    assert "(the paper's, of other images and networks). 100 images, 1 seed.\n" in page


def _numbers(row: str, *, paper: float = math.nan, images: int = 100, seeds: int = 1) -> pd.Series:
    cell = {"row": row, "column": "x", "measured": 0.4996, "low": 0.4, "high": 0.6}
    more = {"paper": paper, "difference": 0.4996 - paper, "images": images, "seeds": seeds}
    return pd.Series({**cell, **more, "why": ""})


def test_a_table_shows_differences_and_over_how_many_images_and_seeds() -> None:
    table = Table("T", {})
    usual = [_numbers("A", paper=0.25), _numbers("B", paper=0.5), _numbers("C")]
    lines = shown(table, pd.DataFrame(usual))
    assert "| A | **50.0** [40.0, 60.0] (25.0, +25.0) |" in lines
    assert "| B | **50.0** [40.0, 60.0] (50.0, +0.0) |" in lines
    assert "| C | **50.0** [40.0, 60.0] |" in lines
    told = "Measured [95 % interval] (the paper's, and how far from it)."
    assert f"{told} 100 images, 1 seed." in lines
    three = [*usual, _numbers("D", seeds=3, images=1000)]
    assert f"{told} 100 images, 1 seed; D: 1,000 images, 3 seeds." in shown(
        table, pd.DataFrame(three)
    )
    many = pd.DataFrame([*three, *(_numbers(str(n), images=n) for n in range(1, 5))])
    assert f"{told} 1 to 1,000 images, 1 to 3 seeds." in shown(table, many)
    formula = shown(table, pd.DataFrame([_numbers("F", images=0, seeds=0)]))
    assert "Measured [95 % interval]." in formula


@pytest.mark.parametrize(
    ("path", "one", "scale"),
    [pytest.param(*page, id="/".join(page[0].parts[-3:-1])) for page in pages.pages()],
)
def test_the_tables_of_a_page_that_is_shipped_are_those_of_its_numbers(
    path: Path, one: Recipe, scale: str
) -> None:
    page = path.read_text(encoding="utf-8")
    assert pages.rewritten(page, one, path.parent, scale) == page


def test_a_page_of_formulas_says_by_which_versions_they_were_worked_out(tmp_path: Path) -> None:
    made = Recipe("p", "figure-4", "Title", "", {}, lambda scale: Result([]))
    page = write_item(made, Scale("quick"), found([], tmp_path), tmp_path, tmp_path).page
    assert page is not None
    versions = environment()["versions"]
    said = f"Holdfast {versions['holdfast']}, torch {versions['torch']}, "
    assert said in page.read_text(encoding="utf-8")


def test_commands_of_several_machines_stand_behind_what_each_ran_on(tmp_path: Path) -> None:
    steps = [_evaluated(tmp_path, seed, [True, False]) for seed in (0, 1, 2)]
    where = [{"cores": 2, "processor": "EPYC"}, {"cores": 2}, {"accelerator": "H200", "cores": 16}]
    for step, hardware in zip(steps, where, strict=True):
        file = tmp_path / step.folder / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"hardware": hardware}))
    done = frozenset(step.folder for step in steps)
    result = Result([], also=steps)
    lines = provenance(result, tmp_path, Outcome(done, {}))
    commands = [line.split(" --")[0] for line in lines[lines.index("```") + 1 : -4]]
    ran = "holdfast evaluate"
    assert commands == ["# 2 cores of EPYC", ran, "# 2 processor cores", ran, "# H200", ran]
    assert lines[2].endswith("2 cores of EPYC, 2 processor cores, H200.")
    alone = provenance(Result([], also=steps[:1]), tmp_path, Outcome(done, {}))
    assert not [line for line in alone if line.startswith("# ")]


def test_the_page_says_what_was_done_otherwise_and_why(tmp_path: Path) -> None:
    def build(scale: Scale) -> Result:
        scale("epochs", quick=2, cpu=6, paper=84)
        rates = {"quick": 1e-3, "cpu": 4e-4, "paper": 1e-4}
        scale.otherwise("rate", **rates, why="few epochs need a larger one")
        return Result([])

    pages = {}
    for name in SCALES:
        made = Recipe("p", name, "Title", "", {}, build)
        write_item(made, Scale(name), found([], tmp_path), tmp_path, tmp_path / "pages")
        pages[name] = (tmp_path / "pages/p" / name / "README.md").read_text()
    reduced, other = pages["cpu"].split("## What was done otherwise")
    assert "| epochs | 6 | 84 |" in reduced
    assert "| rate | 0.0004 | 0.0001 | few epochs need a larger one |" in other
    assert "otherwise" not in pages["paper"]


def test_the_page_says_by_which_versions_each_of_its_runs_was_made(tmp_path: Path) -> None:
    steps = [_evaluated(tmp_path, seed, [True, False]) for seed in (0, 1)]
    for step, version in zip(steps, ("0.1.0", "0.2.0"), strict=True):
        file = tmp_path / step.folder / "run.json"
        about = json.loads(file.read_text())
        about["versions"]["holdfast"] = version
        file.write_text(json.dumps(about))
    table = Table("T", {"row": {"x": Cell(accuracy(steps))}})
    made = Recipe("p", "table-1", "Title", "", {}, lambda scale: Result([table]))
    write_item(
        made, Scale("quick"), reproduce(steps, tmp_path, _refuse), tmp_path, tmp_path / "pages"
    )
    page = (tmp_path / "pages/p/table-1/README.md").read_text()
    assert "Holdfast 0.1.0, 0.2.0, torch 0" in page


def test_the_page_of_a_paper_names_the_pages_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "noise.md").write_text("# What the noise does\n\nMuch.\n")
    for _ in range(2):  # its own page is none of them
        page = write_paper(Paper("p", "p", "P", "", ()), "cpu", tmp_path).read_text()
        assert "- [What the noise does](noise.md)" in page
        assert page.count(".md)") == 1


def test_the_page_of_a_paper_gathers_items_of_several_runs_whose_folders_may_be_gone(
    tmp_path: Path,
) -> None:
    """The second item is done elsewhere, where nothing of the first is left but its page."""

    def item(name: str, step: Step, claim: str) -> Recipe:
        said = Claim(
            claim, "4.1", [at_least(accuracy(step), 0.5, "a | half")], why="Few were asked."
        )
        return Recipe("p", name, name, "", {}, lambda scale: Result([], [said]))

    pages = tmp_path / "pages"
    first = _evaluated(tmp_path / "here", 0, [True] * 10 + [False] * 90)
    second = _evaluated(tmp_path / "there", 1, [True] * 90 + [False] * 10)
    items = (item("table-1", first, "Most stand."), item("table-2", second, "These too."))
    paper = Paper("p", "p", "P", "", (*items, item("table-3", first, "And these.")))
    for one, step, root in zip(items, (first, second), ("here", "there"), strict=True):
        outcome = found([step], tmp_path / root)
        write_item(one, Scale("quick"), outcome, tmp_path / root, pages)
    page = write_paper(paper, "quick", pages).read_text()
    for name, line in (
        (  # what explains the verdict, or is to be borne in mind
            "table-1",
            r"| Most stand. | 4.1 | **holds** | a \| half: yes (0.900 - 0.500 = 0.400 [{}])<br>"
            "*Few were asked.*<br>{} |",
        ),
        (
            "table-2",
            r"| These too. | 4.1 | **does not hold here** "
            r"| a \| half: no (0.100 - 0.500 = -0.400 [{}])<br>"
            "*Few were asked.*<br>{} |",
        ),
        ("table-1", "| {1} | table-1 | quick | 1 holds |"),
    ):
        about = verdicts.read(pages / "p" / name)
        assert about is not None
        ends = about.claims[0].found[0].partition("[")[2].partition("]")[0]
        assert f"\n{line.format(ends, f'[{name}]({name}/README.md)')}\n" in page
    assert "\n| And these. | 4.1 | **not run** | table-3 |\n" in page


def test_the_page_of_a_paper_has_its_numbers_beside_what_was_measured(tmp_path: Path) -> None:
    """Of tables and figures that the paper has numbers of, as the items' pages show them."""
    step = _evaluated(tmp_path, 0, [True] * 20 + [False] * 80)
    tables = [
        Table("Printed", {"row": {"x": Cell(accuracy(step), 0.75)}}, name="printed"),
        Table("Ours", {"row": {"x": Cell(accuracy(step))}}, name="ours"),
    ]
    item = Recipe("p", "table-1", "Title", "", {}, lambda scale: Result(tables))
    write_item(item, Scale("quick"), found([step], tmp_path), tmp_path, tmp_path / "pages")
    paper = Paper("p", "p", "P", "", (item,))
    page = write_paper(paper, "quick", tmp_path / "pages").read_text()
    told = page.partition("## The paper's numbers, and what was measured\n")[2]
    assert "<summary>table-1: Printed</summary>" in told
    assert "| row | **80.0** [70.8, 87.3] (75.0, +5.0) |" in told
    assert "table-1: Ours" not in told


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.short)
def test_the_page_of_a_paper_that_is_shipped_says_what_its_items_say(
    paper: Paper, tmp_path: Path
) -> None:
    shipped = Path(__file__).parents[1] / "docs/results"
    shutil.copytree(shipped / paper.name, tmp_path / paper.name)
    page = write_paper(paper, "cpu", tmp_path).read_text()
    assert page == (shipped / paper.name / "README.md").read_text()
    for one in paper.recipes:
        if (kept := verdicts.read(tmp_path / one.name)) is not None:
            scale = Scale(kept.scale)
            result = one.build(scale)
            asked = [(of.sentence, of.section, of.why) for of in result.claims]
            assert asked == [(of.sentence, of.section, of.why) for of in kept.claims]
            for claim, told in zip(result.claims, kept.claims, strict=True):
                words = [check.words for check in claim.checks]
                assert [answer.rpartition(": ")[0] for answer in told.found] == words
            written = " ".join((tmp_path / one.name / "README.md").read_text().split())
            answers = [f"- {answer}" for of in kept.claims for answer in of.found]
            for said in (*result.notes, *(of.why for of in result.claims), *answers):
                assert " ".join(said.split()) in written
            for said in otherwise(scale):
                assert " ".join(said.split()) in written


def test_items_of_one_name_of_two_papers_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["so/figure-4", "stn/figure-4", "--scale", "quick", "--out", str(tmp_path)]
    assert run(["reproduce", *command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["claims"]
    names = {f"{claim['paper']}/{claim['item']}" for claim in told}
    assert names == {recipe(name).name for name in command[:2]}
    assert run(["reproduce", *command]) == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^ +{name} ", said, re.MULTILINE) for name in command[:2])


def test_a_page_is_not_replaced_by_one_that_says_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    item = "certified-robustness-additive-gaussian-noise/figure-4"  # which needs no network
    command = ["reproduce", item, "--scale", "quick", "--out", str(out)]
    assert run(command) == 0
    claims = out / item / "claims.json"
    kept = json.loads(claims.read_text())
    one_more = {**kept, "claims": [*kept["claims"], kept["claims"][0]]}
    claims.write_text(json.dumps(one_more))
    (out / item / "README.md").write_text("# Mine\n")
    assert run(command) == 0
    assert "is left as it is" in capsys.readouterr().err
    assert (out / item / "README.md").read_text() == "# Mine\n"
    assert json.loads(claims.read_text()) == one_more
    claims.write_text(json.dumps({**one_more, "scale": "cpu"}))  # another scale's says no more
    assert run(command) == 0
    assert json.loads(claims.read_text()) == kept
    claims.write_text('{"scale": "quick", "claims": [1]}')
    capsys.readouterr()
    assert run([*command, "--quiet"]) == 2
    assert capsys.readouterr().err.count("claims.json is not what Holdfast writes: claims[0]") == 1


def test_a_page_of_another_scale_is_not_replaced_by_one_that_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, item = tmp_path / "out", recipe("so/figure-7")
    first, *_ = item.build(Scale("quick")).steps
    (out / "steps" / first.folder).mkdir(parents=True)
    (out / "steps" / first.folder / "run.json").write_text("{")  # so that nothing can be judged
    claims = [verdicts.Judged(text, "-", Verdict.HOLDS) for text in ("One.", "Another.")]
    (out / item.name).mkdir(parents=True)
    verdicts.write(out / item.name, verdicts.Verdicts("cpu", claims))
    (out / item.name / "README.md").write_text("# Mine\n")
    assert run(["reproduce", item.name, "--scale", "quick", "--out", str(out)]) == 2
    assert "is left as it is: it judges 2 claims" in capsys.readouterr().err
    assert (out / item.name / "README.md").read_text() == "# Mine\n"
    kept = verdicts.read(out / item.name)
    assert kept is not None
    assert (kept.scale, kept.answered) == ("cpu", 2)


def test_the_points_of_curves_that_begin_apart_stand_in_order(tmp_path: Path) -> None:
    one, two = (accuracy(_evaluated(tmp_path, seed, [True] * 20 + [False] * 80)) for seed in (0, 1))
    curves = Curves("T", "x", "y", [Line("a", [(0.5, one)]), Line("b", [(0.1, two), (0.5, two)])])
    made = Recipe("p", "figure-1", "Title", "", {}, lambda scale: Result([curves]))
    outcome = reproduce([*one.steps, *two.steps], tmp_path, _refuse)
    write_item(made, Scale("quick"), outcome, tmp_path, tmp_path / "pages")
    assert "| x | 0.1 | 0.5 |" in (tmp_path / "pages/p/figure-1/README.md").read_text()


def test_a_plane_draws_each_point_at_its_two_numbers_and_leaves_out_what_is_missing(
    tmp_path: Path,
) -> None:
    weak, strong = (_evaluated(tmp_path, n, [True] * (9 * n) + [False] * 11) for n in (1, 2))
    gone = evaluate("gone", model=_net(3), attacks="fgsm")
    points = {
        name: (accuracy(first), accuracy(second))
        for name, (first, second) in {
            "one": (weak, strong),
            "two": (strong, weak),
            "none": (gone, weak),
        }.items()
    }
    part = Plane("P", x="here", y="there", lines={"line": points})
    assert set(Result([part]).steps) >= {weak, strong, gone}
    found = numbers(part, tmp_path, frozenset({weak.folder, strong.folder}))
    (line,) = _points(part, found)
    drawn = [number for point in line.measured for number in point[:2]]
    assert drawn == pytest.approx([11 / 20, 11 / 29, 11 / 29, 11 / 20])
    made = Recipe("p", "figure-1", "Title", "", {}, lambda scale: Result([part]))
    outcome = reproduce([weak, strong, gone], tmp_path, _refuse)
    write_item(made, Scale("quick"), outcome, tmp_path, tmp_path / "pages")
    page = (tmp_path / "pages/p/figure-1/README.md").read_text()
    assert "|  | one: here | one: there | two: here | two: there | none: here |" in page
    assert (tmp_path / "pages/p/figure-1/plane.svg").stat().st_size


def _refuse(arguments: Sequence[str]) -> None:
    raise InputError("no.")


def test_a_mean_of_anything_else_has_the_normal_interval(tmp_path: Path) -> None:
    step = certify("c", model=_net(0), sigma=0.1)
    rng = np.random.default_rng(1)
    finish(tmp_path / step.folder, pd.DataFrame({"x": rng.normal(size=1000)}))
    found = Mean((step,), lambda rows: rows["x"]).read(tmp_path)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(1000), rel=0.1)


def test_images_without_a_number_count_for_nothing(tmp_path: Path) -> None:
    """Such as a cosine of a gradient that is 0, or the length of what was not found."""
    known, gaps, none = (certify("c", model=_net(seed), sigma=0.1) for seed in range(3))
    finish(tmp_path / known.folder, pd.DataFrame({"x": [0.0, 1.0, 2.0]}))
    finish(tmp_path / gaps.folder, pd.DataFrame({"x": [0.0, None, 1.0, 2.0, None]}))
    finish(tmp_path / none.folder, pd.DataFrame({"x": pd.Series([None], dtype=float)}))
    of = [Mean((step,), lambda rows: rows["x"]) for step in (known, gaps, none)]
    assert of[1].read(tmp_path) == of[0].read(tmp_path)
    found = of[2].read(tmp_path)
    assert np.isnan(found[:3]).all()
    assert found[3:] == (0, 1)
    assert at_most(of[2], 1.0, "short").answer(tmp_path).holds is None


def test_a_difference_from_a_number_without_an_interval_has_none(tmp_path: Path) -> None:
    step = certify("c", model=_net(0), sigma=0.1)
    finish(tmp_path / step.folder, pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]}))
    exact = Computed((step,), lambda rows: rows["x"].max())
    mean = Mean((step,), lambda rows: rows["x"])
    for one, other in ((exact, mean), (mean, exact), (exact, exact)):
        found = more(one, other, "more").difference(tmp_path)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    assert more(exact, mean, "more").holds(more(exact, mean, "more").difference(tmp_path)) is True
    assert not math.isnan(more(mean, mean, "more").difference(tmp_path).low)


def test_a_search_is_named_by_its_defence_and_read_by_what_it_chose(tmp_path: Path) -> None:
    cnn, dae = _net(0), train("dae", model="malade-dae", objective="dae(sigma=0.3)")
    chain = tune("malade", "chain", classifier=cnn, denoiser=dae)
    assert chain.needs == (cnn, dae)
    read(chain.arguments(tmp_path, None))
    finish(tmp_path / chain.folder)
    file = tmp_path / chain.folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"best": {"steps": 25}}))
    assert Recorded((chain,), "steps").read(tmp_path).value == 25


def test_pictures_of_one_name_from_several_steps_are_kept_apart(tmp_path: Path) -> None:
    steps = [_net(0), _net(1)]
    for step in steps:
        finish(tmp_path / step.folder)
        (tmp_path / step.folder / "traces.svg").write_text(step.folder)
    pictures = [
        Pictures(f"({name})", step, ["traces"], name=f"{name}-")
        for name, step in zip("ab", steps, strict=True)
    ]
    one = Recipe("p", "i", "t", "a", {}, lambda scale: Result(pictures))
    outcome = reproduce(steps, tmp_path, lambda arguments: None)
    write_item(one, Scale("quick"), outcome, tmp_path, tmp_path / "pages")
    for name, step in zip("ab", steps, strict=True):
        assert (tmp_path / "pages" / "p" / "i" / f"{name}-traces.svg").read_text() == step.folder


def test_a_figure_of_a_page_needs_no_style_sheet_and_its_axis_may_be_logarithmic(
    tmp_path: Path,
) -> None:
    points = [(x, Computed((), lambda x=x: 10.0**x)) for x in (0, 1, 2)]
    figure = Curves("F", "x", "y", [Line("one", points)], unit="number", scale="log")
    made = Recipe("p", "figure-1", "Title", "", {}, lambda scale: Result([figure]))
    write_item(made, Scale("quick"), reproduce([], tmp_path, _refuse), tmp_path, tmp_path / "pages")
    svg = (tmp_path / "pages/p/figure-1/figure.svg").read_text()
    assert "var(--" not in svg
    assert "mathdefault" not in svg
    heights = [float(y) for y in re.findall(r'<use [^>]* y="([\d.]+)" style="fill: #0072b2', svg)]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], rel=1e-3)


def test_a_gallery_shows_what_was_kept_and_fooled(tmp_path: Path) -> None:
    net = train("net", model="small", epochs=4, images=600)
    attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=[0.1, 0.6], images=6)
    steps = in_order([attacked])
    done = reproduce(steps, tmp_path, _typed)
    parts = [Gallery("G", attacked, "pgd", 0.6)]
    made = Recipe("p", "figure-7", "Title", "", {}, lambda scale: Result(parts))
    write_item(made, Scale("quick"), done, tmp_path, tmp_path / "pages")
    rows = read_rows(tmp_path / attacked.folder)
    fooled = rows[(rows["attack"] == "pgd") & np.isclose(rows["eps"], 0.6) & rows["fooled"]]
    right = fooled[fooled["clean_prediction"] == fooled["label"]]
    assert len(right) > 0
    assert len(gallery_of(tmp_path / attacked.folder, "pgd", 0.6).examples) == len(right)
    assert "gallery.svg" in (tmp_path / "pages/p/figure-7/README.md").read_text()
    with pytest.raises(InputError, match="no one attack mim"):
        gallery_of(tmp_path / attacked.folder, "mim", 0.6)


def _typed(arguments: Sequence[str]) -> None:
    assert run([*arguments, "--quiet"]) == 0


def test_norms_along_an_attack_are_read_off_what_was_kept(tmp_path: Path) -> None:
    spec_ = "pgd(steps=2, early_stop=False)"
    traced = diagnose("gradient-norm", "t", model=_net(), attacks=[spec_], eps=0.1)
    norms = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0]])
    finish(tmp_path / traced.folder)
    kept = tmp_path / traced.folder / "images"
    kept.mkdir()
    write_tensors(kept / "0000.0000.safetensors", {spec_: torch.from_numpy(norms)}, {})
    assert gradient_norm(traced, spec_, 1).read(tmp_path).value == pytest.approx(3.0)
    assert gradient_norm(traced, spec_).read(tmp_path).value == pytest.approx(4.0)


def test_rows_are_read_once_and_anew_once_they_are_others(tmp_path: Path) -> None:
    step = _evaluated(tmp_path, 0, [True, False])
    folder = tmp_path / step.folder
    first = rows_of(folder)
    assert rows_of(folder) is first
    assert first.equals(read_rows(folder))
    _evaluated(tmp_path, 0, [True, True, False])
    assert len(rows_of(folder)) == len(read_rows(folder)) != len(first)
