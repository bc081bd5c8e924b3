import copy
import math
import re
import warnings
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import holdfast
from holdfast import attacks, goals, losses
from holdfast.attacks import PGD, RFGSM, Attack, SecondOrder, Trace, against_randomness
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import (
    AttackError,
    HoldfastError,
    InputError,
    InputTypeError,
    ModelError,
)
from holdfast.gradients import Average, UnitDraw
from holdfast.threat import L1, L2, Linf
from holdfast.types import Threat
from tests.budget import within
from tests.cases import (
    ATTACKS,
    EACH_NORM,
    FIXED_BUDGET,
    LIMITED,
    MINIMUM_NORM,
    NOT_ATTACKS,
    THREATS,
)
from tests.toys import Plateau, Saturated, Wrapped, images, random_linear, small_network, two_class

each_attack = pytest.mark.parametrize("case", ATTACKS, ids=str)


def in_each_norm(pairs):
    names = [f"{case}-{norm}" for case, norm in pairs]
    return pytest.mark.parametrize(("case", "norm"), pairs, ids=names)


def some_threat(case, fraction=1.0):
    """A threat of moderate size in the first of the norms that an attack is defined in."""
    norm = "l2" if "l2" in case.norms else case.norms[0]
    return THREATS[norm](fraction * {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 4.0}[norm])


def test_every_exported_attack_has_a_case():
    found = {name: getattr(attacks, name) for name in attacks.__all__}
    kinds = {name for name, kind in found.items() if isinstance(kind, type)}
    exported = {name for name in kinds if issubclass(found[name], Attack)}
    named = {made.__name__ for made in attacks.ATTACKS.values()}
    assert exported | named == {case.name for case in ATTACKS} | NOT_ATTACKS


