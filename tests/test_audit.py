"""Every check of the audit: a planted defect fails it, and a sound evaluation passes."""

import json
import math
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import nn

from holdfast import metrics
from holdfast.attacks import (
    APGD,
    DDN,
    FGSM,
    PGD,
    Attack,
    Greedy,
    On,
    SigmaZero,
    SparseRS,
    Square,
    Worst,
    WorstCase,
)
from holdfast.auditing.check import NotRun, Verdict
from holdfast.auditing.shares import at_least
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.evaluation import (
    Audit,
    EvaluationConfig,
    audit,
    audit_run,
    evaluate,
    evaluate_data,
)
from holdfast.evaluation.auditing.check import CHECKS
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.auditing.run import audited
from holdfast.evaluation.auditing.subject import Subject
from holdfast.goals import Untargeted
from holdfast.losses import margin as margin_of
from holdfast.models import Normalize
from holdfast.results import read_about, read_rows
from holdfast.threat import L0, L1, L2, Linf
from holdfast.types import Threat
from tests.digits import digits, trained
from tests.toys import Wrapped

BALL = Linf(0.1)


@dataclass(frozen=True, kw_only=True)
class Still(Attack):
    """Asks for one gradient, goes nowhere, and says so."""

    threat: Threat

    def perturb(self, model, x0, y, rng, callback=None):
        PGD(self.threat, steps=1).perturb(model, x0, y, rng, callback)
        return x0.clone()


@dataclass(frozen=True, kw_only=True)
class Returns(Still):
    """Falls on the way, and returns the clean image."""

    def perturb(self, model, x0, y, rng, callback=None):
        PGD(self.threat, steps=20, early_stop=False).perturb(model, x0, y, rng, callback)
        return x0.clone()


class Other(torch.autograd.Function):
    """The identity, with any gradient."""

    @staticmethod
    def forward(ctx, x, backward):
        ctx.backward_of = backward
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.backward_of(grad), None


class Behind(nn.Module):
    """The network behind a function of the images, or before one of its logits."""

    def __init__(self, before=None, after=None):
        super().__init__()
        self.network = trained()[0]
        self.before, self.after = before or (lambda x: x), after or (lambda z: z)
        self.eval()

    def forward(self, x):
        return self.after(self.network(self.before(x)))


class Remembers(Behind):
    """Answers what it answered when it was first asked about anything like it."""

    def __init__(self):
        super().__init__()
        self.known = {}

    def forward(self, x):
        logits = self.network(x)
        keys = [row.tobytes() for row in (4 * x.detach()).round().int().numpy()]
        pairs = zip(keys, logits, strict=True)
        return torch.stack([self.known.setdefault(k, z.detach()) for k, z in pairs]) + 0 * logits


def staircase(x):
    return (8 * x).round() / 8


def hashed(x):
    """Noise by the image's last bits."""
    keys = (x.detach().double() * 1e7).round().flatten(1).sum(dim=1).long() % 2**31
    drawn = [
        torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(k)) for k in keys.tolist()
    ]
    return x + 0.5 * torch.stack(drawn)


def off_grid(x):
    off = ((255 * x - (255 * x).round()).abs() > 1e-3).flatten(1).any(dim=1)
    return torch.where(off[:, None, None, None], hashed(x), x)


def watched(x):
    return x.flip(3) if torch.is_grad_enabled() else x


def optimised(x):
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(z.square().sum(), z)
    return x + 0 * grad


def batch_wise(x):
    return x - 0.5 * x.mean(dim=0, keepdim=True)


def against(logits, y):
    return -margin_of(logits, y)


class Constant(Behind):
    """Never answers class 0."""

    def forward(self, x):
        return self.network(x) - 1e3 * nn.functional.one_hot(torch.tensor(0), 10)


class Draws(Behind):
    """Says that it draws."""

    stochastic = True


def evaluated(model, attacks=None, x=None, y=None, *, at=None, config=None, **changes):
    """A subject of an evaluation, and with ``changes`` of what was written."""
    _network, digits_x, digits_y = trained()
    x, y = digits_x if x is None else x, digits_y if y is None else y
    attacks = attacks or {"pgd": PGD(BALL, steps=20)}
    config = config or EvaluationConfig(audit=0)
    attacks = dict(attacks)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        # The ledger and the subject are what `evaluate` makes of its own run.
        import holdfast.evaluation.run as module

        def kept(ledger, subject):
            found.update(ledger=ledger, subject=subject)
            return Audit(checks=(), about="", passes=0, limit=math.inf)

        patch.setattr(module, "audited", kept)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluate(model, x, y, attacks, config=replace(config, audit=math.inf, hidden=False))
    subject, ledger = found["subject"], replace(found["ledger"], **changes)
    subject.ledger = ledger
    if at is not None:
        subject.model.model = at
    return subject


