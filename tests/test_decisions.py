"""The attacks that see only whether a point reaches the goal: Boundary and HopSkipJump."""

import copy
import functools
import math

import pytest
import torch
from torch import nn

from holdfast import goals
from holdfast.attacks import Among, Boundary, HopSkipJump, Trace
from holdfast.attacks.boundary import _on_cube, _on_sphere
from holdfast.attacks.engine.boundary_search import (
    KEPT,
    Oracle,
    find_start,
    past_the_boundary,
    to_boundary,
    uniform_noise,
)
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.threat import L1, L2, Linf
from tests import digits
from tests.toys import Saturated, Wrapped, images, small_network, two_class

BOTH = [Boundary, HopSkipJump]
FREE = L2(math.inf)


@functools.cache
def trained():
    """A network that tells four noisy patterns apart, and test images that it gets right."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 4
    pattern = torch.rand(4, 1, 6, 6, generator=generator)
    x = (pattern[y] + 0.25 * torch.randn(400, 1, 6, 6, generator=generator)).clamp(0, 1)
    model = small_network()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[:300]), y[:300]).backward()
        optimiser.step()
    right = model(x[300:]).argmax(dim=1) == y[300:]
    return model.requires_grad_(False), x[300:][right][:12], y[300:][right][:12]


def oracle_of(model, x, y, threat, queries=10_000, early_stop=False):
    return Oracle(goals.margin(model, x, y), x, threat, queries=queries, early_stop=early_stop)


@pytest.mark.parametrize("threat", [FREE, Linf(math.inf)])
def test_bisection_ends_at_the_boundary_from_the_fooling_side(threat):
    normal = torch.randn(36, generator=torch.Generator().manual_seed(1))
    x0 = images(4, margin=0.3)
    model = two_class(normal, float((x0.flatten(1) @ normal).min()) - 0.5)
    y, rng = torch.ones(4, dtype=torch.int64), Stream.of(0, torch.arange(4))
    oracle = oracle_of(model, x0, y, threat)
    x, found = find_start(oracle, x0, uniform_noise, 50, threat, rng)
    assert found.all()
    start, spent = x.clone(), oracle.left.clone()
    to_boundary(oracle, x, x0, torch.arange(4), threat, rng)
    assert torch.equal(spent - oracle.left, torch.full((4,), 10 if threat.p == 2 else 11))
    assert (model(x).argmax(dim=1) == 0).all()
    fraction = threat.distance(x, x0) / threat.distance(start, x0)
    inner = x0 + (x - x0) * (1 - 2 / 1000 / fraction.float()).view(-1, 1, 1, 1)
    assert (model(inner).argmax(dim=1) == 1).all()
    if threat.p == 2:
        margins = (model(start) - model(x0))[:, 1] / -(model(x0)[:, 1])
        assert torch.allclose(fraction, 1 / margins.double(), atol=1e-3)  # where the segment is cut


@pytest.mark.usefixtures("unchecked")
def test_what_was_found_fools_in_any_batch_and_in_float64():
    """On images so small the walk ends within its budget where rounding decides."""
    model, x = small_network((1, 2, 2)), images(12, (1, 2, 2))
    y, exact = model(x).argmax(dim=1), copy.deepcopy(model).double()
    attack = Boundary(FREE, queries=500)
    whole, part = attack(model, x, y), attack(model, x[:4], y[:4])
    for x_adv, label in ((whole, y), (part, y[:4])):
        for size in (12, 4, 1):
            answer = torch.cat([model(some) for some in x_adv.split(size)]).argmax(dim=1)
            assert (answer != label).all()
        assert (exact(x_adv.double()).argmax(dim=1) != label).all()
    assert torch.allclose(part, whole[:4], atol=1e-3)
    nearer = x + (whole - x) / 1.01  # a small fraction of the way back
    assert torch.equal(exact(nearer.double()).argmax(dim=1), y)


def test_stepping_past_the_boundary_leaves_a_hair_and_stays_within_the_threat():
    """The boundary lies at 0.5; rounding flatters what is asked in float32 by 5e-6."""
    x0 = torch.full((3, 1, 1, 1), 0.25)

    def flattered(x):
        beyond = x.flatten(1).double() - (0.5 if x.dtype == torch.float64 else 0.499995)
        return torch.cat([-beyond, beyond], dim=1)

    model, y = Wrapped(flattered), torch.zeros(3, dtype=torch.int64)
    rng = Stream.of(0, torch.arange(3))
    for threat, ends in ((FREE, 0.500248), (L2(0.25005), 0.50005), (L2(0.25), 0.499998)):
        oracle = oracle_of(model, x0, y, threat)
        assert oracle.ask(torch.full_like(x0, 0.499998), torch.arange(3), rng).all()
        result = past_the_boundary(oracle, rng)
        assert torch.allclose(result, torch.tensor(ends), atol=1e-6)
        assert (threat.distance(result, x0) <= threat.eps * (1 + 1e-6)).all()


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("queries", [1, 7, 40, 250])
def test_the_budget_is_never_exceeded_and_is_used(make, queries):
    model, x, y = trained()
    counted = Counted(model, torch.arange(len(x)))
    make(FREE, queries=queries)(counted, x, y)
    assert (counted.forwards <= queries).all()
    assert (counted.forwards >= queries - 25).all()  # of a round begun late, nothing is of use
    assert (counted.backwards == 0).all()
    if make is Boundary:  # but for what was kept to step past the boundary, and not needed
        assert (counted.forwards > queries - KEPT).all()


@pytest.mark.parametrize("make", BOTH)
def test_a_wrong_image_is_returned_after_one_query(make):
    model, x, y = trained()
    y = torch.where(torch.arange(len(y)) % 2 == 0, (y + 1) % 4, y)
    counted = Counted(model, torch.arange(len(x)))
    x_adv = make(FREE, queries=150)(counted, x, y)
    assert torch.equal(x_adv[::2], x[::2])
    assert (counted.forwards[::2] == 1).all()
    assert (counted.forwards[1::2] > 100).all()
    assert (model(x_adv[1::2]).argmax(dim=1) != y[1::2]).all()


@pytest.mark.parametrize("make", BOTH)
def test_an_image_without_a_start_is_unchanged(make):
    """MALADE figure 13: where uniform noise never fools, the clean image is retained."""
    x, y = images(3), torch.tensor([0, 1, 0])
    model = Wrapped(lambda x: torch.tensor([[1.0, 0.0]]).expand(len(x), 2))
    counted = Counted(model, torch.arange(3))
    x_adv = make(FREE, queries=300, draws=30)(counted, x, y)
    assert torch.equal(x_adv, x)
    assert counted.forwards.tolist() == [31, 1, 31]


@pytest.mark.parametrize("make", BOTH)
def test_only_decisions_are_seen(make):
    """Any strictly rising change of the logits leaves the result as it was, bit by bit."""
    model, x, y = trained()
    attack = make(FREE, queries=100 if make is Boundary else 300)
    bent = Saturated(model, 1024.0)  # a power of two rounds nothing
    assert torch.equal(attack(model, x, y), attack(bent, x, y))
    hard = Wrapped(lambda x: nn.functional.one_hot(model(x).argmax(dim=1), 4).float())
    assert torch.equal(attack(model, x, y), attack(hard, x, y))


@pytest.mark.parametrize("threat", [FREE, Linf(math.inf)])
@pytest.mark.parametrize("make", BOTH)
def test_a_larger_budget_finds_no_farther_point(make, threat):
    model, x, y = trained()
    small, large = (
        threat.distance(make(threat, queries=queries)(model, x, y), x) for queries in (100, 300)
    )
    assert large.median() < 0.9 * small.median()
    if make is Boundary:  # the walk is the same, as far as it goes
        assert (large <= small + 1e-6).all()


@pytest.mark.parametrize("make", BOTH)
def test_early_stopping_saves_queries_and_loses_no_image(make):
    model, x, y = trained()
    index = torch.arange(len(x))
    free = FREE.distance(make(FREE, queries=160)(model, x, y), x)
    threat = L2(float(free.median()))
    counted = {flag: Counted(model, index) for flag in (False, True)}
    result = {
        flag: make(threat, queries=160, early_stop=flag)(counted[flag], x, y) for flag in counted
    }
    fooled = {flag: model(z).argmax(dim=1) != y for flag, z in result.items()}
    assert torch.equal(fooled[True], fooled[False])
    assert 0 < fooled[True].sum() < len(x)
    assert (threat.distance(result[True], x) <= threat.eps * (1 + 1e-6)).all()
    stopped, spent = (counted[flag].forwards for flag in (True, False))
    assert (stopped[fooled[True]] < spent[fooled[True]]).any()
    assert torch.equal(stopped[~fooled[True]], spent[~fooled[True]])
    assert torch.equal(result[True][~fooled[True]], x[~fooled[True]])


@pytest.mark.parametrize(
    "attack",
    [
        lambda goal, start: Boundary(FREE, queries=400, goal=goal, start=start),
        lambda goal, start: HopSkipJump(FREE, queries=400, goal=goal, start=start),
        lambda goal, start: HopSkipJump(Linf(math.inf), queries=400, goal=goal, start=start),
    ],
)
def test_targeted_from_images_of_the_target(attack):
    model, x, y = trained()
    target = (y + 1) % 4
    made = attack(goals.toward(target), Among(x))
    counted = Counted(model, torch.arange(len(x)))
    x_adv = made(counted, x, y)
    assert (model(x_adv).argmax(dim=1) == target).all()
    assert (counted.forwards <= 400).all()
    start = torch.stack([x[y == c][0] for c in target.tolist()])
    assert (made.threat.distance(x_adv, x) < 0.7 * made.threat.distance(start, x)).all()


@pytest.mark.parametrize("make", BOTH)
def test_a_trace_shows_the_distance_fall(make):
    model, x, y = trained()
    trace, seen = Trace(), []
    make(FREE, queries=250)(model, x, y, callback=lambda step: (trace(step), seen.append(step)))
    assert torch.allclose(seen[1].value.double(), -FREE.distance(seen[1].x, x[seen[1].position]))
    assert trace.loss[-1].nanmean() > trace.loss[0].nanmean()
    assert trace.grad_norm.isnan().all()
    assert trace.fooled[-1].all()


def test_the_normal_of_a_plane_is_found():
    """Each stride is along the plane's normal, up to the noise of the estimate."""
    normal = torch.randn(36, generator=torch.Generator().manual_seed(1))
    x0 = images(6, margin=0.45)
    model = two_class(normal, float((x0.flatten(1) @ normal).min()) - 0.5)
    y = torch.ones(6, dtype=torch.int64)
    x_adv = HopSkipJump(FREE, queries=8000, evaluations=1000)(model, x0, y)
    cosine = nn.functional.cosine_similarity((x0 - x_adv).flatten(1), normal[None], dim=1)
    assert (cosine > 0.98).all()


