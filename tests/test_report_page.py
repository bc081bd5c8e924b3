"""The report's page in a browser: what a reader sees, chooses and is told."""

import hashlib
import json
import re
import shutil
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM, PGD, On
from holdfast.certify.config import CertificationConfig
from holdfast.certify.run import certify_data
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import Diagnosis, diagnose_data, loss_surface
from holdfast.errors import DamagedFileError, InputError
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.files import read_json, read_table, write_json
from holdfast.report import album, diagnosed
from holdfast.report import diagnoses as figures
from holdfast.report import page as module
from holdfast.report.appendix import commands
from holdfast.report.classifier import Classifier
from holdfast.report.folders import RunFolder
from holdfast.report.page import PARTS, build, part
from holdfast.report.per_image import packed
from holdfast.report.style import ATTACKS, save
from holdfast.report.subjects import read_subjects
from holdfast.report.views import view
from holdfast.threat import L2, Linf
from tests.browser import Browser, in_a_browser
from tests.toys import images, small_network

CHECKS = [
    {
        "id": "C8",
        "title": "Noise fools nobody",
        "verdict": "pass",
        "passes": 0,
        "value": 0.0,
        "threshold": 0.0,
        "said": "0 of 16 fell.",
        "why": "Noise is the weakest attack.",
        "then": "Mend the attack.",
    },
    {
        "id": "C3",
        "title": "Gradients lead uphill",
        "verdict": "fail",
        "passes": 0,
        "value": 0.5,
        "threshold": 0.1,
        "said": "half of them are <b>zero</b>",
        "why": "An attack follows them.",
        "then": "Use BPDA.",
    },
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two networks of two attacks in ℓ∞, one of them crafted on the other, one certified in ℓ2."""
    root = tmp_path_factory.mktemp("page")
    x, runs = images(30, (3, 6, 6)), []
    networks = [small_network((3, 6, 6), seed=seed) for seed in (0, 1)]
    data = Data.of(x, networks[0](x).argmax(dim=1))
    for place, network in enumerate(networks):
        attacks = [
            (name, kind(Linf(eps)))
            for eps in (2 / 255, 8 / 255, 0.2)
            for name, kind in KINDS.items()
        ]
        other = On(networks[1 - place], attack=FGSM(Linf(0.2)), name=f"net{1 - place}")
        config, out = EvaluationConfig(), root / f"linf{place}"
        evaluate_data(network, data, attacks, config, f"nets/net{place}", out)
        crafted = root / f"crafted{place}"
        evaluate_data(network, data, [("fgsm", other)], config, f"nets/net{place}", crafted)
        runs += [out, crafted]
    few = EvaluationConfig(votes=20, samples=2)
    noisy = nn.Sequential(GaussianNoise(0.1), networks[0])
    evaluate_data(noisy, data, [("pgd", PGD(L2(0.25), steps=2))], few, "nets/net0", root / "vote")
    certificate = CertificationConfig(sigma=0.1, votes=200)
    certify_data(networks[0], data, certificate, "nets/net0", root / "proof")
    surface(root / "surface", networks[0], data)
    for run in (*runs, root / "vote"):
        about = {key: value for key, value in read_json(run / "run.json").items() if key != "audit"}
        if run == runs[0]:
            found = {"verdict": "not believable", "sentence": "not believable: half."}
            about["audit"] = {
                **found,
                "about": "linf 0.1",
                "passes": 0,
                "limit": None,
                "checks": CHECKS,
            }
        write_json(run / "run.json", about)
    folders = [*runs, root / "vote", root / "proof", root / "surface"]
    return build(folders, root / "report", "A & B <report>")


def surface(out, network, data):
    """A loss surface as the command keeps it, and a figure that a stranger put beside it."""

    def look(model, x, y, *, seed, index):
        found = loss_surface(model, x, y, torch.ones_like(x), x - 0.5, 0.1, points=3)
        return {"loss": found.loss}

    settings = {"other": "nets/net1", "eps": 0.1}
    most = Diagnosis("loss surface", settings, look, lambda found: {"most": found["loss"].max()})
    (found,) = diagnose_data(most, {"nets/net0": network}, data, out=out).values()
    along = np.linspace(-0.1, 0.1, 3)
    for image in (0, 10):
        loss = found["loss"][image]
        save(figures.surface(along, along, loss, loss > loss.mean()), out / f"surface-{image}-0")
    (out / "zz.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="console.error(1)">'
        '<image href="http://203.0.113.1/x.png"/><script>console.error(2)</script></svg>'
    )


KINDS = {"fgsm": FGSM, "pgd": lambda threat: PGD(threat, steps=3)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, report):
    """The page, drawn; in the end it has complained of nothing and asked for nothing but itself."""
    browser.open(report)
    yield browser
    assert browser.complaints == []
    assert browser.requests == [report.as_uri()]


@in_a_browser
def test_every_figure_is_drawn(page):
    found = page.run(
        """
        await choose("#norm", "linf");
        const marks = "svg path, svg circle, svg rect, svg line";
        return $$("figure .plot").map((plot) => [
          plot.parentElement.id, plot.parentElement.hidden, plot.querySelectorAll(marks).length,
        ]);
        """,
    )
    assert {name for name, hidden, marks in found} == {
        *("headline", "compare", "curves", "by-attack", "broken", "times", "overlap", "matrix"),
        *("sigmas", "by-class"),
    }
    for name, hidden, marks in found:
        assert hidden or marks > 3, name


@in_a_browser
def test_a_reader_chooses_what_is_shown(page):
    found = page.run(
        """
        const before = $("#headline svg").outerHTML;
        const models = options("#model"), norms = options("#norm");
        const proven = $("#headline").textContent;
        await choose("#norm", "linf");
        const others = options("#model"), sizes = options("#eps");
        await choose("#eps", String([...$("#eps").options].at(-1).value));
        const said = $("#broke-say").textContent;
        const changed = before !== $("#headline svg").outerHTML;
        await click("table.models button.plain", 1);
        const chosen = $("tr.chosen").textContent;
        const model = $("#model").selectedOptions[0].textContent;
        return { models, others, norms, sizes, changed, proven, said, chosen, model };
        """,
    )
    assert found["models"] == ["net0, smoothed with σ = 0.1"]
    assert found["others"] == ["net0", "net1"]
    assert found["norms"] == ["ℓ∞", "ℓ2"]
    assert found["sizes"] == ["2/255", "8/255", "0.2"]
    assert found["changed"]
    assert "Both curves are of the same 30 images" in found["proven"]
    assert "Of 30 images" in found["said"]
    assert found["model"] in found["chosen"]


@in_a_browser
def test_attacks_are_shown_and_hidden(page):
    found = page.run(
        """
        await choose("#norm", "linf");
        const lines = () => $$("#by-attack svg g[aria-label=line] path").length;
        const all = lines();
        await click("#legend input");
        return { all, without: lines(), names: texts("#legend label") };
        """,
    )
    assert found["without"] == found["all"] - 1
    assert len(found["names"]) == 3  # FGSM on the network itself, on the other one, and PGD


@in_a_browser
def test_every_point_of_a_figure_is_reached_by_keyboard(page):
    """One stop of Tab a figure; arrows go on, the tip follows, and Escape takes it away."""
    found = page.run(
        """
        await choose("#norm", "linf");
        const figures = $$("figure:not([hidden]) .plot svg g.reached").map((points) => [
          points.closest("figure").id,
          points.querySelectorAll("[tabindex='0']").length,
          [...points.children].every((point) => point.getAttribute("aria-label")),
        ]);
        const label = () => document.activeElement.getAttribute("aria-label");
        const tip = () => $("#by-attack g[aria-label=tip]").textContent;
        const stop = $("#by-attack g.reached [tabindex='0']");
        const ring = (each) => getComputedStyle(each).stroke !== "none";
        const seen = () => $$("g.reached circle").filter(ring);
        const before = seen().length;
        stop.focus();
        await rest();
        await press(":focus", "Home");
        const focused = seen().length;
        const first = label(), shown = tip();
        await press(":focus", "ArrowRight");
        const right = label(), follows = tip();
        await press(":focus", "ArrowLeft");
        const back = label();
        await press(":focus", "End");
        const last = label(), stops = $$("#by-attack g.reached [tabindex='0']").length;
        await press(":focus", "Escape");
        const gone = tip(), rings = [before, focused];
        return { rings, figures, first, shown, right, follows, back, last, stops, gone };
        """,
    )
    assert {name for name, *_ in found["figures"]} == {
        *("headline", "compare", "curves", "by-attack", "broken", "times", "overlap", "matrix"),
        *("sigmas", "by-class"),
    }
    assert all(stops == 1 and named for _, stops, named in found["figures"])
    plain = {key: re.sub(r"\W", "", found[key]) for key in ("first", "shown", "right", "follows")}
    assert plain["first"] == plain["shown"] != ""
    assert plain["right"] == plain["follows"] != plain["first"]
    assert found["rings"] == [0, 1]  # a ring around the one that is reached
    assert "without attack: " in found["first"]
    assert "; ℓ∞ ≤ 2/255: " in found["right"]
    assert found["right"].split(";")[0] in found["first"]  # where all attacks meet
    assert found["back"] == found["first"]
    assert "; ℓ∞ ≤ 0.2: " in found["last"]
    assert (found["stops"], found["gone"]) == (1, "")


@in_a_browser
def test_loss_surfaces_stand_where_they_were_asked_for(page, report):
    """As pictures, in which nothing of a stranger's file runs or is fetched, and as files."""
    found = page.run(
        """
        await Promise.all($$(".looks img").map((image) => image.decode().catch(() => null)));
        const section = $("#looks").parentElement;
        return {
          title: $("nav a[href='#looks']").textContent,
          captions: texts(".looks figcaption"),
          wide: $$(".looks img").map((image) => image.naturalWidth > 0),
          said: section.textContent,
        };
        """
    )
    assert found["title"] == "Loss surfaces"
    assert found["captions"] == ["surface, image 0, model 1", "surface, image 10, model 1", "zz"]
    assert found["wide"] == [True] * 3
    for words in ("30 images of", "other nets/net1; eps 0.1; seed 0", "nets/net0", "Most"):
        assert words in found["said"]
    names = {path.name for path in (report.parent / "figures").glob("diagnosis-*")}
    assert {f"diagnosis-1-surface-10-0.{kind}" for kind in ("pdf", "svg")} < names
    html = report.read_text()
    assert "Ensemble adversarial training" in html[html.index("What to cite") :]
    assert '"diagnosis": "loss surface"' in (report.parent / "report.json").read_text()


def test_diagnoses_stand_beside_evaluations_of_the_same_data(report, tmp_path):
    root = report.parents[1]
    with pytest.raises(InputError, match="there is no evaluation or certification"):
        build([root / "surface"], tmp_path / "report")
    for change, words in (
        ({"data": "elsewhere"}, "images of elsewhere"),
        ({"model": "nets/net0"}, "settings.model: expected `array`, got `str`"),
    ):
        shutil.copytree(root / "surface", tmp_path / "run", dirs_exist_ok=True)
        about = read_json(tmp_path / "run" / "run.json")
        about["settings"] |= change
        write_json(tmp_path / "run" / "run.json", about)
        with pytest.raises((InputError, DamagedFileError), match=words):
            build([root / "linf0", tmp_path / "run"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


@in_a_browser
def test_galleries_and_rows_are_filtered_sorted_and_paged(page):
    found = page.run(
        """
        const every = $$("#pictures figure").length;
        await choose("#gallery-attack", "pgd");
        const pgd = texts("#pictures figure");
        const first = texts("#row-table tbody tr"), count = $("#row-count").textContent;
        await click("#row-next");
        const second = texts("#row-table tbody tr");
        const fates = {};
        for (const fate of ["held", "broken", "wrong"]) {
          await choose("#row-fate", fate);
          fates[fate] = $("#row-count").textContent;
        }
        const { held, broken, wrong } = fates;
        const head = texts("#row-table thead th");
        await click("table.models button.sort");
        const down = texts("table.models tbody th");
        await click("table.models button.sort");
        const up = texts("table.models tbody th");
        return { every, pgd, first, second, count, held, broken, wrong, head, down, up };
        """,
    )
    assert found["every"] > len(found["pgd"]) > 0
    assert all("by pgd" in text for text in found["pgd"])
    assert found["count"] == "30 of 30 images"
    assert (len(found["first"]), len(found["second"])) == (25, 5)
    parts = [int(found[key].split()[0]) for key in ("held", "broken", "wrong")]
    assert sum(parts) == 30
    assert found["head"][:3] == ["Image", "Class", "Without attack"]
    assert found["down"] == found["up"][::-1]


@in_a_browser
@pytest.mark.parametrize("width", [390, 500, 1280])
def test_the_names_of_usual_sizes_do_not_overlap(page, report, width):
    """At a narrow width fewer are named, and the most usual of those that meet stays."""
    page.open(report, width=width)
    found = page.run(
        """
        await choose("#norm", "linf");
        return $$("figure:not([hidden]) .plot").map((plot) =>
          [...plot.querySelectorAll("g.usual text")].map((name) => {
            const { left, right } = name.getBoundingClientRect();
            return { name: name.textContent, left, right };
          }).sort((one, other) => one.left - other.left));
        """
    )
    for names in found:
        for one, other in pairwise(names):
            assert one["right"] + 4 < other["left"], (one, other)
    first = {one["name"] for one in found[0]}
    assert "8/255" in first
    assert ("4/255" in first) == (width == 1280)


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off(page, report, width):
    """Only what scrolls by itself may be wider than the window."""
    page.open(report, width=width)
    found = page.run(
        """
        const aside = ".scroll, pre, nav, svg, .hidden, .skip";
        const out = (element) => element.getBoundingClientRect().right > innerWidth + 1;
        const wide = $$("main *, header *").filter((each) => !each.closest(aside) && out(each));
        return {
          window: innerWidth,
          page: document.documentElement.scrollWidth,
          wide: wide.map((element) => element.outerHTML.slice(0, 90)),
        };
        """
    )
    assert found == {"window": width, "page": width, "wide": []}


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_stay_in_the_window_and_are_told_apart(browser, tmp_path, width):
    x = images(12, (3, 6, 6))
    y = small_network((3, 6, 6))(x).argmax(dim=1)
    classes = tuple(f"{'goldfinch_Carduelis_carduelis_' * 4}{k}" for k in range(3))
    data, before = Data.in_memory("birds", classes, x, y), "mean=[0.485, 0.456, 0.406]"
    for place in (0, 1):
        name = f"normalize({before}, std=[0.229, 0.224, 0.225]) | some:where(to=runs/net-{place})"
        attack = [("pgd(steps=2, step_size=0.05, restarts=1)", PGD(Linf(0.1), steps=2))]
        network, out = small_network((3, 6, 6), seed=place), tmp_path / f"run{place}"
        evaluate_data(network, data, attack, EvaluationConfig(), name, out)
    runs = [tmp_path / "run0", tmp_path / "run1"]
    browser.open(build(runs, tmp_path / "report"), width=width)
    found = browser.run(
        """
        const out = ({ left, right }) => left < -1 || right > innerWidth + 1;
        const aside = ".scroll, .hidden, .skip, nav, pre, option";
        const words = $$("main *").filter((each) => !each.children.length && !each.closest(aside));
        const boxes = words.filter((each) => each.textContent && out(each.getBoundingClientRect()));
        const cells = $$("#row-table td").map((each) => each.getBoundingClientRect().width);
        return [boxes.map((each) => each.outerHTML), $("#compare svg").textContent, cells];
        """
    )
    assert browser.complaints == []
    assert found[0] == []
    assert all(f"net-{place})" in found[1] for place in (0, 1))
    assert max(found[2]) < 400


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_twenty_attacks_are_read_as_three_are(browser, tmp_path, width):
    """Where a number has no room in its square it is left to the tip; names end above the axis."""
    x = images(6)
    data = Data.of(x, small_network()(x).argmax(dim=1))
    attacks = [(f"fgsm(eps={place}/255)", FGSM(Linf(0.3))) for place in range(20)]
    evaluate_data(small_network(), data, attacks, EvaluationConfig(), "net", tmp_path / "run")
    browser.open(build([tmp_path / "run"], tmp_path / "report"), width=width)
    found = browser.run(
        """
        const sizes = (all) => all.map((each) => each.getBoundingClientRect());
        const square = sizes($$("#overlap g[aria-label=cell] rect"))[0].width;
        const numbers = sizes($$("#overlap g[aria-label=text] text")).map(({ width }) => width);
        const ends = $$("#by-attack text").filter((each) => each.textContent.startsWith("fgsm"));
        const bottoms = sizes([...ends, $("#by-attack svg")]).map(({ bottom }) => bottom);
        return [square, numbers, bottoms];
        """
    )
    square, numbers, (*ends, bottom) = found
    assert browser.complaints == []
    assert len(numbers) == (400 if width == 1280 else 0)
    assert all(number < square for number in numbers)
    assert len(ends) == (20 if width == 1280 else 0)
    assert all(end < bottom - 30 for end in ends)


@in_a_browser
def test_no_image_has_no_height_where_no_image_was_right(browser, tmp_path):
    x = images(6)
    data = Data.of(x, (small_network()(x).argmax(dim=1) + 1) % 3)
    attacks = [("pgd", PGD(Linf(0.1), steps=2))]
    evaluate_data(small_network(), data, attacks, EvaluationConfig(), "net", tmp_path / "run")
    browser.open(build([tmp_path / "run"], tmp_path / "report"))
    bars = browser.run('return $$("#times rect").map((bar) => bar.getBBox().height);')
    assert browser.complaints == []
    assert bars == [0, 0]


@in_a_browser
@pytest.mark.parametrize(("scheme", "lighter"), [("light", 1), ("dark", -1)])
def test_light_and_dark(page, report, scheme, lighter):
    page.open(report, scheme=scheme)
    ground, ink = page.run(
        """
        const style = getComputedStyle(document.body);
        return [light(style.backgroundColor), light(style.color)];
        """
    )
    assert lighter * (ground - ink) > 0.7


#: What readers see of linear RGB without one kind of cone (Machado et al. 2009, severity 1).
BLIND = {
    "nothing": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    """Linear RGB of a colour as style sheets write it."""
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB, in which a distance of 2 is just seen and one of 20 is plain."""
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blind", BLIND)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_told_apart_by_the_colour_blind(scheme, blind):
    sheets = re.findall(r":root \{(.*?)\}", part("page.css"), re.S)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", sheets[scheme == "dark"]))
    attacks = [colours[f"a{place}"] for place in range(6)]
    if scheme == "light":
        assert attacks == list(ATTACKS)  # of the figures for a paper
    pairs = [*combinations(attacks, 2), (colours["robust"], colours["certified"])]
    for pair in pairs:
        one, other = (lab(np.array(BLIND[blind]) @ linear(colour)) for colour in pair)
        assert np.linalg.norm(one - other) > 20, pair
    for colour in attacks:
        dim, bright = sorted(TO_XYZ[1] @ linear(each) for each in (colour, colours["paper"]))
        assert (bright + 0.05) / (dim + 0.05) > 3, colour


@pytest.mark.parametrize("finished", [True, False])
def test_missing_chunks_are_told_of(report, tmp_path, finished):
    """A run that lacks some of its chunks is never taken for one of fewer images."""
    whole = report.parents[1] / "linf0"
    shutil.copytree(whole, tmp_path / "run")
    rows = read_table(whole / "rows.csv")
    (tmp_path / "run" / "rows.csv").unlink()
    (tmp_path / "run" / "rows").mkdir()
    for number, chunk in enumerate((rows["index"] < 10, rows["index"] >= 20)):
        rows[chunk].to_csv(tmp_path / "run" / "rows" / f"0000.{number:05d}.csv", index=False)
    about = read_json(whole / "run.json")
    write_json(tmp_path / "run" / "run.json", {**about, "complete": finished})
    words = "must have one row for each of the 30 images" if finished else "evaluate command again"
    with pytest.raises((DamagedFileError, InputError), match=words):
        build([tmp_path / "run"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_study_of_ten_models_ten_attacks_and_ten_thousand_images_stays_below_ten_megabytes():
    """Of one model of ten, whose images fall at random, which is the hardest to compress."""
    draw, n = np.random.default_rng(0), 10_000
    label = draw.integers(0, 10, n)
    rows = pd.concat(
        pd.DataFrame(
            {
                "attack": f"attack-{attack}",
                "norm": "linf",
                "eps": 8 / 255,
                "index": range(n),
                "label": label,
                "clean_prediction": label,
                "linf": 0.03,
                "prediction": draw.integers(0, 10, n),
                "fooled": draw.random(n) < 0.5,
                "votes": 1,
                "votes_for_label": 1,
                "forwards": 1,
                "backwards": 1,
            }
        )
        for attack in range(10)
    )
    classifier = Classifier("net", None, [RunFolder(Path("run"), {}, rows)])
    shown = view(classifier, "linf", [8 / 255])
    of_one = len(json.dumps(shown)) + len(packed(classifier, "linf").block)
    of_all = sum(len(part(name)) for name in PARTS) + album.AT_MOST + diagnosed.AT_MOST
    assert 10 * of_one + of_all < 10_000_000


def test_the_first_line_says_whether_to_believe_it(report):
    html = report.read_text()
    first = re.search(r'<p class="belief not-believable">(.*?)</p>', html)
    assert first
    assert "<b>Not believable.</b>" in first[1]
    assert "net0" in first[1]
    assert html.index(first[0]) < html.index("<h1>")
    section = html[html.index('<h2 id="audit">') :]
    assert section.index("Gradients lead uphill") < section.index("Noise fools nobody")
    assert "half of them are &lt;b&gt;zero&lt;/b&gt;" in section
    for words in ("An attack follows them.", "Use BPDA.", "0.5; passes up to 0.1"):
        assert words in section


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["/usr/bin/holdfast", "evaluate", "--out", "my run"], "holdfast evaluate --out 'my run'"),
        (["/lib/holdfast/__main__.py", "train"], "holdfast train"),
        (["/home/me/study.py", "train"], None),
        (["-c"], None),
    ],
)
def test_a_run_records_the_command_and_the_page_shows_it(monkeypatch, tmp_path, typed, command):
    monkeypatch.setattr(sys, "argv", typed)
    x = images(3)
    data = Data.of(x, small_network()(x).argmax(dim=1))
    evaluate_data(small_network(), data, [("fgsm", FGSM(Linf(0.1)))], out=tmp_path / "run")
    assert read_json(tmp_path / "run" / "run.json")["command"] == command
    (subject,) = read_subjects([tmp_path / "run"])
    assert commands(subject.runs) == [(str(tmp_path / "run"), command or "")]


def test_a_title_is_text(report):
    assert "<h1>A &amp; B &lt;report&gt;</h1>" in report.read_text()


def test_the_page_forbids_itself_the_network(report):
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy" content="(.*?)"', report.read_text()
    )
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_files_for_a_paper(report):
    folder = report.parent
    latex = (folder / "tables" / "summary-linf.tex").read_text()
    assert r"\toprule" in latex
    assert "robust, 8/255" in latex
    assert latex.count(r"\\") == 1 + 3
    pictures = sorted((folder / "images").glob("*.png"))
    assert {path.stem.rsplit("-", 1)[1] for path in pictures} == {"clean", "adversarial"}
    svg = (folder / "figures" / "attacks-net0-network-linf.svg").read_text()
    assert not re.search(r'id="patch_1">\s*<path[^>]*fill: #(fff|fdf)', svg)


def test_libraries_are_what_their_authors_published():
    vendor = Path(module.__file__).parent / "vendor"
    lines = re.findall(r"^\| (\S+\.js) .* (\w{64}) \|$", (vendor / "README.md").read_text(), re.M)
    assert {name for name, _ in lines} == {path.name for path in vendor.glob("*.js")}
    for name, digest in lines:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
