"""What recipes hold to whatever the numbers: claims that can fail, seeds that nobody shares."""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pytest

from holdfast.reproduce import (
    Pictures,
    Result,
    Scale,
    SmallestOver,
    Spec,
    Step,
    Table,
    Verdict,
    accuracy,
    evaluate,
    papers,
    recipe,
    verdicts,
)
from holdfast.reproduce.claims import judge
from holdfast.reproduce.recipes import Paper
from holdfast.reproduce.scale import SCALES
from holdfast.reproduce.steps import in_order
from holdfast.results import CLEAN
from tests.finished import finish

IMAGES = 40


def _certified(radius: float) -> pd.DataFrame:
    """Rows of a certification that is right on every image, this far."""
    return pd.DataFrame(
        {
            "bound": "renyi",
            "interval": "clopper-pearson",
            "index": range(IMAGES),
            "label": 0,
            "prediction": 0,
            "abstained": False,
            "radius": radius,
        }
    )


def _attacked(step: Step, fooled: int) -> pd.DataFrame:
    """Rows of an evaluation whose attacks fool so many images, at all of its sizes."""
    options = dict(step.options)
    cells = [(attack, eps) for attack in options["attacks"] for eps in options["eps"]]
    return pd.concat([_cell(CLEAN, 0.0, ()), *(_cell(*cell, range(fooled)) for cell in cells)])


def _cell(
    attack: str, eps: float, fooled: Collection[int], righted: Collection[int] = ()
) -> pd.DataFrame:
    """Rows of an attack at a size, which fools these images; some, wrong before, it puts right."""
    wrong = [n in fooled for n in range(IMAGES)]
    return pd.DataFrame(
        {
            "attack": attack,
            "eps": eps,
            "index": range(IMAGES),
            "rank": [int(one and n not in righted) for n, one in enumerate(wrong)],
            "fooled": wrong,
        }
    )


def _images(result: Result, part: int) -> set[str]:
    """Kinds of images that the numbers of a table beside the paper's are of."""
    table = result.parts[part]
    assert isinstance(table, Table)
    cells = [cell for row in table.rows.values() for cell in row.values()]
    steps = [
        step
        for cell in cells
        if cell.measure is not None and cell.paper is not None
        for step in cell.measure.steps
    ]
    named = {str(dict(step.options).get("data", "digits")) for step in in_order(steps)}
    return {name.partition("(")[0].removesuffix("-jpeg") for name in named}


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.short)
def test_what_falls_is_explained(paper: Paper) -> None:
    """Of a claim that does not stand as the paper has it the page says what was run otherwise."""
    for item in paper.recipes:
        kept = verdicts.read(Path(__file__).parents[1] / "docs/results" / item.name)
        for claim in kept.claims if kept is not None else ():
            if claim.verdict in (Verdict.NOT_HERE, Verdict.IN_PART):
                assert claim.why, (item.name, claim.sentence)


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.short)
def test_no_difference_is_taken_from_numbers_of_other_images(paper: Paper) -> None:
    for item in paper.recipes:
        here, there = item.build(Scale("cpu")), item.build(Scale("paper"))
        for n, part in enumerate(here.parts):
            ours = _images(here, n) if isinstance(part, Table) else set()
            if isinstance(part, Table) and not ours <= _images(there, n):
                assert part.elsewhere, (item.name, part.name)