class Half(nn.Module):
    """Computes in 8 bits about images of 24, as under autocast."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(x)


@pytest.mark.parametrize("norm", [L2, Linf])
def test_probes_are_as_far_apart_as_8_bits_can_tell(norm):
    model, x, y = digits.trained(16)
    attack = HopSkipJump(norm(math.inf), queries=800)
    median = []
    for asked in (model, Half(model)):
        x_adv = attack(asked, x, y)
        assert (asked(x_adv).argmax(dim=1) != y).all()
        median.append(attack.threat.distance(x_adv, x).median())
    assert median[1] < 1.05 * median[0]


@pytest.mark.parametrize("make", BOTH)
def test_a_stochastic_model_gives_the_same_result_in_any_batch(make):
    model, x, y = trained()
    noisy = nn.Sequential(GaussianNoise(0.05), model)
    attack = make(FREE, queries=120)
    whole = attack(noisy, x, y)
    part = attack(noisy, x[4:6], y[4:6], index=torch.tensor([4, 5]))
    assert torch.allclose(part, whole[4:6], atol=1e-5)


class Record(nn.Module):
    """Another library's view of the model: remembers the closest fooling image within a budget."""

    def __init__(self, model, x0, y, p, budget):
        super().__init__()
        self.model, self.x0, self.y, self.p, self.budget = model, x0, y, p, budget
        self.asked, self.best = 0, math.inf

    def forward(self, x):
        logits = self.model(x)
        left = max(0, self.budget - self.asked)
        fooled = (logits.argmax(dim=1) != self.y)[:left]
        lengths = (x[:left] - self.x0)[fooled].flatten(1).norm(self.p, dim=1)
        self.best = min([self.best, *lengths.tolist()])
        self.asked += len(x)
        return logits