@cache
def sound():
    """The network under attacks that see all."""
    attacks = {
        "pgd": PGD(Linf(0.05), steps=30, restarts=2),
        "square": Square(Linf(0.05), queries=50),
        "smaller": PGD(Linf(0.03), steps=20, step_size=0.01),
    }
    return evaluated(nn.Sequential(Wrapped(lambda x: 1 * x), trained()[0]).eval(), attacks)


def value(name, subject):
    one = CHECKS[name]
    given = subject if one.asks_the_model else subject.ledger
    with torch.random.fork_rng():
        return one.run(given).value


def of(model, attack=None, **options):
    attacks = None if attack is None else {"mine": attack}
    return lambda: evaluated(model() if isinstance(model, type) else model, attacks, **options)


def rows_with(**columns):
    """The sound evaluation's ledger with other numbers in its rows."""

    def make():
        subject = evaluated(trained()[0])
        subject.ledger = replace(subject.ledger, rows=subject.ledger.rows.assign(**columns))
        return subject

    return make


def without(setting):
    def make():
        subject = evaluated(trained()[0])
        settings = {k: v for k, v in subject.ledger.settings.items() if k != setting}
        subject.ledger = replace(subject.ledger, settings=settings)
        return subject

    return make


def hiding():
    subject = evaluated(trained()[0])
    found = {"kind": "zero", "layer": "0", "type": "Round", "said": "has no slope", "met": ""}
    settings = {**subject.ledger.settings, "found": [found]}
    subject.ledger = replace(subject.ledger, settings=settings)
    return subject


def other_cells():
    subject = evaluated(trained()[0])
    cells = [{**cell, "robust_accuracy": 0.99} for cell in subject.ledger.cells]
    subject.ledger = replace(subject.ledger, cells=cells)
    return subject


def changed_since():
    return evaluated(trained()[0], at=Wrapped(lambda z: trained()[0](z.flip(2))))


def two_sizes():
    return evaluated(trained()[0], {"a": PGD(Linf(0.1), steps=20), "b": Still(threat=Linf(0.2))})


def few_images():
    x, y = (part[:4] for part in trained()[1:])
    return evaluated(trained()[0], x=x, y=y)


def wrong_labels():
    x, y = digits(60)
    return evaluated(trained()[0], x=x, y=(y + torch.arange(60) % 9 + 1) % 10)


def silent():
    x, y = digits(80)
    return evaluated(Constant(), {"pgd": PGD(Linf(0.02), steps=5)}, x=x, y=y)


def dark():
    x, y = trained()[1:]
    return evaluated(Behind(lambda z: 255 * z), x=x / 255, y=y)


def scaled():
    x, y = trained()[1:]
    labels = Behind(lambda z: z / 255)(x).argmax(dim=1)
    assert (labels == y).float().mean() < 0.5
    return evaluated(Behind(lambda z: z / 255), {"pgd": PGD(BALL, steps=5)})


def front():
    return nn.Sequential(Wrapped(lambda x: 1 * x), trained()[0]).eval()


def plateau(x):
    """Around each image as it was nothing changes, so that no gradient leads away."""
    level = (16 * x.detach()).round() / 16
    near = ((x - level).abs() < 0.02).flatten(1).all(dim=1)
    return torch.where(near[:, None, None, None], level, x)


TURNED = Behind(lambda x: Other.apply(x, lambda g: -g))
SHORT = PGD(BALL, steps=20, step_size=1e-3, random_start=False)
BLIND = Still(threat=Linf(0.3))
NOISY = nn.Sequential(GaussianNoise(0.05), trained()[0]).eval()
DRAWS = EvaluationConfig(votes=9, samples=2)