@in_each_norm(LIMITED)
@settings(max_examples=12)  # each call proves the same again, in Holdfast's own arithmetic
@given(
    fraction=st.sampled_from([0.0, 0.004, 0.1, 1.0, 10.0]),
    shape=st.sampled_from([(1, 4, 4), (3, 5, 2), (7,)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    count=st.integers(1, 4),
    corners=st.booleans(),
)
def test_budget_and_box_are_held(case, norm, fraction, shape, dtype, count, corners):
    size = math.prod(shape)
    eps = fraction * {"linf": 1.0, "l2": math.sqrt(size), "l1": size, "l0": size}[norm]
    eps = float(math.ceil(eps)) if norm == "l0" else eps
    x = images(count, shape).to(dtype)
    x = x.round() if corners else x
    threat = THREATS[norm](eps)
    model = random_linear(3, size)
    x_adv = case.make(threat)(model, x, torch.zeros(count, dtype=torch.int64))
    assert x_adv.shape == x.shape
    assert x_adv.dtype == dtype
    assert within(x_adv, x, norm, eps)


@each_attack
def test_an_attack_says_where_it_is_made_in_which_norms_it_is_not_defined(case):
    """Rather than to step by lengths that mean nothing there."""
    for norm, threat in THREATS.items():
        if norm in case.norms:
            assert case.make(threat(4.0)).threat.name == norm
        else:
            with pytest.raises(InputError, match=f" in {norm}[, ]"):
                case.make(threat(4.0))


@in_each_norm(EACH_NORM)
def test_an_example_does_not_depend_on_its_batch(case, norm):
    """Nor do its draws of a model that draws, or the passes that are counted for it."""
    network, x = small_network().double(), images(6).double()  # no decision hangs on rounding
    y = network(x).argmax(dim=1)
    model = nn.Sequential(GaussianNoise(1e-3), network).eval()
    attack = case.make(THREATS[norm]({"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 4.0}[norm]))
    counted = Counted(model, torch.arange(6))
    whole = attack(counted, x, y, seed=5)
    for i in (0, 4):
        one = Counted(model, torch.tensor([i]))
        alone = attack(one, x[i : i + 1], y[i : i + 1], seed=5, index=torch.tensor([i]))
        assert torch.allclose(alone, whole[i : i + 1], atol=1e-5)
        assert one.forwards.item() == counted.forwards[i]
        assert one.backwards.item() == counted.backwards[i]


@each_attack
def test_the_seed_decides(case):
    model, x = small_network(), images(4)
    y = model(x).argmax(dim=1)
    # What looks for the smallest perturbation and finds none returns the image, for any seed.
    threat = some_threat(case, fraction=1.0 if case.within is None else 100.0)
    attack = case.make(threat)
    first = attack(model, x, y, seed=1)
    assert torch.equal(first, attack(model, x, y, seed=1))
    assert torch.equal(first, attack(model, x, y, seed=2)) == case.deterministic


@in_each_norm(EACH_NORM)
@pytest.mark.parametrize("stochastic", [False, True])
def test_the_model_is_left_as_it_was(case, norm, stochastic):
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(64, 4))
    model.eval()
    if stochastic:
        model[2].train()  # a layer that draws from the global generator
    before = copy.deepcopy(model.state_dict())
    modes = [layer.training for layer in model.modules()]
    state = torch.get_rng_state()
    x, y = images(3), torch.zeros(3, dtype=torch.int64)
    kept = x.clone()
    context = pytest.warns(UserWarning, match="training mode") if stochastic else _nothing()
    with context:
        case.make(THREATS[norm](2.0 if norm == "l0" else 0.2))(model, x, y)
    assert torch.equal(x, kept)
    assert [layer.training for layer in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_is_left_as_it_was_when_an_attack_raises():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = small_network(), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 2:
                raise ZeroDivisionError
            return self.inner(x)

    model = Fails().train()
    with pytest.warns(UserWarning, match="training mode"), pytest.raises(ModelError):
        PGD(Linf(0.1), early_stop=False)(model, images(2), torch.tensor([0, 1]))
    assert model.training
    assert model.inner.training


@in_each_norm(FIXED_BUDGET)
def test_the_optimum_of_a_linear_model_is_reached(case, norm):
    """The margin can fall by eps · ‖w‖_q and no more, 1/p + 1/q = 1; the box does not bind."""
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(5, margin=0.4)
    eps = {"linf": 0.05, "l2": 0.2, "l1": 0.3}[norm]
    dual = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    reach = eps * float(normal.norm(dual))
    score = x.flatten(1) @ normal
    model = two_class(normal, float(score.min()) - 1.5 * reach)  # nothing is fooled on the way
    y = torch.ones(5, dtype=torch.int64)
    x_adv = case.make(THREATS[norm](eps))(model, x, y)
    fall = score - x_adv.flatten(1) @ normal
    assert (fall <= reach * (1 + 1e-4)).all()
    if case.exact_on_linear:
        assert (fall >= reach * 0.95).all()
    else:
        assert (fall > 0).all()


@in_each_norm(MINIMUM_NORM)
def test_the_smallest_perturbation_of_a_linear_model_is_found(case, norm):
    """The plane lies at distance margin / ‖w‖_q, 1/p + 1/q = 1; the box does not bind."""
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(5, margin=0.4)
    reach = {"linf": 0.05, "l2": 0.2, "l1": 0.3}[norm]
    dual = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    score = x.flatten(1) @ normal
    model = two_class(normal, float(score.min()) - reach * float(normal.norm(dual)))
    best = (score - score.min()) / normal.norm(dual) + reach
    x_adv = case.make(THREATS[norm](math.inf))(model, x, torch.ones(5, dtype=torch.int64))
    assert (model(x_adv).argmax(dim=1) == 0).all()
    distance = THREATS[norm](1.0).distance(x_adv, x)
    assert (distance >= best * (1 - 1e-4)).all()
    assert (distance <= best * (1 + case.within)).all()
    small = case.make(THREATS[norm](reach * 0.9))(model, x, torch.ones(5, dtype=torch.int64))
    assert torch.equal(small, x)  # no point that reaches the goal is in reach


@each_attack
@pytest.mark.parametrize("scale", [1e8, 1e30, 0.0])
def test_vanishing_and_overflowing_gradients_give_no_nan(case, scale):
    model, x = Saturated(random_linear(3, 36), scale), images(3)
    y = model(x).argmax(dim=1)
    x_adv = case.make(some_threat(case))(model, x, y)
    assert x_adv.isfinite().all()


def test_fgsm_is_the_sign_step():
    model, x, y = small_network(), images(5, margin=0.2), torch.tensor([0, 1, 2, 3, 0])
    variable = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(losses.cross_entropy(model(variable), y).sum(), variable)
    assert torch.allclose(attacks.FGSM(Linf(0.1))(model, x, y), x + 0.1 * grad.sign(), atol=1e-6)
    unit = grad / grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(attacks.FGSM(L2(0.1))(model, x, y), x + 0.1 * unit, atol=1e-6)


def test_step_ll_steps_towards_the_least_likely_class():
    model, x, y = small_network(), images(5, margin=0.2), torch.zeros(5, dtype=torch.int64)
    variable = x.clone().requires_grad_()
    least = model(x).argmin(dim=1)
    (grad,) = torch.autograd.grad(losses.cross_entropy(model(variable), least).sum(), variable)
    assert torch.allclose(attacks.StepLL(Linf(0.1))(model, x, y), x - 0.1 * grad.sign(), atol=1e-6)


def test_r_fgsm_takes_both_steps():
    """EAT equation 7: every pixel has moved by alpha and then by eps - alpha, apart or together."""
    model, x, y = small_network(), images(5, margin=0.2), torch.zeros(5, dtype=torch.int64)
    seen = []
    x_adv = RFGSM(Linf(0.1), alpha=0.03)(model, x, y, callback=seen.append)
    start = seen[0].x - x
    assert torch.allclose(start.abs(), torch.full_like(start, 0.03), atol=1e-6)
    assert torch.allclose((x_adv - x - start).abs(), torch.full_like(x, 0.07), atol=1e-6)
    assert torch.equal((x_adv - x - start).sign(), seen[0].grad.sign())
    assert len(seen) == 1
    assert 0.3 < float((start > 0).float().mean()) < 0.7


def test_r_fgsm_splits_its_budget():
    with pytest.raises(InputError, match="alpha is"):
        RFGSM(Linf(0.1), alpha=0.2)
    assert RFGSM(Linf(0.3)).engine().step_size == pytest.approx(0.15)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 7])
def test_pgd_equals_foolbox(norm, steps):
    foolbox = pytest.importorskip("foolbox")
    model, x = small_network(classes=5), images(16)
    y = model(x).argmax(dim=1)
    eps = {"linf": 0.1, "l2": 0.7}[norm]
    theirs = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    expected, *_ = theirs(rel_stepsize=0.25, steps=steps, random_start=False)(
        foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=eps
    )
    ours = PGD(
        THREATS[norm](eps),
        steps=steps,
        step_size=0.25 * eps,
        random_start=False,
        early_stop=False,
    )(model, x, y)
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_mim_is_the_loop_of_its_paper(decay):
    """g ← μ g + ∇L / ‖∇L‖₁, x ← x + α sign(g); the sign is taken of the sum."""
    model, x, y = small_network(), images(5, margin=0.3), torch.tensor([0, 1, 2, 3, 0])
    expected, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(6):
        expected = expected.detach().requires_grad_()
        loss = losses.cross_entropy(model(expected), y).sum()
        (grad,) = torch.autograd.grad(loss, expected)
        velocity = decay * velocity + grad / grad.abs().sum(dim=(1, 2, 3), keepdim=True)
        expected = expected + 0.2 / 6 * velocity.sign()
    ours = attacks.MIM(Linf(0.2), steps=6, decay=decay, early_stop=False)(model, x, y)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_momentum_stays_with_its_example_when_others_are_dropped():
    model, x = small_network(), images(30)
    y = model(x).argmax(dim=1)
    attack = attacks.MIM(Linf(0.15), steps=8)
    whole = attack(model, x, y)
    for i in range(0, 30, 7):
        assert torch.allclose(attack(model, x[i : i + 1], y[i : i + 1]), whole[i], atol=1e-5)


def test_second_order_draws_fresh_noise_at_every_step():
    model, x, y = small_network(), images(3), torch.tensor([0, 1, 2])
    seen = []
    attack = SecondOrder(L2(1.0), steps=2, step_size=0.0, samples=2, early_stop=False)
    attack(model, x, y, callback=seen.append)
    assert torch.equal(seen[0].x, seen[1].x)
    assert not torch.allclose(seen[0].grad, seen[1].grad)


def test_second_order_is_pgd_with_another_gradient():
    attack = SecondOrder(L2(1.0), steps=3, sigma=0.15, samples=4)
    assert attack.engine() == PGD(
        L2(1.0), steps=3, random_start=False, gradient=Average(samples=4, noise=0.15)
    )


def test_the_single_draw_of_second_order_is_pgd_with_another_gradient_also_under_randomness():
    attack = attacks.SecondOrderUnitDraw(L2(1.0), steps=3, xi=0.5)
    plain = PGD(L2(1.0), steps=3, random_start=False, gradient=UnitDraw(xi=0.5))
    assert attack.engine() == plain
    averaged = UnitDraw(xi=0.5, gradient=Average(samples=7))
    assert against_randomness(attack, 7).engine().gradient == averaged
    assert against_randomness(plain, 7).gradient == averaged


def test_the_noise_of_second_order_falls_from_its_first_to_its_last():
    """On a linear score the gradient is the same everywhere, so the noise shows in the value."""
    x, weight = torch.full((200, 1, 1, 1), 0.5), torch.tensor([[0.0], [1.0]])
    model = Wrapped(lambda z: z.flatten(1) @ weight.T)
    seen = []
    SecondOrder(
        L2(1.0),
        steps=9,
        step_size=0.0,
        sigma=(0.4, 0.025),
        samples=1,
        goal=goals.margin,
        early_stop=False,
    )(model, x, torch.zeros(200, dtype=torch.int64), callback=seen.append)
    for step, deviation in enumerate(seen):
        expected = 0.4 * (1 / 16) ** (step / 9)
        assert deviation.value.std().item() == pytest.approx(expected, rel=0.25)


def test_the_noise_of_second_order_begins_lower_in_a_small_ball():
    threats = (L2(2.0), L2(0.5), L2(0.1), Linf(0.1))
    noise = [SecondOrder(threat).engine().gradient.noise for threat in threats]
    assert noise == [(0.3, 0.05), (0.15, 0.05), (0.05, 0.05), (0.3, 0.05)]


@pytest.mark.parametrize("threat", [Linf(0.3), L2(0.3)])
def test_second_order_leaves_a_plateau_that_stops_first_order(threat):
    """A planted weakness: the loss is flat around the image, the boundary is within reach."""
    x = torch.full((8, 1, 1, 2), 0.5)
    model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
    first = PGD(threat, steps=40, random_start=False)(model, x, y)
    second = SecondOrder(threat, steps=40, sigma=0.2)(model, x, y)
    assert (model(first).argmax(dim=1) == y).all()
    assert (model(second).argmax(dim=1) != y).all()


def test_a_saturated_softmax_does_not_weaken_the_margin():
    """Scaling the logits masks the gradient of the cross-entropy, and of nothing else."""
    model, x = small_network(), images(40)
    y = model(x).argmax(dim=1)
    masked = Saturated(model, 1e4)

    def robust(target, goal):
        x_adv = PGD(Linf(0.15), steps=20, goal=goal)(target, x, y)
        return int((model(x_adv).argmax(dim=1) == y).sum())

    honest = robust(model, goals.margin)
    assert honest < 20
    assert robust(masked, goals.margin) == honest
    assert robust(masked, goals.dlr) <= honest + 2
    assert robust(masked, goals.cross_entropy) > honest + 10  # else nothing was masked


def test_adding_a_constant_to_the_logits_changes_no_attack():
    """In float64 and for few steps, since rounding alone may turn a long walk elsewhere."""
    model, x = small_network().double(), images(6).double()
    y = model(x).argmax(dim=1)

    shifted = Wrapped(lambda x: model(x) - 20)
    for case in ATTACKS:
        attack = case.make(some_threat(case))
        if isinstance(getattr(attack, "steps", None), int):
            attack = replace(attack, steps=min(attack.steps, 20))
        assert torch.allclose(attack(model, x, y), attack(shifted, x, y), atol=1e-4), attack


def test_early_stopping_returns_the_first_fooling_iterate_and_saves_calls():
    model, x = small_network(), images(30)
    y = model(x).argmax(dim=1)
    stopping, spending = (
        PGD(Linf(0.2), steps=10, random_start=False, early_stop=flag) for flag in (True, False)
    )
    calls, every = [], []
    stopped = stopping(model, x, y, callback=lambda step: calls.append(len(step.position)))
    trace = Trace()
    spent = spending(model, x, y, callback=lambda step: (trace(step), every.append(step.x)))
    fooled = model(stopped).argmax(dim=1) != y
    assert sum(calls) < 10 * len(x)
    assert fooled.sum() >= (model(spent).argmax(dim=1) != y).sum()
    for i in torch.nonzero(trace.fooled[-1])[:, 0].tolist():
        first = int(trace.fooled[:, i].int().argmax())
        assert torch.allclose(stopped[i], every[first][i], atol=1e-5)


def test_early_stopping_leaves_a_wrong_image_alone():
    model, x = small_network(), images(5)
    y = (model(x).argmax(dim=1) + 1) % 4
    assert torch.equal(attacks.IFGSM(Linf(0.1))(model, x, y), x)


def test_restarts_attack_what_is_still_robust():
    model, x = small_network(), images(40)
    y = model(x).argmax(dim=1)
    seen = {}

    def watch(step):
        seen.setdefault(len(seen) if step.step == 0 else len(seen) - 1, set()).update(
            step.position.tolist()
        )

    attack = PGD(Linf(0.08), steps=2, restarts=4)
    x_adv = attack(model, x, y, callback=watch)
    once = PGD(Linf(0.08), steps=2)(model, x, y)
    runs = list(seen.values())
    assert runs[0] == set(range(40))
    for earlier, later in pairwise(runs):
        assert later <= earlier
    robust = set(torch.nonzero(model(x_adv).argmax(dim=1) == y)[:, 0].tolist())
    assert robust <= runs[-1] < runs[0]
    assert len(robust) <= int((model(once).argmax(dim=1) == y).sum())


def test_restarts_of_a_targeted_attack_go_on_until_the_target_is_reached():
    model, x = small_network(), images(20)
    y = model(x).argmax(dim=1)
    goal = goals.toward((y + 1) % 4)
    one, many = (
        PGD(Linf(0.15), steps=3, restarts=count, goal=goal)(model, x, y) for count in (1, 6)
    )
    hits = [int((model(x_adv).argmax(dim=1) == (y + 1) % 4).sum()) for x_adv in (one, many)]
    assert hits[1] >= hits[0]


def test_trace_has_a_line_for_each_iteration():
    model, x = small_network(), images(6)
    y = model(x).argmax(dim=1)
    trace = Trace()
    PGD(L2(0.3), steps=5, early_stop=False)(model, x, y, callback=trace)
    assert trace.loss.shape == trace.grad_norm.shape == trace.fooled.shape == (5, 6)
    assert trace.loss.isfinite().all()
    assert (trace.loss[-1] > trace.loss[0]).all()
    assert (trace.fooled[1:] >= trace.fooled[:-1]).all()
    with pytest.raises(InputError, match="empty"):
        _ = Trace().loss


def test_trace_of_dropped_examples_is_nan():
    model, x = small_network(), images(30)
    y = model(x).argmax(dim=1)
    trace = Trace()
    PGD(Linf(0.2), steps=10)(model, x, y, callback=trace)
    dropped = trace.loss[-1].isnan()
    assert dropped.any()
    assert trace.fooled[-1][dropped].all()


def test_targeted_attacks_reach_the_target():
    model, x = small_network(), images(20)
    y = model(x).argmax(dim=1)
    for loss in (losses.towards_cross_entropy, losses.towards_margin, losses.towards_dlr):
        target = (y + 2) % 4
        x_adv = PGD(Linf(0.5), steps=30, goal=goals.toward(target, loss))(model, x, y)
        assert (model(x_adv).argmax(dim=1) == target).float().mean() > 0.8


@pytest.mark.parametrize("classes", [2, 3])
@each_attack
def test_few_classes(case, classes):
    model, x = small_network(classes=classes), images(4)
    attack = case.make(some_threat(case))
    assert attack(model, x, torch.zeros(4, dtype=torch.int64)).isfinite().all()


def test_a_stochastic_model_is_attacked_through_its_average():
    attack = against_randomness(PGD(Linf(0.1), restarts=2), 7)
    assert attack.engine().attack.gradient == Average(samples=7)
    assert not attack.engine().attack.early_stop
    second = against_randomness(SecondOrder(L2(1.0)), 7)
    assert second.engine().gradient == Average(samples=10, noise=(0.3, 0.05))
    assert not second.early_stop


def test_a_stochastic_model_gives_the_same_result_for_the_same_seed_in_any_batch():
    model = nn.Sequential(GaussianNoise(0.3), small_network())
    x, y = images(6), torch.zeros(6, dtype=torch.int64)
    attack = against_randomness(PGD(Linf(0.1), steps=5), 4)
    whole = attack(model, x, y)
    part = attack(model, x[2:4], y[2:4], index=torch.tensor([2, 3]))
    assert torch.allclose(part, whole[2:4], atol=1e-5)


def test_half_precision_images():
    model = random_linear(3, 16)
    for dtype in (torch.float16, torch.bfloat16):
        x = images(3, (1, 4, 4)).to(dtype)
        x_adv = PGD(Linf(0.1), steps=5)(model, x, torch.zeros(3, dtype=torch.int64))
        assert x_adv.dtype == dtype


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they may change some day
        return torch.nested.nested_tensor([*images(3)])


@pytest.mark.usefixtures("unchecked")
class TestBadInput:
    model = small_network()
    x, y = images(3), torch.tensor([0, 1, 2])

    @pytest.mark.parametrize(
        ("x", "error", "words"),
        [
            (images(3) + 0.5, InputError, r"image \d has values"),
            (images(3) - 0.5, InputError, r"image 0 has values"),
            (images(3).index_fill(0, torch.tensor(1), torch.nan), InputError, "image 1 .*NaN"),
            ((images(3) * 255).to(torch.uint8), InputTypeError, "torch.uint8"),
            (images(3).numpy(), InputTypeError, "ndarray"),
            (images(3)[:0], InputError, "at least one image"),
            (torch.tensor(0.5), InputError, "at least one image"),
            (images(3).to_sparse(), InputTypeError, r"sparse .* to_dense\(\)"),
            (images(3).to("meta"), InputTypeError, "meta device"),
            (nested(), InputTypeError, "nested"),
            (images(3).to(torch.float8_e4m3fn), InputTypeError, r"float8.* use x\.float\(\)\."),
        ],
    )
    def test_images(self, x, error, words):
        with pytest.raises(error, match=words):
            PGD(Linf(0.1))(self.model, x, self.y)

    @pytest.mark.parametrize(
        ("y", "error", "words"),
        [
            (torch.tensor([0, 1]), InputError, r"\(2,\).*3 images"),
            (torch.tensor([[0], [1], [2]]), InputError, r"\(3, 1\)"),
            (torch.tensor([0, -1, 2]), InputError, "label 1 is -1"),
            (torch.tensor([0, 1, 4]), InputError, "label 2 is 4.*4 classes"),
            (torch.tensor([0.0, 1.0, 2.0]), InputTypeError, "float32"),
            ([0, 1, 2], InputTypeError, "list"),
            (torch.tensor([True, False, True]), InputTypeError, "bool"),
            (torch.tensor([0, 1, 2]).to_sparse(), InputTypeError, "labels are a sparse"),
            (torch.tensor([0, 1, 2], device="meta"), InputTypeError, "labels are on the meta"),
            (torch.tensor([0, 1, 9], dtype=torch.uint16), InputError, "label 2 is 9"),
        ],
    )
    def test_labels(self, y, error, words):
        with pytest.raises(error, match=words):
            PGD(Linf(0.1))(self.model, self.x, y)

    @pytest.mark.parametrize(
        ("output", "words"),
        [
            (lambda x: x, r"shape \(3, 1, 6, 6\)"),
            (lambda x: x.flatten(1)[:, 0], r"shape \(3,\)"),
            (lambda x: x.flatten(1)[:2, :4], r"shape \(2, 4\)"),
            (lambda x: x.flatten(1)[:, :1], r"at least 2 classes"),
            (lambda x: (x, x), "tuple"),
            (lambda x: x.flatten(1)[:, :4].index_fill(0, torch.tensor(1), torch.nan), "image 1"),
            (lambda x: {"logits": x.flatten(1)}, "dict"),
            (lambda _: None, "NoneType"),
            (lambda x: x.flatten(1).long(), "int64"),
            (lambda x: x.flatten(1) > 0.5, "bool"),
            (lambda x: x.flatten(1) + 0j, "complex64"),
            (lambda x: x.flatten(1).to(torch.float8_e4m3fn), "float8"),
            (lambda x: x.flatten(1).to_sparse(), "sparse"),
            (lambda x: x.flatten(1).to("meta"), "meta"),
        ],
    )
    def test_models(self, output, words):
        with pytest.raises(ModelError, match=words):
            PGD(Linf(0.1))(Wrapped(output), self.x, self.y)

    @pytest.mark.parametrize(
        ("model", "error", "words"),
        [
            (small_network().to("meta"), ModelError, "weights are on the meta device"),
            (lambda x: x.flatten(1), InputTypeError, "a function, .*Module"),
            (nn.Linear, InputTypeError, r"the class Linear, .* Linear\(\.\.\.\)"),
            (None, InputTypeError, "NoneType"),
        ],
    )
    def test_what_is_no_model(self, model, error, words):
        for attack in (PGD(Linf(0.1)), attacks.WorstCase(Linf(0.1))):
            with pytest.raises(error, match=words):
                attack(model, self.x, self.y)

    @pytest.mark.parametrize("seed", [2**64, -(2**70), 1.5, True, "0", None])
    def test_seeds(self, seed):
        with pytest.raises(HoldfastError, match=f"seed is .*{seed}"):
            PGD(Linf(0.1))(self.model, self.x, self.y, seed=seed)

    def test_inference_mode(self):
        with torch.inference_mode(), pytest.raises(HoldfastError, match="inference_mode"):
            PGD(Linf(0.1))(self.model, self.x, self.y)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: PGD(Linf(0.1), steps=0),
            lambda: PGD(Linf(0.1), step_size=-1.0),
            lambda: PGD(Linf(math.inf)),
            lambda: PGD(Linf(0.1), restarts=0),
            lambda: SecondOrder(L2(1.0), sigma=0.0),
            lambda: SecondOrder(L2(1.0), sigma=(0.3, 0.0)),
            lambda: SecondOrder(L2(1.0), samples=0),
            lambda: attacks.IFGSM(L1(1.0), steps=0),
            lambda: PGD(Linf(0.1), restarts=10**9),
        ],
    )
    def test_parameters(self, make):
        with pytest.raises(InputError):
            make()

    @pytest.mark.parametrize("make", [PGD, attacks.FGSM, RFGSM, attacks.RStepLL, attacks.ODI])
    def test_a_step_that_follows_from_no_limit(self, make):
        """Of which not every attack has a parameter."""
        with pytest.raises(InputError, match=r"step_size is inf, .* give a finite eps, or"):
            make(Linf(math.inf))

    @pytest.mark.parametrize(
        "index",
        [
            torch.arange(2),
            torch.arange(3.0),
            torch.ones(3, dtype=torch.bool),
            torch.arange(3, device="meta"),
            "abc",
        ],
    )
    def test_index(self, index):
        with pytest.raises(HoldfastError, match="index"):
            PGD(Linf(0.1))(self.model, self.x, self.y, index=index)

    @pytest.mark.parametrize(
        ("made", "words"),
        [
            (lambda x: x[:2], r"shape \(3, 1, 6, 6\) and returned shape \(2, 1, 6, 6\)"),
            (lambda x: x[0], r"returned shape \(1, 6, 6\)"),
            (lambda x: x.double(), "returned type torch.float64"),
            (lambda x: x.to("meta"), "returned device meta"),
            (lambda _: None, "returned a NoneType"),
            (lambda x: x.numpy(), "returned an ndarray"),
        ],
    )
    def test_what_an_attack_of_ones_own_returns(self, made, words):
        @dataclass(frozen=True, kw_only=True)
        class Own(Attack):
            threat: Threat

            def perturb(self, model, x0, y, rng, callback=None):
                return made(x0)

        with pytest.raises(AttackError, match=f"Own.*{words}"):
            Own(threat=Linf(0.1))(self.model, self.x, self.y)


class InPlace(nn.Module):
    """Normalises the images that it is given, and leaves them so."""

    def __init__(self):
        super().__init__()
        self.network = small_network()

    def forward(self, x):
        return self.network(x.sub_(0.5))


@dataclass(frozen=True, kw_only=True)
class Careless(Attack):
    """Asks the model itself, and changes what it was given."""

    threat: Threat

    def perturb(self, model, x0, y, rng, callback=None):
        with torch.no_grad():
            model(x0)
        return x0.zero_().add_(0.5)


def test_nothing_is_left_in_the_images():
    model, x = InPlace().eval(), images(3, margin=0.3)
    given, y = x.clone().requires_grad_(), torch.tensor([0, 1, 2])
    for attack in (PGD(Linf(0.1), steps=3), Careless(threat=Linf(1.0))):
        x_adv = attack(model, given, y)
        assert not x_adv.requires_grad
        assert torch.equal(given, x)
        assert given.grad is None


@pytest.mark.parametrize(
    "lie",
    [
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x[:1].expand(3, *x.shape[1:]),
    ],
)
def test_how_images_lie_in_memory_changes_nothing(lie):
    model, x, y = small_network((2, 6, 6)), lie(images(3, (2, 6, 6))), torch.tensor([0, 1, 2])
    whole = x.clone(memory_format=torch.contiguous_format)
    attack = PGD(Linf(0.1), steps=3, early_stop=False)
    assert torch.allclose(attack(model, x, y), attack(model, whole, y), atol=1e-5)
    assert torch.equal(x, whole)


def test_an_attack_that_breaks_its_promise_is_found_out():
    @dataclass(frozen=True, kw_only=True)
    class Cheat(Attack):
        threat: Threat
        add: float

        def perturb(self, model, x0, y, rng, callback=None):
            return x0 + (self.add if math.isfinite(self.add) else math.nan)

    x = images(2, margin=0.3)
    with pytest.raises(HoldfastError, match=r"beyond its budget"):
        Cheat(threat=Linf(0.1), add=0.11)(small_network(), x, torch.tensor([0, 1]))
    with pytest.raises(HoldfastError, match=r"outside \[0, 1\]"):
        Cheat(threat=Linf(1.0), add=0.8)(small_network(), x, torch.tensor([0, 1]))
    with pytest.raises(HoldfastError, match="NaN"):
        Cheat(threat=Linf(1.0), add=math.inf)(small_network(), x, torch.tensor([0, 1]))


def test_a_notebook_shows_the_parameters_of_an_attack():
    html = PGD(Linf(0.1), steps=7)._repr_html_()
    assert "<caption>PGD</caption>" in html
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in html.split("<tr>")]
    assert ["steps", "7"] in lines
    assert ["threat", "Linf(eps=0.1)"] in lines


@pytest.mark.parametrize("case", ATTACKS, ids=str)
def test_a_record_says_all_that_an_attack_is(case):
    """It is Python that makes the attack again; a goal made of another, leave[dlr], is none."""
    modules = holdfast.threat, holdfast.goals, holdfast.gradients, holdfast.attacks
    names = {name: thing for module in modules for name, thing in vars(module).items()}
    for norm in case.norms:
        attack = case.make(THREATS[norm](1.0))
        record = repr(attack)
        if "[" not in record:
            again = eval(record, names | {"inf": math.inf})
            unsaid = {e.name: getattr(again, e.name) for e in fields(attack) if not e.repr}
            assert again == replace(attack, **unsaid)  # what its parts are called
            assert type(again) is type(attack)
        for entry in fields(attack):
            if entry.repr:
                assert f"{entry.name}={getattr(attack, entry.name)!r}" in record


def _nothing():
    from contextlib import nullcontext

    return nullcontext()