@pytest.mark.parametrize(
    ("ours", "norm"),
    [(Boundary, L2), (HopSkipJump, L2), (HopSkipJump, Linf)],
    ids=["boundary-l2", "hopskipjump-l2", "hopskipjump-linf"],
)
def test_no_farther_than_foolbox_for_as_many_queries(ours, norm):
    """By the geometric mean, least swayed by one image's luck with its start.

    HopSkipJump is the same algorithm in both, so 5 % are left to the luck of the seeds; the
    boundary attack adapts its steps from the first query on.

    Foolbox gets one image at a time: in a batch its images share a norm and a stop.
    """
    foolbox = pytest.importorskip("foolbox")
    model, x, y = trained()
    images_of, seeds, budget = (4, 1, 400) if ours is Boundary else (12, 3, 500)
    x, y = x[:images_of], y[:images_of]
    theirs = (
        foolbox.attacks.BoundaryAttack(steps=360)
        if ours is Boundary
        else foolbox.attacks.HopSkipJumpAttack(steps=4, constraint="l2" if norm is L2 else "linf")
    )
    expected = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for i in range(len(x)):
            record = Record(model, x[i : i + 1], y[i : i + 1], norm.p, budget).eval()
            theirs.run(foolbox.PyTorchModel(record, bounds=(0, 1)), x[i : i + 1], y[i : i + 1])
            assert record.asked >= budget - 10
            expected.append(record.best)
    found = []
    for seed in range(seeds):
        x_adv = ours(norm(math.inf), queries=budget)(model, x, y, seed=seed)
        assert (model(x_adv).argmax(dim=1) != y).all()
        found.append(norm(1.0).distance(x_adv, x))
    excess = torch.cat(found).log().mean() - torch.tensor(expected).log().mean()
    assert excess <= {Boundary: 0.0, HopSkipJump: 0.05}[ours]