PLANTED = {
    "C1": without("seed"),
    "C2": two_sizes,
    "C10": other_cells,
    "C11": few_images,
    "C13": rows_with(linf=0.2),
    "C14": of(trained()[0], FGSM(BALL)),
    "C14-length": of(trained()[0], SHORT),
    "C5": lambda: evaluated(
        TURNED, {"pgd": PGD(Linf(0.2), steps=20), "square": Square(Linf(0.2), queries=100)}
    ),
    "I1-rows": of(Behind(staircase), PGD(Linf(0.05), steps=20)),
    "H-skipped": of(
        Behind(after=lambda z: nn.functional.one_hot(z.argmax(dim=1), 10).float()),
        Worst((PGD(BALL, steps=5), Square(BALL, queries=5)), called=("pgd", "square")),
    ),
    "H-hidden": hiding,
    "H-downhill": of(TURNED),
    "H-chance": wrong_labels,
    "H-classes": silent,
    "I5": of(
        trained()[0],
        On(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), PGD(Linf(0.02)), name="other"),
    ),
    "C15": of(Behind(lambda x: x + 0.01 * torch.randn_like(x)), config=DRAWS),
    "H-declared": of(Draws, config=DRAWS),
    "H-company": of(Behind(batch_wise)),
    "H-memory": of(Remembers),
    "H-repeats": changed_since,
    "A-probabilities": of(Behind(after=lambda z: z.softmax(dim=1))),
    "A-dynamic": of(Behind(optimised)),
    "A-classes": lambda: evaluated(trained()[0], classes=12),
    "T-same": of(Behind(watched)),
    "H-grid": of(Behind(off_grid), Still(threat=BALL)),
    "H-scale": scaled,
    "H-normalised-once": of(
        nn.Sequential(Normalize((0.0,), (1.0,)), Normalize((0.0,), (1.0,)), trained()[0]).eval()
    ),
    "H-range": dark,
    "I1": of(Behind(staircase), PGD(Linf(0.05), steps=20)),
    "H-underflow": of(Behind(after=lambda z: 1e4 * z)),
    "H-slope": of(TURNED),
    "I2": of(Behind(hashed), Still(threat=BALL)),
    "C8": lambda: evaluated(Behind(lambda x: x + 0.9 * (staircase(x) != x)), {"a": BLIND}),
    "C4": of(trained()[0], BLIND),
    "C12": of(trained()[0], BLIND),
    "C3": of(Behind(staircase), PGD(Linf(0.05), steps=20)),
    "A-square": of(trained()[0], BLIND),
    "T-identity": of(front(), BLIND),
    "T-raw": of(trained()[0], BLIND),
    "T-transfer": of(trained()[0], BLIND),
    "C6": of(trained()[0], PGD(Linf(0.2), steps=20, step_size=0.003, random_start=False)),
    "C7": of(Behind(plateau), PGD(Linf(0.3), steps=20, random_start=False)),
    "I3": of(trained()[0], Returns(threat=Linf(0.2))),
    "I4": of(trained()[0], SHORT),
    "T-loss": of(trained()[0], PGD(BALL, steps=20, goal=Untargeted(against))),
    "T-draws": of(NOISY, Still(threat=Linf(0.2)), config=DRAWS),
    "Z": of(trained()[0], BLIND),
}


def test_every_check_has_a_planted_defect():
    assert set(PLANTED) == set(CHECKS)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_found(name):
    found = value(name, PLANTED[name]())
    assert CHECKS[name].judge(found) is not Verdict.PASS, found


@pytest.mark.parametrize("name", PLANTED)
def test_a_sound_evaluation_passes(name):
    """Or the check says why it does not apply."""
    try:
        found = value(name, sound())
    except NotRun:
        assert name in ("C14-length", "H-classes", "I5", "H-declared", "T-draws")
        return
    assert CHECKS[name].judge(found) is Verdict.PASS, found


@pytest.mark.parametrize(
    ("name", "weak"), [("A-square", SigmaZero(L0(3), steps=1)), ("C12", Still(threat=L1(1.5)))]
)
def test_it_is_found_in_other_norms_too(name, weak):
    found = value(name, evaluated(trained()[0], {"weak": weak}))
    assert CHECKS[name].judge(found) is not Verdict.PASS, found
    suite = WorstCase(type(weak.threat)(1), steps=20, targets=3, queries=300)
    left = evaluated(trained()[0], {"suite": suite})
    assert len(left.ledger.survivors) > 4
    assert CHECKS[name].judge(value(name, left)) is Verdict.PASS


def test_in_l0_random_search_that_finds_more_is_no_masking():
    attacks = {"greedy": Greedy(L0(2), steps=2), "sparse-rs": SparseRS(L0(2), queries=150)}
    found = evaluated(trained()[0], attacks)
    fell = found.ledger.rows.groupby("attack")["fooled"].sum()
    assert fell["sparse-rs"] > fell["greedy"] + 10
    with pytest.raises(NotRun, match="no weaker"):
        value("C5", found)
    assert not metrics.misleading(found.ledger.rows)


