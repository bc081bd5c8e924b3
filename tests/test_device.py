"""`make test-device`: that it runs, and that what it says can be believed."""

import pytest
import torch
from torch import nn

from tests import cases
from tests.device.__main__ import main, parts
from tests.device.pair import Pair, agree
from tests.device.parts import FailedError, Part, SkippedError, run

CPU = Pair(torch.device("cpu"))


def test_the_quick_parts_hold_for_the_cpu_beside_itself(tmp_path, capsys):
    assert main(["--device", "cpu", "--quick", "--out", str(tmp_path / "device.md")]) == 0
    shown = capsys.readouterr().out
    table = (tmp_path / "device.md").read_text()
    for part in parts(CPU, quick=True):
        assert f"{part.name} " in shown
        assert f"| {part.name} |" in table


def test_every_case_has_a_part():
    names = {part.name for part in parts(CPU)}
    assert len(names) >= len(parts(CPU)) - 2  # on one device, halting has one pair of devices
    for case, norm in cases.EACH_NORM:
        assert f"attacks/{case.name} {norm}" in names


def test_a_failure_stops_nothing_and_is_told():
    def fails():
        raise FailedError("too far apart")

    def breaks():
        raise ZeroDivisionError("of no use")

    def skips():
        raise SkippedError("no GPU")

    def misses():
        raise ModuleNotFoundError("No module named 'rare'", name="rare")

    told = []
    works = (fails, breaks, skips, misses, lambda: "fine")
    lines = run([Part(f"part {n}", w) for n, w in enumerate(works)], CPU.device, told.append)
    assert told == lines
    assert [line.state for line in lines] == ["FAILED", "FAILED", "skipped", "skipped", "ok"]
    assert "ZeroDivisionError: of no use" in lines[1].saw


def test_a_failed_part_is_the_exit_code(monkeypatch):
    def fails():
        raise FailedError("too far apart")

    monkeypatch.setattr("tests.device.__main__.parts", lambda *_: [Part("one", fails)])
    assert main(["--device", "cpu"]) == 1


def test_the_other_network_is_off_by_rounding():
    """So that a comparison beside itself compares something."""
    network = nn.Linear(3, 2).double()
    here, there = CPU.both(lambda model, _: model.weight.detach(), network)
    assert not torch.equal(here, there)
    assert torch.allclose(here, there, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    "other", [torch.tensor([1.0, torch.nan]), torch.zeros(3), torch.zeros(2).double()]
)
def test_what_is_no_number_of_another_shape_or_type_does_not_agree(other):
    with pytest.raises(FailedError):
        agree(torch.tensor([1.0, 0.0]), other, 1e9)
