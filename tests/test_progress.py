"""Progress stays readable in 80 columns and in a log, and moves inside a batch."""

import io
import re

import pytest
import torch
from rich.console import Console

from holdfast import EvaluationConfig, evaluate, progress
from holdfast.attacks import FGSM, PGD, EachTarget, On, Restarts, Worst
from holdfast.certify import CertificationConfig, certify
from holdfast.counting import Counted
from holdfast.evaluation.forecast import Forecast
from holdfast.progress import Progress
from holdfast.threat import Linf
from holdfast.types import Step
from tests.toys import images, small_network

LONG = "second-order(sigma=0.15, samples=20, steps=200, step_size=0.001) linf 0.1"


def step(number=19, reached=(True, False, False), stage=""):
    count = len(reached)
    x = torch.zeros(count, 1)
    return Step(number, torch.arange(count), x, x[:, 0], None, torch.tensor(reached), stage)


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def told(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_lines_of_a_log(clock, capsys):
    lines = progress._Lines()
    lines.start(LONG, 1000)
    lines.watch(step())
    lines.advance(128)
    assert told(capsys) == []  # it has just begun
    clock.now = 10.0
    lines.watch(step(stage="apgd-t, run 3 of 9"))
    (line,) = told(capsys)
    assert len(line) <= 79
    assert line.startswith("second-order")
    assert "…: 128/1000, 10 s, ~68 s left; 2 images robust, step 20" in line
    lines.watch(step())
    assert told(capsys) == []  # five seconds have not passed


def test_lines_grow_rarer_up_to_a_minute(clock, capsys):
    lines = progress._Lines()
    lines.start("pgd", 10**6)
    for clock.now in range(7200):
        lines.advance(note="loss 0.1")
    assert 120 <= len(told(capsys)) <= 200


def test_a_log_goes_on_where_a_run_was_interrupted(clock, capsys):
    """The time left is told by what was done now."""
    lines = progress._Lines()
    lines.start("train", 100, done=80)
    clock.now = 10.0
    lines.advance(10)
    assert told(capsys) == ["train: 90/100, 10 s, ~10 s left"]


def test_what_is_announced_waits_for_work(clock, capsys):
    lines = progress._Lines()
    lines.announce("one thread")
    lines.say("complete")
    assert told(capsys) == ["complete"]
    lines.start("train", 1)
    lines.start("again", 1)
    assert told(capsys) == ["one thread"]


def test_the_attack_is_told_while_it_runs(clock, capsys):
    """With its stage, the images that are robust, and the time that is left."""
    lines = progress._Lines()
    lines.start("evaluate", 1000, done=500)
    lines.advance(100)
    lines.turn_to("worst-case linf 0.1")
    clock.now = 10.0
    lines.watch(step(stage="apgd-t"))
    (line,) = told(capsys)
    assert len(line) <= 79
    expected = "worst-case linf 0.1: 600/1000, 10 s, ~40 s left; 2 images robust"
    assert line.startswith(expected)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    bars = progress._bars(console)
    bar = progress._Bar(bars)
    bar.start("evaluate", 1000)
    bar.turn_to("worst-case linf 0.1")
    clock.now = 20.0
    bar.watch(step(stage="apgd-t"))
    assert bars.tasks[0].fields["note"] == "worst-case linf 0.1: 2 images robust, step 20 of apgd-t"
    bar.start("certify", 10)
    clock.now = 30.0
    bar.tell(lambda: "100 votes")
    assert bars.tasks[0].fields["note"] == "100 votes"


def test_a_bar_in_80_columns(clock):
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    bars = progress._bars(console)
    bar = progress._Bar(bars)
    bar.start(LONG, 10000)
    bar.advance(9872)
    clock.now = 1.0
    bar.watch(step(stage="a part with a very long name and parameters (steps=100), run 3 of 9"))
    console.print(bars.get_renderable())
    first, second = stream.getvalue().splitlines()  # nothing is broken into another line
    assert max(len(first), len(second)) <= 80
    assert first.startswith("second-order")
    assert "9872/10000" in first
    assert second.startswith("  2 images robust, step 20 of a part")


@pytest.mark.parametrize(
    ("terminal", "lines"),
    [
        ({"TERM": "xterm", "COLUMNS": "80"}, False),
        ({"TERM": "dumb", "COLUMNS": "80"}, True),
        ({"TERM": "xterm", "COLUMNS": "0"}, True),
    ],
)
def test_a_terminal_without_a_place_for_a_bar_has_lines(monkeypatch, capsys, terminal, lines):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if standard error were a terminal
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    with progress.showing() as shown:
        assert isinstance(shown, progress._Lines) is lines


def test_certificates_show_their_votes_in_80_columns_and_in_a_log(clock, capsys):
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    bars = progress._bars(console)
    bar, lines = progress._Bar(bars), progress._Lines()
    for shown in (bar, lines):
        shown.start("certify sigma 0.25, n 100000", 500)
        shown.tell(lambda: "100 of 200 votes")
    assert told(capsys) == []  # it has just begun
    clock.now = 10.0
    for shown in (bar, lines):
        shown.tell(lambda: "800000 of 800800 votes")
        shown.tell(lambda: pytest.fail("asked again at once"))
    console.print(bars.get_renderable())
    bar_line, note = stream.getvalue().splitlines()
    assert len(bar_line) <= 80
    assert note.rstrip() == "  800000 of 800800 votes"
    assert told(capsys) == ["certify sigma 0.25, n 100000: 0/500, 10 s; 800000 of 800800 votes"]


def test_quiet_says_nothing(capsys):
    with progress.showing(False) as shown:
        shown.tell(lambda: pytest.fail("nobody listens"))
        shown.announce("one thread")
        shown.start("pgd", 10)
        shown.watch(step())
        shown.advance(10)
    assert told(capsys) == []


class Watching(Progress):
    def __init__(self):
        self.steps, self.notes, self.parts, self.begun, self.pieces = [], [], [], [], 0

    def start(self, what, total, done=0):
        self.begun.append((total, done))

    def turn_to(self, part):
        self.parts.append(part)

    def advance(self, pieces=1, note=""):
        self.pieces += pieces

    def watch(self, step):
        self.steps.append((self.pieces, step.step, step.stage))

    def tell(self, note):
        self.notes.append((self.pieces, note()))


def watched(attack, **options):
    x, network, heard = images(8, (1, 6, 6)), small_network(), Watching()
    evaluate(network, x, network(x).argmax(dim=1), {"a": attack}, progress=heard, **options)
    return heard.steps


def pgd(**options):
    return PGD(Linf(1e-6), steps=4, early_stop=False, **options)


def test_it_moves_inside_a_batch():
    steps = watched(pgd())
    assert [number for _, number, _ in steps[-4:]] == [0, 1, 2, 3]
    assert {pieces for pieces, *_ in steps} == {8}  # the clean images; no attacked one was done


def test_an_evaluation_says_which_attack_is_next_and_what_was_done_before(tmp_path):
    """So that what an earlier process did takes no part in the time that is left."""
    x, network = images(8, (1, 6, 6)), small_network()
    y, attacks = network(x).argmax(dim=1), {"a": pgd(), "b": pgd()}
    config = EvaluationConfig(batch_size=4, audit=0)

    class Stopping(Watching):
        def advance(self, pieces=1, note=""):
            super().advance(pieces)
            if self.pieces == 16:
                raise KeyboardInterrupt

    first, second = Stopping(), Watching()
    with pytest.raises(KeyboardInterrupt):
        evaluate(network, x, y, attacks, config=config, out=tmp_path, progress=first)
    evaluate(network, x, y, attacks, config=config, out=tmp_path, progress=second)
    assert first.begun == [(24, 0)]
    assert first.parts == ["a linf 1e-06", "b linf 1e-06"]
    assert second.begun == [(24, 16)]
    assert second.pieces == 8
    assert second.parts == ["a linf 1e-06", "b linf 1e-06"]


@pytest.mark.parametrize("interval", ["clopper-pearson", "two-sample", "sequential"])
def test_certification_moves_inside_a_chunk(interval):
    x, network, heard = images(3, (1, 6, 6)), small_network(), Watching()
    config = CertificationConfig(
        sigma=0.1,
        votes=200,
        selection_votes=20,
        bounds=("renyi",),
        intervals=(interval,),
        radii=(0.05,),
        batch_size=20,
    )
    made = certify(network, x, network(x).argmax(dim=1), config=config, progress=heard)
    n0 = 20 if config.chooses else 0
    assert {pieces for pieces, _ in heard.notes} == {0}  # no image was done
    taken = [int(note.split()[0]) for _, note in heard.notes]
    assert len(taken) >= 3
    assert taken == sorted(taken)
    assert {note.partition(" ")[2] for _, note in heard.notes} == {f"of {3 * (n0 + 200)} votes"}
    assert taken[-1] == made.rows["draws"].sum() + 3 * n0


@pytest.mark.parametrize(
    ("attack", "stages"),
    [
        (Restarts(attack=pgd(), count=2), ["run 1 of 2", "run 2 of 2"]),
        (
            EachTarget(attack=pgd(), targets=3),
            ["run 1 of 3", "run 2 of 3", "run 3 of 3"],
        ),
        (
            Worst((pgd(), Restarts(attack=pgd(), count=2)), called=("one", "two")),
            ["one", "two, run 1 of 2", "two, run 2 of 2"],
        ),
        (
            On(small_network(), Restarts(attack=pgd(), count=2), name="s"),
            ["run 1 of 2", "run 2 of 2"],
        ),
    ],
)
def test_the_stage_of_an_attack_made_of_several(attack, stages):
    seen = dict.fromkeys(stage for *_, stage in watched(attack))
    assert list(seen) == stages


class Ticking(torch.nn.Module):
    """A network of which every image of a pass, forward or back, takes so many seconds."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds, self.network = clock, seconds, small_network()

    def forward(self, x):
        logits = self.network(x)
        self.tick(len(x))
        if logits.requires_grad:
            logits.register_hook(lambda _: self.tick(len(x)))
        return logits

    def tick(self, images):
        self.clock.now += self.seconds * images


class Guessing(progress._Lines):
    """Keeps when it told which time is left, and how many pieces were done then."""

    def __init__(self, clock):
        self.clock, self.told = clock, []
        super().__init__()

    def say(self, text):
        if found := re.search(r": (\d+)/\d+, .*~(\d+) s left", text):
            self.told.append((self.clock.now, int(found[1]), int(found[2])))


def guesses(clock, attacks, **options):
    x, network, lines = images(16), Ticking(clock, 0.05), Guessing(clock)
    y = small_network()(x).argmax(dim=1)
    y[::4] = (y[::4] + 1) % 4  # of a batch of 8 two are left alone
    config = EvaluationConfig(batch_size=8, audit=0, hidden=False)
    found = evaluate(network, x, y, attacks, config=config, progress=lines, **options)
    return lines.told, found


@pytest.mark.filterwarnings("ignore:(fgsm|pgd)")
def test_the_time_left_is_guessed_within_the_first_batch(clock):
    """By the passes that are planned: neither clean images nor short attacks make it too short."""
    attacks = {"fgsm": FGSM(Linf(1e-6)), "pgd": PGD(Linf(1e-6), steps=60, early_stop=False)}
    told, _ = guesses(clock, attacks)
    end = clock.now
    early = [(now, left) for now, pieces, left in told if pieces < 24]
    assert len(early) >= 3
    apart = [abs(left - (end - now)) / end for now, left in early]
    assert max(apart) < 0.4  # at first what lies before the attack weighs
    assert apart[-1] < 0.1


def test_what_falls_early_is_no_longer_waited_for(clock):
    attacks = {"pgd": PGD(Linf(0.5), steps=100)}
    told, _ = guesses(clock, attacks)
    assert all(left >= 0 for *_, left in told)
    forecast = Forecast([("pgd", PGD(Linf(0.5), steps=50))], [8], (1, 6, 6), 4)
    counted = Counted(small_network(), torch.arange(4))
    forecast.begin(0, 4)
    assert forecast.share() == 0
    forecast.count(counted)
    assert forecast.share() == 0
    counted._forwards += torch.tensor([10, 2, 10, 0])
    assert forecast.share() == pytest.approx(0.5 * 100 / 102 * 22 / (22 + 2 * 90))
    counted._forwards += 1000  # more than planned
    assert forecast.share() <= 0.5
    forecast.finish()
    assert forecast.share() == 0.5


def test_a_guess_leaves_no_trace_in_what_is_found(clock):
    """An attack is tried on toys amid another, which draws and notes what it did before."""
    attacks = {"pgd": Restarts(attack=PGD(Linf(0.02), steps=30), count=3)}
    told, found = guesses(clock, attacks)
    assert told
    x = images(16)
    y = small_network()(x).argmax(dim=1)
    y[::4] = (y[::4] + 1) % 4
    config = EvaluationConfig(batch_size=8, audit=0, hidden=False)
    quiet = evaluate(Ticking(clock, 0.05), x, y, attacks, config=config)
    assert found.rows.equals(quiet.rows)
    assert [{**cell, "seconds": 0} for cell in found.cells] == [
        {**cell, "seconds": 0} for cell in quiet.cells
    ]


def test_where_passes_cannot_be_told_before_pieces_are_what_is_left(clock):
    source = On(small_network(seed=1), pgd(), name="s")
    assert Forecast([("s", source)], [8], (1, 6, 6), 4).share() is None
    assert Forecast([], [], (1, 6, 6), 4).share() is None


def test_a_certificate_guesses_within_its_first_chunk(clock):
    x, lines = images(3), Guessing(clock)
    config = CertificationConfig(
        sigma=0.1, votes=300, selection_votes=20, bounds=("cohen",), radii=(0.05,), batch_size=60
    )
    network = Ticking(clock, 0.1)
    y = small_network()(x).argmax(dim=1)
    certify(network, x, y, config=config, progress=lines)
    end = clock.now
    assert len(lines.told) >= 3
    for now, pieces, left in lines.told:
        assert pieces == 0
        assert abs(left - (end - now)) < 0.15 * end
