import pytest

from holdfast.cli import demo
from holdfast.files import read_json
from holdfast.results import read_rows
from holdfast.threat import L2, Linf


@pytest.fixture
def quick(monkeypatch):
    """The demo with fewer sizes, votes and epochs; everything else as users run it."""
    monkeypatch.setattr(demo, "LINF", [Linf(0.1)])
    monkeypatch.setattr(demo, "L2_SIZES", [L2(0.5)])
    monkeypatch.setattr(demo, "VOTES", 50)
    monkeypatch.setattr(demo, "VOTED", 20)
    monkeypatch.setattr(demo, "EPOCHS", 3)
    monkeypatch.setattr(demo, "TESTED", 100)


def test_the_same_seed_gives_the_same_numbers_and_nothing_is_overwritten(
    quick, tmp_path, capsys, monkeypatch
):
    outs = [tmp_path / name for name in ("first", "second", "other")]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
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


def test_the_demo_covers_what_it_promises(quick, tmp_path):
    demo.demo(out=tmp_path, quiet=True)
    for network in ("plain", "adversarial", "stn"):
        for norm in ("linf", "l2"):
            rows = read_rows(tmp_path / "attacks" / f"{network}-{norm}")
            assert set(rows["attack"]) == {"clean", "fgsm", "r+fgsm", "pgd", "second-order"}
            assert set(rows["norm"]) == {"none", norm}
        about = read_json(tmp_path / "certificates" / network / "run.json")
        assert about["cells"][0]["bound"] == "renyi"
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "report" / "tables" / "attacks.csv").exists()