def test_in_linf_the_walk_ends_no_farther_than_hopskipjump_for_as_many_queries():
    """By the geometric mean: each walks the cube its own way, and neither may get stuck on it."""
    model, x, y = trained()
    threat = Linf(math.inf)
    walked, jumped = (
        threat.distance(make(threat, queries=400)(model, x, y), x).log().mean() for make in BOTH
    )
    assert walked <= jumped + 0.05


def test_in_linf_the_walk_goes_on_near_a_corner_of_the_cube_until_its_budget_is_spent():
    """Few steps lead on there; if ε fell with every one that does not, the walk would end."""
    model, x, y = trained()
    x, y = x[:3], y[:3]
    counted = Counted(model, torch.arange(3))
    Boundary(Linf(math.inf), queries=2000)(counted, x, y)
    assert (counted.forwards > 2000 - KEPT).all()


def test_in_linf_a_step_stays_on_the_cube_and_ends_nearer():
    x0, rng = images(5), Stream.of(0, torch.arange(5))
    x = x0 + 0.3 * torch.sign(torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)))
    x = x.clamp(0, 1)
    before = Linf(1.0).distance(x, x0)
    for share in (1e-6, 0.1, 1.0):  # of the entries; even none of them means one
        sphere, nearer = _on_cube(x, x0, torch.full((5,), share), torch.full((5,), 0.1), rng)
        moved = (sphere != x).flatten(1).sum(dim=1)
        assert (Linf(1.0).distance(sphere, x0) <= before * (1 + 1e-6)).all()
        assert (Linf(1.0).distance(nearer, x0) <= 0.9 * before * (1 + 1e-6)).all()
        assert (moved <= max(1, 1.5 * share * x0[0].numel())).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_l2_a_step_of_its_length_stays_on_the_sphere_and_ends_nearer(dtype):
    x0, rng = images(5, margin=0.4).to(dtype), Stream.of(0, torch.arange(5))
    generator = torch.Generator().manual_seed(0)
    x = x0 + 0.02 * torch.randn(x0.shape, generator=generator).to(dtype)
    before, share = L2(1.0).distance(x, x0), torch.full((5,), 0.1, dtype=dtype)
    sphere, nearer = _on_sphere(x, x0, share, 0.2 * torch.ones_like(share), rng)
    torch.testing.assert_close(L2(1.0).distance(sphere, x0), before, rtol=1e-5, atol=0)
    torch.testing.assert_close(L2(1.0).distance(nearer, x0), 0.8 * before, rtol=1e-5, atol=0)
    angle = torch.arctan(torch.tensor(0.1, dtype=torch.float64))  # δ · D along the tangent
    chord = 2 * torch.sin(angle / 2) * before
    torch.testing.assert_close(L2(1.0).distance(sphere, x), chord, rtol=1e-4, atol=0)
    alone, _ = _on_sphere(x[3:4], x0[3:4], share[:1], share[:1], rng.take(torch.tensor([3])))
    torch.testing.assert_close(alone, sphere[3:4])