def test_a_point_beyond_the_ball_is_no_silent_success():
    """DDN goes round the boundary, beyond the ball, and returns nothing from there."""
    nearest = evaluated(trained()[0], {"ddn": DDN(L2(0.3), steps=30)})
    assert len(nearest.ledger.survivors) > 4
    assert CHECKS["I3"].judge(value("I3", nearest)) is Verdict.PASS


def test_what_is_read_off_a_larger_size_has_seen_its_gradients():
    attacks = [("ddn", DDN(L2(eps), steps=30)) for eps in (0.2, 0.3, 9.0)]
    model, x, y = trained()
    config = EvaluationConfig(share_sizes=True, audit=math.inf)
    found = evaluate_data(model, Data.of(x, y), attacks, config)
    assert found.rows.query("attack == 'ddn' and eps < 9")["backwards"].eq(0).all()
    verdicts = {check.id: check.verdict for check in found.audit.checks}
    assert verdicts["C14"] is Verdict.PASS


class TestVerdict:
    def test_it_is_the_worst_of_the_checks(self):
        model, x, y = trained()
        words = {
            attack: audit(model, x, y, {"a": attack}).word
            for attack in (FGSM(BALL), PGD(BALL, steps=15), PGD(Linf(0.5), steps=20))
        }
        assert list(words.values()) == ["not believable", "doubtful", "believable"]

    def test_the_sentence_cites_the_worst_check(self):
        found = audit(*trained(), {"a": FGSM(BALL)})
        assert found.sentence.startswith(
            "not believable: gradients that an image left has seen: 1 (C14"
        )

    def test_where_nothing_is_left_no_number_is_too_high(self):
        """A network whose softmax saturates falls all the same, to another loss."""
        _model, x, y = trained()
        saturated = Behind(after=lambda z: 1e4 * z)
        found = audit(saturated, x, y, {"a": PGD(Linf(0.5), steps=20, goal=Untargeted(margin_of))})
        assert found.word == "believable"

    def test_no_number_passes_nothing(self):
        assert CHECKS["C3"].judge(math.nan) is Verdict.FAIL


class TestPasses:
    @pytest.mark.parametrize("attack", [FGSM(BALL), PGD(BALL), PGD(L2(0.5)), PGD(L1(2.0))])
    @pytest.mark.parametrize("noise", [False, True])
    def test_they_stay_within_the_limit(self, attack, noise):
        model, x, y = trained()
        if noise:
            model = nn.Sequential(GaussianNoise(0.05), model).eval()
        config = replace(DRAWS, audit=0.15)
        asked = []
        handle = trained()[0].register_forward_pre_hook(
            lambda _, given: asked.append(len(given[0]))
        )
        try:
            evaluate(model, x, y, {"a": attack}, config=replace(config, audit=0))
            before = sum(asked)
            asked.clear()
            found = evaluate(model, x, y, {"a": attack}, config=config)
        finally:
            handle.remove()
        spent = int(found.rows["forwards"].sum() + found.rows["backwards"].sum())
        assert found.audit.passes <= 0.15 * spent == pytest.approx(found.audit.limit, abs=1)
        assert sum(asked) - before <= found.audit.passes

    def test_the_rows_are_those_of_no_audit(self):
        model, x, y = trained()
        rows = [
            evaluate(model, x, y, {"a": PGD(BALL)}, config=EvaluationConfig(audit=share)).rows
            for share in (0.0, 0.15, math.inf)
        ]
        assert rows[0].equals(rows[1])
        assert rows[0].equals(rows[2])

    def test_it_leaves_no_trace_in_the_model(self):
        model = Behind()
        before = dict(vars(model.network))
        audit(model, *trained()[1:], {"a": PGD(BALL, steps=5)})
        assert vars(model.network).keys() == before.keys()
        assert not any(hooks for m in model.modules() for hooks in (m._forward_hooks,))


