"""Every recipe is one that holdfast train takes, and says why its numbers are what they are."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from holdfast.cli import registry, schedules
from holdfast.cli.main import run
from holdfast.models.external.names import LibraryModel
from holdfast.models.registry import ARCHITECTURES, DENOISERS
from holdfast.specs import number, parse
from holdfast.threat import Linf

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_taken(path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(["train", "--config", str(path), "--out", "run", "--print-config"])
    assert not stop.value.code
    options = yaml.safe_load(capsys.readouterr().out)
    written = yaml.safe_load(path.read_text())
    size = {"eps": number(str(written["eps"]))} if "eps" in written else {}
    assert {name: options[name] for name in written} == written | size
    model = options["model"]
    assert (
        options["from"] is not None
        or model in (*ARCHITECTURES, *DENOISERS)
        or LibraryModel.read(model) is not None
    )
    objective = parse(options["objective"])
    known = inspect.signature(registry.OBJECTIVES[objective.name]).parameters
    assert set(objective.parameters) <= set(known)
    assert (options["eps"] is not None) == ("threat" in known)
    if options["val_attack"] is not None:
        registry.attack(options["val_attack"], Linf(options["eps"]))
        assert options["hold_out"] > 0
    schedules.optimizer(options["optimizer"])
    schedules.rate(options["schedule"])


def test_every_file_among_the_recipes_is_tried():
    folder = Path(__file__).parent.parent / "recipes"
    tried = {path.name for path in RECIPES}
    assert tried == {path.name for path in folder.rglob("*.y*ml")}
    named = set()
    for page in (
        *folder.parent.glob("*.md"),
        *folder.parent.glob("docs/**/*.md"),
        *folder.glob("*.sh"),
    ):
        named |= set(re.findall(r"recipes/([\w.-]+\.yaml)", page.read_text()))
    assert named
    assert named <= tried
