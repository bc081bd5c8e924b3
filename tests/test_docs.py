"""What the documentation shows, runs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from holdfast import EvaluationConfig, evaluate
from holdfast.attacks import PGD
from holdfast.threat import Linf
from tests.toys import images, small_network
from tools.site import links

ROOT = Path(__file__).parents[1]
PAGES = ("architecture", "methods", "adding")


def blocks(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def type_from_the_page(checkout):
    """What the page adds, into a copy: each file, and each case at the end of its table."""
    page = (ROOT / "docs" / "adding.md").read_text()
    cases, code = checkout / "tests" / "cases.py", r".*?```python\n(.*?)\n```"
    files = re.findall(rf"\*\*(src/[\w/.]+)\*\*{code}", page, re.DOTALL)
    added = re.findall(rf"\*\*tests/cases.py\*\*, in `(\w+)`{code}", page, re.DOTALL)
    assert len(files) == len(added) == 6
    for path, source in files:
        assert not (checkout / path).exists()
        (checkout / path).write_text(f"{source}\n")
    for table, case in added:
        before = cases.read_text()
        end = re.search(rf"^{table}\b.*?^(?=[\]}}]$)", before, re.DOTALL | re.MULTILINE).end()
        cases.write_text(f"{before[:end]}{case.removesuffix(',')},\n{before[end:]}")


def test_the_picture_of_the_rooms_shows_the_contract():
    """Row by row; of the two lowest rows, what a reader meets."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [set(re.findall(r"\w+", row)) for row in contract["contracts"][0]["layers"]]
    picture = (ROOT / "docs" / "rooms.svg").read_text()
    rows: dict[str, set[str]] = {}
    for height, names in re.findall(r'y="(\d+)" class="name">([^<]*)<', picture):
        rows.setdefault(height, set()).update(re.findall(r"\w+", names.replace(".py", "")))
    *high, resources, vocabulary = rows.values()
    assert high == layers[:-2]
    assert resources <= layers[-2]
    assert vocabulary <= layers[-1]
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert all(re.search(rf"^\| `{name}\b", page, re.MULTILINE) for name in set().union(*high))