class TestRecord:
    def test_a_run_keeps_it(self, tmp_path):
        model, x, y = trained()
        found = evaluate(model, x, y, {"a": PGD(BALL)}, out=tmp_path / "run")
        about = read_about(tmp_path / "run")
        assert about["audit"] == json.loads(json.dumps(found.audit.record()))
        assert Audit.of_record(about["audit"]) == found.audit
        again = evaluate(model, x, y, {"a": PGD(BALL)}, out=tmp_path / "run")
        assert again.audit == found.audit

    def test_off_is_none(self, tmp_path):
        config = EvaluationConfig(audit=0)
        found = evaluate(*trained(), {"a": FGSM(BALL)}, config=config, out=tmp_path / "run")
        assert found.audit is None
        assert "audit" not in read_about(tmp_path / "run")

    def test_a_finished_run_can_be_audited(self, tmp_path):
        model, x, y = trained()
        attacks = [("a", PGD(BALL, steps=10))]
        evaluate(model, x, y, dict(attacks), config=EvaluationConfig(audit=0), out=tmp_path / "run")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with_attacks = audit_run(tmp_path / "run", model, Data.of(x, y), attacks)
        alone = audit_run(tmp_path / "run", model, Data.of(x, y))
        assert {c.id for c in alone.of(Verdict.NOT_RUN)} > {
            c.id for c in with_attacks.of(Verdict.NOT_RUN)
        }
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        with pytest.raises(InputError, match="of another model"):
            audit_run(
                tmp_path / "run", nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), Data.of(x, y)
            )

    def test_rows_alone_can_be_audited(self, tmp_path):
        model, x, y = trained()
        evaluate(model, x, y, {"a": FGSM(BALL)}, out=tmp_path / "run")
        about = read_about(tmp_path / "run")
        ledger = Ledger(read_rows(tmp_path / "run"), about["settings"], about["cells"], 10)
        assert audited(ledger, None).word == "not believable"


def test_at_least_is_below_the_share():
    assert at_least(0, 10) == 0
    assert at_least(5, 10) < 0.5 < at_least(50, 60)


def test_a_subject_without_survivors_says_so():
    model, _x, _y = trained()
    subject = evaluated(model, {"a": PGD(Linf(0.5), steps=20)})
    assert isinstance(subject, Subject)
    with pytest.raises(NotRun, match="anything"):
        _ = subject.left


@pytest.mark.filterwarnings("ignore")
def test_the_audits_own_attacks_go_round_what_hides():
    """Behind a rounding that was found and gone round, its gradient is there for the audit too."""
    _, x, y = trained()
    found = audit(Behind(before=staircase), x[:24], y[:24], {"pgd": PGD(Linf(0.05), steps=20)})
    checks = {check.id: check for check in found.checks}
    assert checks["H-hidden"].verdict is Verdict.WARN
    assert checks["I1"].verdict is Verdict.PASS, checks["I1"].said
    assert checks["C3"].verdict is Verdict.PASS, checks["C3"].said


def test_without_a_limit_images_fall_in_l1_too():
    """A step of ℓ1 moves one pixel, so that twenty of them are no search of the whole box."""
    model, x, y = trained()
    found = audit(model, x, y, {"apgd": APGD(L1(0.8), steps=50)})
    checks = {check.id: check for check in found.checks}
    assert checks["C3"].verdict is Verdict.PASS, checks["C3"].said
    assert found.word == "believable"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", [1e-12, 1e-30])
@pytest.mark.parametrize("attack", [PGD(Linf(0.05)), DDN(L2(math.inf), steps=40)])
def test_a_cross_entropy_of_tiny_logits_is_seen(scale, attack):
    """Also where an attack without a limit leaves next to nothing: the scale is the model's."""
    _, x, y = trained()
    config = EvaluationConfig(audit=math.inf, hidden=False)
    found = audit(Behind(after=lambda z: scale * z), x[:24], y[:24], [attack], config=config)
    (check,) = [check for check in found.checks if check.id == "H-underflow"]
    assert check.verdict is Verdict.FAIL
    assert found.word == "not believable"


@pytest.mark.filterwarnings("ignore")
def test_logits_that_differ_in_their_last_digits_are_seen_whatever_is_ascended():
    _, x, y = trained()
    config = EvaluationConfig(audit=math.inf, hidden=False)
    attack = PGD(Linf(0.05), goal=Untargeted(margin_of))
    found = audit(Behind(after=lambda z: 1e6 + z), x[:24], y[:24], [attack], config=config)
    (check,) = [check for check in found.checks if check.id == "H-underflow"]
    assert check.verdict is Verdict.FAIL


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_bears_no_hook_ends_no_audit():
    network, x, y = trained()
    network = torch.jit.trace(network, x[:8])
    found = audit(network, x[:8], y[:8], [PGD(Linf(0.05), steps=20)])
    assert found.checks
