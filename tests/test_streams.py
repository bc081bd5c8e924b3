"""What is printed reaches a stream of any encoding, and one that nobody reads any more."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli import main
from holdfast.cli.common import print_table
from holdfast.cli.streams import hold_everything

ENCODINGS = ["ascii", "latin-1", "cp1252"]


def printed(encoding, monkeypatch, work):
    """What some work prints where standard output takes no letter that an encoding lacks."""
    held = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding, errors="strict"))
        work()
        sys.stdout.flush()
        return held.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["list", "reproduce list"])
def test_a_command_prints_whatever_the_encoding(monkeypatch, encoding, line):
    def work():
        with pytest.raises(SystemExit) as ended:
            main.main(line.split())
        assert ended.value.code == 0

    assert len(printed(encoding, monkeypatch, work)) > 1000


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_interval_keeps_its_dash(monkeypatch, encoding):
    """Where a run of hours ended in a traceback, after its last image."""

    def work():
        hold_everything()
        print_table("ε in ℓ∞", [{"attack": "pgd", "95 %": "40.8–84.6"}])

    text = printed(encoding, monkeypatch, work)
    assert "in linf" in text
    assert "40.8-84.6" in text.replace("–", "-")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("ℓ∞ of ε ≤ 0.1", "linf of epsilon <= 0.1"),
        ("ρ₂ and σ²", "rho2 and sigma2"),
        ("cut off…", "cut off..."),
        ("Černý", "\\u010cern\\xfd"),  # of a name nothing is lost
    ],
)
def test_signs_are_put_in_plain_letters(text, plain):
    hold_everything()
    assert text.encode("ascii", "holdfast").decode() == plain


def held(arguments, stdout):
    """What a command says on standard error, and its exit code."""
    program = "from holdfast.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stderr, done.returncode


@pytest.mark.skipif(os.name != "posix", reason="other systems tell of a closed pipe otherwise")
@pytest.mark.parametrize("line", ["--version", "list", "certify --help"])
def test_a_reader_that_has_gone_is_no_error(line):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        said, code = held(line.split(), writes)
    finally:
        os.close(writes)
    assert said == ""
    assert code in (0, 1)  # 1 where something could not be handed over before the end


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_told_before_the_end():
    with Path("/dev/full").open("wb") as disk:
        said, code = held(["--version"], disk)
    assert (said.count("\n"), code) == (1, 1)
    assert "No space left on device" in said
