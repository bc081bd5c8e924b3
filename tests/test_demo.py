from functools import partial

import pytest

from holdfast.cli import demo
from holdfast.evaluation import EvaluationConfig
from holdfast.files import read_json
from holdfast.results import read_rows
from holdfast.threat import L2, Linf


@pytest.fixture(scope="module")
def quick():
    """The demo with fewer sizes, votes and epochs; everything else as users run it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "LINF", [Linf(0.1)])
        patch.setattr(demo, "L2_SIZES", [L2(0.5)])
        patch.setattr(demo, "VOTES", 50)
        patch.setattr(demo, "SMOOTHED", 20)
        patch.setattr(demo, "EPOCHS", 2)
        patch.setattr(demo, "TESTED", 60)
        yield


@pytest.fixture(scope="module")
def first(quick, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "first"
    demo.demo(out=out, seed=0, quiet=True)
    return out


def test_the_same_seed_gives_the_same_numbers_and_nothing_is_overwritten(
    first, tmp_path, capsys, monkeypatch
):
    outs = [first, tmp_path / "second", tmp_path / "other"]
    monkeypatch.setattr(demo, "build", lambda runs, out, title: out)  # no page is compared
    with monkeypatch.context() as patch:  # nor what is said of the rows
        patch.setattr(demo, "EvaluationConfig", partial(EvaluationConfig, audit=0))
        for out, seed in zip(outs[1:], (0, 1), strict=True):
            demo.demo(out=out, seed=seed, quiet=True)
    shown = capsys.readouterr().out
    assert "report: " in shown
    assert "adversarial" in shown
    runs = [path.parent.relative_to(outs[0]) for path in sorted(outs[0].glob("*/*/rows.csv"))]
    assert len(runs) == 3 * 4
    for path in runs:
        first, second = (out / path / "rows.csv" for out in outs[:2])
        assert first.read_bytes() == second.read_bytes()
    assert any(
        (outs[0] / path / "rows.csv").read_bytes() != (outs[2] / path / "rows.csv").read_bytes()
        for path in runs
    )
    before = {p: p.stat().st_mtime_ns for p in outs[0].glob("*/*/*") if "report" not in p.parts}
    demo.demo(out=outs[0], seed=0)
    assert "complete; nothing was run" in capsys.readouterr().err
    after = {p: p.stat().st_mtime_ns for p in outs[0].glob("*/*/*") if "report" not in p.parts}
    assert before == after


def test_the_demo_covers_what_it_promises(first):
    for network in ("plain", "adversarial", "stn"):
        for norm in ("linf", "l2"):
            rows = read_rows(first / "attacks" / f"{network}-{norm}")
            assert set(rows["attack"]) == {"clean", "fgsm", "r+fgsm", "pgd", "second-order"}
            assert set(rows["norm"]) == {"none", norm}
        about = read_json(first / "certificates" / network / "run.json")
        assert about["cells"][0]["bound"] == "cohen"
    assert (first / "report" / "report.html").exists()
    assert (first / "report" / "tables" / "attacks.csv").exists()