class Lit(nn.Module):
    """Class 1 where anything at all is lit."""

    def forward(self, x):
        lit = (x.flatten(1) > 0).any(dim=1).to(x)
        return torch.stack([0.5 - lit, lit - 0.5], dim=1)


def test_in_l2_a_step_from_beside_the_image_is_a_number():
    """At a distance whose square is 0 in float32."""
    x0, rng = torch.zeros(2, 1, 3, 3), Stream.of(0, torch.arange(2))
    steps = _on_sphere(x0 + 1e-30, x0, torch.full((2,), 0.1), torch.full((2,), 0.1), rng)
    assert all(point.isfinite().all() for point in steps)


def test_in_l2_an_image_of_one_pixel_which_has_no_tangent_is_walked_to():
    x, y = torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64)
    x_adv = Boundary(FREE, queries=200)(Lit().eval(), x, y)
    assert (x_adv > 0).all()
    assert x_adv.max() < 1e-6


def test_bad_parameters_are_named():
    for make in BOTH:
        with pytest.raises(InputError, match="l1"):
            make(L1(1.0))
        with pytest.raises(InputError, match="queries is 0"):
            make(L2(1.0), queries=0)
        with pytest.raises(InputError, match="draws is 0"):
            make(L2(1.0), draws=0)
    with pytest.raises(InputError, match="orthogonal_step is 0"):
        Boundary(L2(1.0), orthogonal_step=0)
    with pytest.raises(InputError, match=r"source_step is 0\.6"):
        Boundary(L2(1.0), source_step=0.6)
    with pytest.raises(InputError, match="evaluations is 0"):
        HopSkipJump(L2(1.0), evaluations=0)
    with pytest.raises(InputError, match="0 images"):
        Among(images(1)[:0])
    with pytest.raises(InputError, match=r"shape \(1, 3, 3\)"):
        Boundary(FREE, start=Among(images(2, (1, 3, 3))))(
            small_network(), images(1), small_network()(images(1)).argmax(dim=1)
        )
