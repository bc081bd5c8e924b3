"""``holdfast reproduce``: tables and figures of the papers, each by one command."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.cli.common import print_json, print_table
from holdfast.cli.main import read
from holdfast.cli.passes import passes
from holdfast.errors import InputError
from holdfast.files import check_writable
from holdfast.progress import Progress, showing
from holdfast.reproduce import verdicts
from holdfast.reproduce.hands import AtOnce, Hands, OneAtATime, check_at_once
from holdfast.reproduce.images import check_images
from holdfast.reproduce.page import Made, judged, write_item
from holdfast.reproduce.paper_page import write_paper
from holdfast.reproduce.recipes import Recipe, chosen, papers
from holdfast.reproduce.run import Outcome, found, state
from holdfast.reproduce.run import reproduce as reproduce_steps
from holdfast.reproduce.scale import Scale
from holdfast.reproduce.steps import Step, check_root, in_order
from holdfast.workers import check_workers, connected

#: Passes that are told to the last one.
_FEW = 10_000


def reproduce(
    what: list[str],
    *,
    scale: str = "cpu",
    data_dir: Path | None = None,
    out: Path = Path("runs/reproduce"),
    pages: Path | None = None,
    dry_run: bool = False,
    finished: bool = False,
    workers: int | str | None = None,
    at_once: int = 1,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Reproduce a table or figure of a paper, or all of a paper, and judge its claims.

    What is needed is trained, attacked and certified, each in a run folder of its own that other
    tables and figures share; run the same command again after an interruption and it goes on.

    The page of an item says what became of its claims, and that of its paper gathers what all its
    items' pages say, whenever and wherever they were written. A page that judges more claims than
    were judged here is left as it is, and so is one that judges as many where a step is missing; a
    page of another scale is, where nothing was judged here.

    Example:
        holdfast reproduce list
        holdfast reproduce ensemble-adversarial-training/table-7 --data-dir data
        holdfast reproduce eat/table-7 --data-dir data  # the same for short
        holdfast reproduce second-order-attack-and-certifiable-robustness --scale quick --dry-run
        holdfast reproduce ensemble-adversarial-training --finished --pages docs/results

    Args:
        what: Items, PAPER/ITEM, or a PAPER with all of its own; or list, which shows them all. A
            paper may be named for short: so, stn, malade, eat, dd. A table or figure in several
            items is all of them, dd/table-1 or so/figure-2; one that another item's page has is
            that item, eat/figure-3.
        scale: Sizes: quick (digits, seconds), cpu (MNIST and a CIFAR-10 subset on two cores), or
            paper (the paper's own, for a GPU).
        data_dir: Folder with the files of named data sets; else HOLDFAST_DATA.
        out: Folder for the run folders, and for the pages.
        pages: Folder for the pages, if another.
        dry_run: Only show the steps: which are there already, how many passes of single images the
            others take at most, through any network, and how many minutes all of them take by one
            core (of scale paper, by a GPU).
        finished: Run nothing: write the pages of what is there already. An item that is not whole
            and none of whose claims can be judged gets none; its paper's page says so.
        workers: Processes of this machine that share the batches of what is attacked, certified and
            diagnosed, each with a GPU if there are as many; or the address of a Ray cluster,
            ray://host:10001, whose workers do. They need holdfast[ray]; rows are the same whatever
            their number. What is trained is trained by this process.
        at_once: Steps done at the same time, each by a process of its own, which take turns at the
            GPUs: 2 of them take about half of the time on two cores, and a small network leaves
            most of a GPU idle. The numbers are the same, but for
            rounding where a large network would have more than the one thread of each process.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    check_workers(workers)
    check_at_once(at_once)
    Scale(scale)  # that there is one
    if "list" in what:
        others = " ".join(one for one in what if one != "list")
        for option, given in (
            (others, bool(others)),
            ("--data-dir", data_dir is not None),
            ("--pages", pages is not None),
            ("--dry-run", dry_run),
            ("--finished", finished),
            ("--workers", workers is not None),
            ("--at-once", at_once > 1),
        ):
            if given:
                raise InputError(
                    f"list shows the items of all papers, and no more: leave out {option}."
                )
        _list(json=json)
        return
    if dry_run and pages is not None:
        raise InputError("--pages is where pages go, and --dry-run writes none: leave out one.")
    if finished and dry_run:
        raise InputError("--finished writes pages, and --dry-run writes none: leave out one.")
    if finished and data_dir is not None:
        raise InputError("--finished runs nothing and reads no images: leave out --data-dir.")
    for option, given in (("--finished", finished), ("--dry-run", dry_run)):
        if given and workers is not None:
            raise InputError(f"{option} runs nothing that --workers could share: leave out one.")
        if given and at_once > 1:
            raise InputError(f"{option} runs nothing that --at-once could do: leave out one.")
    if workers is not None and at_once > 1:
        raise InputError("--workers shares each step, and --at-once the steps: leave out one.")
    recipes = tuple(dict.fromkeys(one for name in what for one in chosen(name)))
    root = out / "steps"
    steps = in_order(step for one in recipes for step in one.build(Scale(scale)).steps)
    if steps and not finished:
        check_root(out)
    if dry_run:
        _plan(steps, recipes, scale, root, data_dir, json=json)
        return
    check_writable(root)  # not found out of at the last step
    check_writable(pages or out, "--out" if pages is None else "--pages")
    for one in recipes:
        verdicts.read((pages or out) / one.name)  # nor that it is damaged
    if not finished:
        check_images(steps, data_dir)
    with showing(not quiet) as progress:
        if finished:
            outcome = found(steps, root)
        else:
            with _hands(workers, at_once) as hands:
                outcome = reproduce_steps(steps, root, hands, data_dir=data_dir, progress=progress)
        made = [
            _paged(one, Scale(scale), outcome, root, pages or out, finished, progress)
            for one in recipes  # each by a scale of its own, which remembers what it reduced
        ]
        for paper in papers():
            if any(one.paper == paper.name for one in recipes):
                progress.say(f"page: {write_paper(paper, scale, pages or out)}")
    _tell(made, outcome, json=json)
    if outcome.failed and not finished:
        raise InputError(
            f"{len(outcome.failed)} of {len(steps)} steps are missing, each with its reason above; "
            "the others are kept, and the same command goes on from here."
        )


def _paged(
    recipe: Recipe,
    scale: Scale,
    outcome: Outcome,
    root: Path,
    pages: Path,
    finished: bool,
    progress: Progress,
) -> Made:
    """With a page, unless there is nothing to say, or one is there that may say more."""
    made = judged(recipe, scale, outcome, root)
    if finished and not made.says_anything:
        return made
    kept = verdicts.read(pages / made.recipe.name)
    here = verdicts.verdicts(made.evidence, scale.name)
    more = here.answered if made.is_whole else here.answered - 1  # or as many others
    comparable = kept is not None and kept.scale == here.scale
    if kept is not None and kept.answered > more and (comparable or not made.says_anything):
        lacking = "" if made.is_whole else ", with steps missing"
        progress.say(
            f"the page of {made.recipe.name} is left as it is: it judges {kept.answered} claims, "
            f"and what was run here {here.answered}{lacking}"
        )
        return made
    return write_item(made.recipe, scale, made.outcome, root, pages)


@contextmanager
def _hands(workers: int | str | None, at_once: int) -> Iterator[Hands]:
    """This process, with workers or without, or so many processes."""
    run = partial(do, workers=workers)
    if at_once > 1:
        with AtOnce(run, at_once) as several:
            yield several
    else:
        with connected(workers):  # once, for all steps
            yield OneAtATime(run)


def do(arguments: Sequence[str], *, workers: int | str | None) -> None:
    """Do what would be typed after ``holdfast``; the table that it prints is in its folder."""
    # A paper's way is followed, whether or not its numbers can be believed.
    unaudited = ["--audit", "off"] if arguments[0] in ("evaluate", "certify") else []
    function, options = read([*arguments, *unaudited, "--quiet"])
    if "workers" in options:
        options["workers"] = workers
    with redirect_stdout(io.StringIO()):
        function(**options)


def _list(*, json: bool) -> None:
    if json:
        recipes = [
            {
                "item": one.name,
                "what": one.title,
                **{f"{scale}, minutes": minutes for scale, minutes in one.minutes.items()},
            }
            for paper in papers()
            for one in paper.recipes
        ]
        print_json({"recipes": recipes})
        return
    for paper in papers():
        lines: list[dict[str, Any]] = [
            {"item": one.item, "what": one.title.partition(": ")[2] or one.title, **one.minutes}
            for one in paper.recipes
        ]
        minutes = "minutes by one core, at scale paper by a GPU"
        print_table(f"{paper.name}/... or {paper.short}/...\n{paper.title}; {minutes}", lines)


def _plan(
    steps: Sequence[Step],
    recipes: Sequence[Recipe],
    scale: str,
    root: Path,
    data_dir: Path | None,
    *,
    json: bool,
) -> None:
    commands = [step.arguments(root, data_dir) for step in steps]
    lines: list[dict[str, Any]] = []
    known: dict[str, tuple[str, dict[str, Any]]] = {}
    for step, command in zip(steps, commands, strict=True):
        _, options = read(command)  # so that a recipe with a wrong option is told of now
        known[str(root / step.folder)] = step.command, options
        there = state(step, root)
        lines.append(
            {
                "step": f"{step.command} {step.name}",
                "state": there,
                "passes": 0 if there == "complete" else passes(step.command, options, known),
                "folder": step.folder,
            }
        )
    minutes = sum(one.minutes.get(scale, 0.0) for one in recipes)
    if json:
        told = [{**line, "command": command} for line, command in zip(lines, commands, strict=True)]
        print_json({"steps": told, "minutes": minutes})
        return
    if not lines:
        print("0 steps: what is shown is computed, and no network is needed.")
        return
    by = "a GPU" if scale == "paper" else "one core"
    about = "about" if len(recipes) == 1 else "at most, what items share counted in each, about"
    title = f"{len(steps)} steps, {about} {minutes:.3g} minutes by {by} if all are missing"
    print_table(title, [{**line, "passes": _thousands(line["passes"])} for line in lines])


def _thousands(passes: int | None) -> str:
    if passes is None:
        return "?"
    return f"{passes:,}" if passes < _FEW else f"{passes / 1e3:,.0f} k"


def _tell(made: Sequence[Made], outcome: Outcome, *, json: bool) -> None:
    claims = [
        {
            "paper": one.recipe.paper,
            "item": one.recipe.item,
            "verdict": str(of.verdict),
            "claim": of.claim.sentence,
        }
        for one in made
        for of in one.evidence
    ]
    if json:
        print_json({"claims": claims, "failed": dict(outcome.failed)})
        return
    if claims:
        short = {paper.name: paper.short for paper in papers()}
        several = len({claim["paper"] for claim in claims}) > 1  # which have items of one name
        lines = [
            {
                "item": f"{short[claim['paper']]}/{claim['item']}" if several else claim["item"],
                "verdict": claim["verdict"],
                "claim": claim["claim"],
            }
            for claim in claims
        ]
        print_table("claims", lines)
    for one in made:
        if one.page is not None:
            print(f"page: {one.page}")
    for folder, reason in outcome.failed.items():
        print(f"missing: {folder}: {reason}")