def test_what_the_page_on_adding_adds_takes_one_file_and_one_case(tmp_path):
    for name in ("src", "tests", "docs", "tools", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    type_from_the_page(tmp_path)
    names = ["SecondOrderLL", "RandomSearch", "BitDepth", "InputGradient", "total-variation"]
    chosen = f"linf and batch and ({' or '.join(names[:2])}) or {' or '.join(names[2:])}"
    files = ("attacks", "defences", "objectives", "bounds", "diagnose", "examples")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k"]
    command += [f"{chosen} or gradient_agreement or has_a_case or has_an_example"]
    done = subprocess.run(
        [*command, *(f"tests/test_{name}.py" for name in files)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


ROOMS = (
    "attacks",
    "defenses",
    "training/objectives",
    "certify/bounds",
    "certify/intervals",
    "diagnose",
)


def test_the_documentation_names_every_file_that_holds_a_method():
    text = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in PAGES)
    files = [
        f"{room}/{path.name}"
        for room in ROOMS
        for path in (ROOT / "src/holdfast" / room).glob("*.py")
        if re.search("^__all__ = \\[", path.read_text(), re.MULTILINE) and path.name != "names.py"
    ]
    assert len(files) > 50
    assert not [name for name in files if f"`{name}`" not in text]


def test_the_python_of_the_readme_works(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("README.md"):
        exec(block, names)
    out = capsys.readouterr().out
    assert "robust accuracy" in out
    assert "certified accuracy" in out


@pytest.mark.parametrize("page", ["index.md", "bundle.md"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of networks that learnt too little for more
def test_the_python_of_a_page_works(page, monkeypatch, tmp_path):
    """From its first block to its last, as one program."""
    monkeypatch.chdir(tmp_path)
    program = blocks(f"docs/{page}")
    assert program
    names = {"__name__": page}
    with torch.random.fork_rng():
        for block in program:
            exec(block, names)


def test_the_page_about_a_detector_makes_all_objects_vanish():
    """And what its goal calls reached is what its recall no longer finds."""
    names = {"__name__": "detectors"}
    with torch.random.fork_rng():
        for block in blocks("docs/detectors.md"):
            exec(block, names)
    left, x, y = names["left"], names["x"], torch.arange(len(names["x"]))
    assert left[0] > 0.8
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.1
    x_adv = PGD(Linf(0.05), steps=5, goal=names["goal"])(names["detector"], x, y)
    with torch.no_grad():
        reached = names["goal"](names["detector"], x, y)(x_adv).reached
    assert 1 - reached.float().mean().item() == pytest.approx(names["recall"](x_adv))
    assert reached.any()
    assert not reached.all()


@pytest.mark.parametrize("name", ["attack", "defend", "certify"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_notebook_runs_and_keeps_no_outputs(name, monkeypatch, tmp_path):
    """From its first cell to its last; attacks, runs and audits are shown as tables."""
    cells = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    monkeypatch.chdir(tmp_path)
    names, shown = {"__name__": name}, []
    with torch.random.fork_rng():
        for cell in cells:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                *body, last = ast.parse("".join(cell["source"])).body
                if not isinstance(last, ast.Expr):
                    body.append(last)
                exec(compile(ast.Module(body, []), name, "exec"), names)
                if isinstance(last, ast.Expr):
                    shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    rich = [thing._repr_html_() for thing in shown if hasattr(thing, "_repr_html_")]
    assert len(rich) >= 2
    assert all(html.startswith("<table><caption>") for html in rich)


@pytest.mark.parametrize("page", ["guarantees", "published-defects"])
def test_the_tests_that_a_page_names_are_there(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    named = re.findall(r"`(tests/\w+\.py)::((?:\w+::)?\w+)`", text)
    assert len(named) > 20
    for path, where in named:
        body = ast.parse((ROOT / path).read_text()).body
        for name in where.split("::"):
            found = [each for each in body if getattr(each, "name", None) == name]
            assert found, f"{path}::{where}"
            body = getattr(found[0], "body", [])


@pytest.mark.parametrize(
    "page",
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/tutorials").glob("*.md"),
        *(ROOT / "docs/results").glob("*.md"),
    ],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_a_link_within_the_repository_leads_somewhere(page):
    """Also to a heading, by the name that Markdown gives it."""
    for target, heading in re.findall(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)", _prose(page)):
        there = page.parent / target if target else page
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert heading in {_anchor(title) for title in titles}, heading


def _prose(page):
    """A page without its code."""
    return re.sub(
        r"```.*?```|`[^`\n]*`|^    .*$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )


def _anchor(title):
    return re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")


def test_a_link_out_of_the_documentation_is_rewritten_for_the_site():
    page = ROOT / "docs" / "adding.md"
    text = (
        "[a](../README.md#test-it) [b](../tests/cases.py) [c](results/) [d](how-to.md) [e](no.md)"
    )
    assert links.rewritten(text, page, "adding.md") == (
        f"[a](overview.md#test-it) [b]({links.REPOSITORY}/tests/cases.py) [c](results/README.md) "
        "[d](how-to.md) [e](no.md)"
    )


def test_the_training_loop_of_the_how_to_page_gives_every_batch_its_own_noise(monkeypatch):
    draws = []
    sample = Linf.sample

    def watched(threat, x0, rng):
        draws.append(rng.uniform(()))
        return sample(threat, x0, rng)

    monkeypatch.setattr(Linf, "sample", watched)
    names = {}
    with torch.random.fork_rng():
        for block in blocks("docs/how-to.md"):
            exec(block, names)
    assert names["step"] == 8
    assert len(torch.cat(draws[:8]).unique()) == 8 * 8  # later blocks draw too
    assert all(names[run].cells[0]["robust_accuracy"] == 0 for run in ("nearest", "heard", "mine"))
    names["test_the_network_holds"]()
    assert names["judged"].sentence in (ROOT / "docs" / "how-to.md").read_text()
    assert names["radii"].shape == (16,)
    assert (names["radii"] > 0).any()
    assert names["objective"].attack.steps == 7


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_the_documentation_names_is_there(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    names = set(re.findall(r"`([\w/]+(?:\.(?:py|md)|/))`", text))
    assert names
    for name in names:
        places = [ROOT / name, ROOT / "src/holdfast" / name, ROOT / "src/holdfast/attacks" / name]
        assert any(place.exists() for place in places), name


#: What the page for those who come from another library calls it, its package, and what it imports.
LIBRARIES = {
    "Foolbox": ("foolbox", ""),
    "torchattacks": ("torchattacks", ""),
    "Adversarial Robustness Toolbox": (
        "art",
        "from torch.nn import CrossEntropyLoss\n"
        "from art.estimators.classification import PyTorchClassifier\n"
        "from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent\n"
        "from art.utils import compute_accuracy, to_categorical\n",
    ),
    "AutoAttack": ("pyautoattack", "from pyautoattack import AutoAttack\n"),  # on the index
    "RobustBench": ("robustbench", ""),
    "Randomized smoothing (Cohen, Rosenfeld and Kolter's `smoothing`)": ("smoothing", ""),
}


def test_the_page_for_those_who_come_from_another_library_names_each_that_is_tested():
    text = (ROOT / "docs" / "coming-from.md").read_text()
    assert re.findall("^## (.*)$", text, re.MULTILINE) == list(LIBRARIES)


@pytest.mark.parametrize("side", ["there", "here"])
@pytest.mark.parametrize("heading", LIBRARIES)
def test_what_is_called_there_and_here_runs(heading, side):
    library, before = LIBRARIES[heading]
    if side == "here":
        before = (
            "from math import inf\nfrom holdfast import *\nfrom holdfast.attacks import *\n"
            "from holdfast.gradients import Average\n"
        )
    else:
        pytest.importorskip(library)
        before += f"import {library}\n"
    x, model = images(4), small_network(classes=10)
    names = {"model": model, "x": x, "y": model(x).argmax(dim=1)}
    text = (ROOT / "docs" / "coming-from.md").read_text()
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*) \| (`.*`) \|$", section, re.MULTILINE)
    assert rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries', and of attacks that break nothing
        exec(before, names)
        for row in rows:
            code = row[side == "here"]
            if code.startswith("`"):  # and no words
                exec(code.strip("`"), names)


#: What a section of the page of bridges needs, beside what the tests have.
BRIDGES = {
    "Foolbox": "foolbox",
    "ART": "art",
    "AttackBench": "torch",
    "MAITE": "maite",
    "torchmetrics": "torchmetrics",
    "Lightning": "holdfast.bridges.lightning",
    "RobustBench": "torch",
    "Hugging Face": "torch",
    "OpenCLIP": "torch",
    "ONNX": "torch",
    "Data of other libraries": "torch",
}


@pytest.mark.filterwarnings("ignore")  # of other projects' imports
@pytest.mark.parametrize("heading", BRIDGES)
def test_a_bridge_leads_where_its_section_says(heading, monkeypatch, tmp_path):
    pytest.importorskip(BRIDGES[heading], exc_type=ImportError)
    first, *sections = (ROOT / "docs" / "bridges.md").read_text().split("\n## ")
    assert [section.partition("\n")[0] for section in sections] == list(BRIDGES)
    text = next(section for section in sections if section.startswith(f"{heading}\n"))
    monkeypatch.chdir(tmp_path)
    names = {}
    with torch.random.fork_rng():
        for block in re.findall(r"```python\n(.*?)```", f"{first}{text}", re.DOTALL):
            exec(block, names)


def test_the_same_seed_is_promised_but_for_rounding():
    """Which other machines and numbers of threads do otherwise, and an attack can amplify."""
    for page in (*ROOT.glob("README.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.py")):
        for found in re.finditer(r"same\s+seed\s+gives\s+the\s+same", page.read_text()):
            around = page.read_text()[found.start() - 100 : found.end() + 250]
            assert re.search("rounding|rounded", around), f"{page.name}: {found[0]}"


def test_the_dockerfile_copies_what_is_there_and_all_that_a_build_needs():
    text = (ROOT / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--)(.*)$", text, re.M) for name in line.split()
    ]
    assert {"src", "recipes", "setup.py", "MANIFEST.in", "LICENSE", "README.md"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize("version", ["action", "holdfast.whl"])
def test_the_action_installs_what_it_is_part_of_and_nothing_from_the_index(version):
    """On PyPI the name belongs to another project."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["inputs"]["version"]["default"] == "action"
    done = subprocess.run(
        ["bash", "-e", "-c", action["runs"]["steps"][0]["run"].replace("python -m pip", "echo")],
        env={**os.environ, "VERSION": version, "GITHUB_ACTION_PATH": "/actions/here"},
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = "/actions/here" if version == "action" else version
    assert done.stdout.split() == ["install", wanted]


@pytest.mark.parametrize(
    "page",
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/tutorials/*.md"),
        *ROOT.glob("docs/notebooks/*.ipynb"),
        *ROOT.glob(".github/workflows/*.yml"),
    ],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_no_command_takes_the_name_from_the_index(page):
    """Where it belongs to another project; an extra is added to what is there."""
    commands = re.findall(r"^(?: {4}.*|- run: .*|pip .*)$", page.read_text(), re.M)
    assert not [line for line in commands if re.search(r"pip install ['\"]?holdfast['\"]?$", line)]


def test_the_action_fails_a_build_as_compare_does(tmp_path):
    """Its steps are run as GitHub runs them: a shell, and what is given in the environment."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][1]
    x, config = images(6), EvaluationConfig(audit=0)
    y = small_network().eval()(x).argmax(dim=1)
    for name, seed in (("strong", 0), ("weak", 1)):
        attacks = {"pgd": PGD(Linf(0.01), steps=2)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the attack leaves all
            evaluate(small_network(seed=seed), x, y, attacks, out=tmp_path / name, config=config)
    given = {"baseline": "strong", "candidate": "strong", "fail-if-worse": "0", "junit": "r.xml"}
    assert set(given) | {"version"} == set(action["inputs"])
    for candidate, status in (("strong", 0), ("weak", 3), ("missing", 2)):
        environment = {
            key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)
            for key, value in step["env"].items()
        } | {"CANDIDATE": candidate, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"].replace("python ", f"{sys.executable} ")],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
    assert "pgd" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "r.xml").exists()
