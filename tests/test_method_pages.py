"""Every method has a page of its own on the site, and no page lacks a part."""

import re
from functools import cache

import numpy as np
import pytest

from tools.site import diagnoses, methods, pictures, standings, toy

METHODS = {f"{each.kind}/{each.name}": each for each in methods.methods()}

#: What a page has under headings of its own.
PARTS = ("When to use it", "When not", "Traps", "In our contests", "Paper")


@cache
def page(name):
    return methods.page(METHODS[name], "picture.svg")


def parts(name):
    """What stands under each heading of a page."""
    _, *found = re.split(r"^## (.*)\n", page(name), flags=re.MULTILINE)
    return dict(zip(found[::2], map(str.strip, found[1::2]), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_has_every_part(name):
    found = parts(name)
    assert page(name).startswith(f"# {METHODS[name].name}\n")
    assert not [part for part in PARTS if len(found.get(part, "")) < 10]
    begins = page(name).split("## When")[0]
    assert re.search(r"^    \S|[∇←=·‖]|CE\(", begins, re.MULTILINE), "no formula"
    assert "](picture.svg)" in begins
    assert "```pycon" in found["Example"]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", found.get("Parameters", ""), re.MULTILINE)
    assert not [parameter for parameter, text in rows if not text]


def test_no_two_methods_share_their_traps():
    """What holds of one kind in general is said on the page of the kind."""
    traps = [parts(name)["Traps"] for name in METHODS]
    assert len(set(traps)) == len(traps)


def test_the_page_of_an_attack_shows_its_formulas():
    assert "    k* = argmin_k |f_k(x)| / ‖w_k‖_q" in page("attacks/deepfool").split("## When")[0]
    assert "x' = x + α · sign(N(0, I))" in page("attacks/r+step-ll").split("## When")[0]


def test_a_page_shows_the_rows_of_its_method_and_of_no_other():
    assert "| DDN, 100 steps | l2 |" in parts("attacks/ddn")["In our contests"]
    assert "| suite | linf 0.2 |" in parts("attacks/worst-case")["In our contests"]
    assert "APGD-T" not in parts("attacks/apgd")["In our contests"]
    assert "| madry-mnist | TRADES, 6 epochs |" in parts("objectives/trades")["In our contests"]
    assert "| MLP | Adv. Train I |" in parts("objectives/adv-train-1")["In our contests"]
    assert "| MLP | Adv. Train II |" not in parts("objectives/adv-train-1")["In our contests"]
    assert "| 0.4 | stability | Rényi |" in parts("bounds/renyi")["In our contests"]
    assert "sequential `--radii`" in parts("intervals/sequential")["In our contests"]


def test_a_page_names_the_tables_that_are_reproduced_with_its_method():
    assert "ensemble-adversarial-training/table-7" in parts("attacks/r+fgsm")["In our contests"]
    assert "section-4-1" in parts("attacks/r+fgsm")["In our contests"]
    assert "section-4-1" not in parts("attacks/fgsm")["In our contests"]
    assert "figure-2-left" in parts("diagnoses/gradient_norms")["In our contests"]


def test_the_page_of_a_method_in_no_contest_says_so():
    assert standings.of("attacks", "no-such-attack")[1].startswith("In no contest")
    assert parts("intervals/two-sample-randomised")["In our contests"].startswith("In no contest")


def test_the_picture_of_an_attack_is_of_its_own_run():
    asked, found = toy.run("fgsm", "l2")
    start, ball = np.array(toy._START), toy._EPS["l2"]
    assert np.linalg.norm(found - start) == pytest.approx(ball, abs=1e-5)
    assert np.allclose(asked[0], start)


#: One or two of each kind, and none that takes a second.
DRAWN = (
    "attacks/fgsm",
    "attacks/salt-and-pepper",
    "objectives/standard",
    "objectives/ibp",
    "defences/binarise",
    "defences/malade",
    "bounds/renyi",
    "intervals/hoeffding",
    "diagnoses/margins",
    "diagnoses/signed_directions",
)


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_drawn_on_no_ground_and_the_same_each_time(name):
    first, again = pictures.draw(METHODS[name]), pictures.draw(METHODS[name])
    assert first.startswith(b"<?xml")
    assert first == again
    assert b"<image" not in first


def test_every_diagnosis_has_a_picture():
    """Of other kinds one is drawn of whatever is registered."""
    assert {each.name for each in METHODS.values() if each.kind == "diagnoses"} == set(
        diagnoses._DRAWN
    )