@pytest.mark.parametrize(
    ("reached", "fooled", "holds"),
    [
        (2.0, 0, True),  # certified at twice the size, and nothing falls
        (0.5, 0, False),  # nothing is certified at the size: nothing that could fall
        (0.5, IMAGES, False),
        (2.0, IMAGES // 4, False),  # a certificate that attacks refute
    ],
)
def test_that_noise_bounds_attacks_is_judged_where_certificates_reach(
    reached: float, fooled: int, holds: bool, tmp_path: Path
) -> None:
    scale = Scale("quick")
    result = recipe("so/table-1").build(scale)
    for claim in result.claims:
        steps = in_order(step for check in claim.checks for step in check.steps)
        (size,) = {
            eps for step in steps if step.command == "evaluate" for eps in dict(step.options)["eps"]
        }
        for step in steps:
            if step.command == "certify":
                finish(tmp_path / step.folder, _certified(reached * size))
            elif step.command == "evaluate":
                finish(tmp_path / step.folder, _attacked(step, fooled))
        done = frozenset(step.folder for step in steps)
        assert (judge(claim, tmp_path, done).verdict is Verdict.HOLDS) == holds


def test_the_worst_of_a_chains_variants_is_worst_for_each_image(tmp_path: Path) -> None:
    """Each variant fools an image that no other does: all of them stand, but for these."""
    result = recipe("malade/table-1").build(Scale("quick"))
    (honest,) = (part for part in result.parts if isinstance(part, Table) and part.name == "honest")
    worst = {
        column: cell.measure
        for row, cells in honest.rows.items()
        if row.endswith("worst of all variants")
        for column, cell in cells.items()
    }
    assert len(worst) == 2
    for measure in worst.values():
        assert measure is not None
        (step,) = {one.folder: one for one in measure.steps}.values()
        options = dict(step.options)
        assert options["each"]
        lines = [
            f"{variant}{of}"
            for variant in options["variants"]
            for of in ([f"({w})" for w in options["penalties"]] if variant[0] == "r" else [""])
        ]
        rows = pd.concat(
            _cell(f"{attack}, {line}", eps, [place])
            for attack in options["attacks"]
            for eps in options["eps"]
            for place, line in enumerate(lines)
        )
        finish(tmp_path / step.folder, rows)
        assert len(lines) == 9
        assert measure.read(tmp_path).value == 1 - len(lines) / IMAGES


def test_the_page_says_which_chain_stands_before_each_classifier(tmp_path: Path) -> None:
    """Two pages' chains may differ, and what is right without an attack hangs on them."""
    result = recipe("malade/table-1").build(Scale("quick"))
    (chains,) = (part for part in result.parts if isinstance(part, Table) and part.name == "chains")
    assert [*chains.rows] == ["CNN + MALADE", "Madry + MALADE"]
    for place, cells in enumerate(chains.rows.values()):
        chosen = {"steps": 10 + place, "alpha": 0.075, "delta": 0.039}
        for cell, number in zip(cells.values(), chosen.values(), strict=True):
            assert cell.measure is not None
            (step,) = cell.measure.steps
            finish(tmp_path / step.folder)
            file = tmp_path / step.folder / "run.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"best": chosen}))
            assert cell.measure.read(tmp_path).value == number


@pytest.mark.parametrize("item", ["table-7", "appendix-c-2"])
def test_r_fgsm_takes_the_random_step_of_the_code_and_that_of_the_text(item: str) -> None:
    """0.05 of 0.3, and ε/2: the errors of a masked gradient hang on it."""
    result = recipe(f"eat/{item}").build(Scale("cpu"))
    for table in (part for part in result.parts if isinstance(part, Table)):
        for cells in table.rows.values():
            for column, attack in (
                ("R+FGSM", "r+fgsm(alpha=0.05)"),
                ("R+FGSM, α = ε/2", "r+fgsm"),
            ):
                measure = cells[column].measure
                assert measure is not None
                assert all(attack in dict(step.options)["attacks"] for step in measure.steps)


@pytest.mark.parametrize("scale", ["quick", "cpu", "paper"])
def test_no_small_network_is_set_beside_imagenets_numbers(scale: str) -> None:
    result = recipe("dd/table-1-imagenet").build(Scale(scale))
    tables = [part for part in result.parts if isinstance(part, Table)]
    printed = [
        cell.paper for table in tables for row in table.rows.values() for cell in row.values()
    ]
    of_the_paper = scale == "paper"
    assert all((number is not None) == of_the_paper for number in printed)
    assert all(bool(claim.checks) == of_the_paper for claim in result.claims)


def test_no_size_halves_what_is_wrong_in_more_than_half_of_the_images(tmp_path: Path) -> None:
    """Deep Defense's table 1 has no ε_ref there, rather than one below 0."""
    result = recipe("dd/table-1-mlp").build(Scale("quick"))
    (claim,) = (one for one in result.claims if "FGS at ε_ref" in one.sentence)
    steps = in_order(step for check in claim.checks for step in check.steps)
    wrong = range(IMAGES // 2 + 1)
    for step in steps:
        if step.command == "evaluate":
            clean = _cell(CLEAN, 0.0, wrong)
            sizes = dict(step.options)["eps"]
            finish(
                tmp_path / step.folder,
                pd.concat([clean, *(_cell("fgsm", eps, range(IMAGES)) for eps in sizes)]),
            )
    judged = judge(claim, tmp_path, frozenset(step.folder for step in steps))
    assert judged.verdict is Verdict.UNDECIDED
    assert all(math.isnan(answer.difference.value) for answer in judged.answers)
    told = verdicts.verdicts([judged], "cpu").claims[0].found
    assert all(line.endswith("there is no such number here") for line in told)
    assert told


def test_the_smallest_of_one_measure_is_that_measure(tmp_path: Path) -> None:
    """With its interval, which counts images."""
    step = evaluate("e", model="m", attacks=["pgd"], eps=0.1)
    rows = pd.concat([_cell(CLEAN, 0.0, ()), _cell("pgd", 0.1, range(7))])
    finish(tmp_path / step.folder, rows)
    one = accuracy(step, "pgd")
    assert SmallestOver((one,)).read(tmp_path) == one.read(tmp_path)


def _networks(value: object) -> list[Step]:
    """The trainings of the classifiers that a model is made of; of a chain, the one behind it."""
    match value:
        case Step(command="train"):
            return [value]
        case Step():
            options = dict(value.options)
            return _networks(options.get("classifier", options.get("model")))
        case Spec():
            return [one for step in value.steps for one in _networks(step)]
        case str() | None:
            return []
        case Sequence():
            return [one for part in value for one in _networks(part)]
    raise AssertionError(value)


def _static(network: Step) -> list[Step]:
    """The sources that an ensemble is taught by."""
    objective = dict(network.options).get("objective")
    taught = isinstance(objective, Spec) and objective.pattern.startswith("ensemble(")
    return _networks(objective) if taught else []


def _seed(network: Step) -> object:
    return dict(network.options).get("seed", 0)  # as the command line has it


@pytest.mark.parametrize("scale", SCALES)
def test_attackers_static_sources_and_targets_share_no_seed(scale: str) -> None:
    """But where a network meets what was crafted on itself, such as the one behind a chain."""
    met = taught = 0
    for one in (one for paper in papers() for one in paper.recipes):
        for step in one.build(Scale(scale)).steps:
            options = dict(step.options)
            for target in _networks(options.get("model")) if step.command != "train" else [step]:
                static = _static(target)
                taught += len(static)
                assert _seed(target) not in map(_seed, static), (one.name, target.name)
                for name in ("source", "other"):
                    for source in _networks(options.get(name)):
                        if source.folder == target.folder:
                            continue
                        met += 1
                        known = [target, *static]
                        assert _seed(source) not in map(_seed, known), (one.name, step.name)
    assert met
    assert taught


@pytest.mark.parametrize("item", ["table-6", "table-7", "table-8"])
def test_errors_as_eat_counts_them_stand_beside_those_of_robust_accuracy(
    item: str, tmp_path: Path
) -> None:
    """Of the same rows, whose attacks put right one of the two images that were wrong before."""
    result = recipe(f"eat/{item}").build(Scale("quick"))
    tables = {part.name: part for part in result.parts if isinstance(part, Table)}
    ours, theirs = tables["ours"], tables["steps" if item == "table-6" else "table"]
    wrong, righted = range(2), range(1)
    for step in (one for one in result.steps if one.command == "evaluate"):
        options = dict(step.options)
        cells = [_cell(attack, options["eps"], wrong, righted) for attack in options["attacks"]]
        finish(tmp_path / step.folder, pd.concat([_cell(CLEAN, 0.0, wrong), *cells]))
    assert {row: list(cells) for row, cells in ours.rows.items()} == {
        row: list(cells) for row, cells in theirs.rows.items()
    }
    for row, cells in ours.rows.items():
        for column, cell in cells.items():
            assert cell.paper is None
            other = theirs.rows[row][column].measure
            assert cell.measure is not None
            assert other is not None
            assert cell.measure.read(tmp_path).value == len(wrong) / IMAGES
            left = len(wrong) if column == "clean" else len(wrong) - len(righted)
            assert other.read(tmp_path).value == left / IMAGES


def _ways(result: Result) -> dict[str, set[object]]:
    """How each network is trained, but for how long: of a schedule the name, not where it falls."""
    found: dict[str, set[object]] = {}
    for step in (one for one in result.steps if one.command == "train"):
        for name in ("optimizer", "schedule", "precision", "init", "norm"):
            value = dict(step.options).get(name)
            way = str(value).partition("(")[0] if name == "schedule" else value
            found.setdefault(step.name, set()).add((name, way))
    return found


@pytest.mark.parametrize("scale", SCALES[:-1])
def test_what_is_no_size_is_the_papers_or_the_page_says_why_it_is_not(scale: str) -> None:
    told = compared = 0
    for one in (one for paper in papers() for one in paper.recipes):
        here, there = Scale(scale), Scale("paper")
        found, printed = _ways(one.build(here)), _ways(one.build(there))
        assert not there.departures
        known = [way for way, _, _ in here.departures.values()]
        known += [str(way).partition("(")[0] for way in known]
        for network in found.keys() & printed.keys():  # published networks are not trained
            compared += 1
            assert {way for _, way in found[network] - printed[network]} <= {*known}, one.name
        assert all(why for _, _, why in here.departures.values())
        assert not set(here.departures) & set(here.reduced)
        told += len(here.departures)
    assert told
    assert compared


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.short)
def test_what_was_never_run_at_the_cpu_scale_takes_about_an_hour(paper: Paper) -> None:
    """What was run and takes longer is on a page, which a smaller size would make untrue."""
    shipped = Path(__file__).parents[1] / "docs/results"
    for one in paper.recipes:
        kept = verdicts.read(shipped / one.name)
        assert one.minutes["cpu"] <= 70 or (kept is not None and kept.scale == "cpu"), one.name


@pytest.mark.parametrize("item", ["figure-1", "figure-4", "figure-5"])
def test_loss_surfaces_are_seen_whole_and_near_the_image(item: str) -> None:
    """As the paper's pairs of plots: the same images and directions, to ε and to a part of it."""
    result = recipe(f"eat/{item}").build(Scale("quick"))
    whole, near = (
        [one for one in result.parts if isinstance(one, Pictures) and one.name == name]
        for name in ("", "near-")
    )
    assert [one.files for one in whole] == [one.files for one in near]
    assert whole
    for first, second in zip(whole, near, strict=True):
        options, others = dict(first.step.options), dict(second.step.options)
        size, part = options.pop("eps"), others.pop("eps")
        assert isinstance(size, float)
        assert isinstance(part, float)
        assert part < size / 4
        assert options == others


def test_eats_black_boxes_are_twenty_on_three_networks_held_out_and_on_all_of_them() -> None:
    """Of table 4 at the paper's scale: five attacks on each of table 3's, and on all together."""
    result = recipe("eat/table-4").build(Scale("paper"))
    boxes: dict[str, set[tuple[str, str]]] = {}
    for step in result.steps:
        options = dict(step.options)
        if "source" in options:
            attacks = options["attacks"]
            assert isinstance(attacks, list)
            boxes.setdefault(str(options["model"]), set()).update(
                (str(attack), str(options["source"])) for attack in attacks
            )
    assert boxes
    assert {len(of) for of in boxes.values()} == {20}
    quick = recipe("eat/table-4").build(Scale("quick")).steps
    assert any(isinstance(dict(step.options).get("source"), list) for step in quick)


def test_what_competed_in_2017_is_scored_by_itself_at_the_papers_scale() -> None:
    """The published Inception-ResNet v2, and on MNIST the network that stands for it."""
    steps = recipe("eat/nips-2017").build(Scale("paper")).steps
    assert {step.command for step in steps} == {"evaluate"}
    models = [str(dict(step.options)["model"]) for step in steps]
    assert "timm/inception_resnet_v2(weights='tf_ens_adv_in1k')" in models
    assert all("imagenet(" in str(dict(step.options)["data"]) for step in steps)


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_only_turned_is_held_by_no_ball(scale: str) -> None:
    """An image that would leave the threat stays as it is, so that a small ε undoes the turn."""
    found = 0
    for paper in papers():
        for one in paper.recipes:
            for step in one.build(Scale(scale)).steps:
                options = dict(step.options)
                if step.command == "evaluate" and any(
                    attack.startswith("spatial(") for attack in options["attacks"]
                ):
                    sizes = options["eps"]
                    assert sizes in (math.inf, [math.inf])
                    found += 1
    assert found
