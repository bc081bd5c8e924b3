"""Every training objective against its formula, and what its gradients may reach."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from holdfast import data, training
from holdfast.attacks import FGSM, PGD, RFGSM, On, StepLL
from holdfast.cli import registry
from holdfast.errors import InputError, ModelError
from holdfast.goals import AgainstPrediction, cross_entropy, kl_from_clean
from holdfast.losses import kl_divergence, soft_cross_entropy
from holdfast.models import Architecture
from holdfast.models.checkpoint import save_model
from holdfast.random import Stream
from holdfast.tensors import fingerprint
from holdfast.threat import L2, Linf
from holdfast.training import (
    TRADES,
    Adversarial,
    AdvTrainII,
    Denoising,
    Distillation,
    EnsembleAdversarial,
    Frozen,
    LogitPairing,
    NoiseAugmentation,
    OneAtRandom,
    Schedule,
    Stability,
    SupervisedDenoising,
    against_prediction,
    equal_classes,
    fit,
)
from tests.cases import DENOISERS, OBJECTIVES, WITH_NETWORK
from tests.digits import digits_network
from tests.toys import Linear, Two, Wrapped, images, small_network

ARCHITECTURE = Architecture(name="small", shape=(1, 8, 8), classes=10)


def streams(count, step=0):
    return Stream.of(0, torch.arange(count)).fold("train", step)


def softmax(z0, z1):
    total = math.exp(z0) + math.exp(z1)
    return math.exp(z0) / total, math.exp(z1) / total


def ce(pixel, label, a=1.0):
    """Cross-entropy of the logits of `Two`."""
    return -math.log(softmax(a * pixel, -0.5 * pixel)[label])


PIXELS, LABELS = (0.4, 0.8), (0, 1)
X, Y = torch.tensor([[0.4], [0.8]]), torch.tensor([0, 1])
CLEAN = (ce(0.4, 0) + ce(0.8, 1)) / 2
# On `Two`, class 0 loses as the pixel falls and class 1 as it grows: FGSM of size 0.1 knows where.
ADVERSARIAL = (ce(0.3, 0) + ce(0.9, 1)) / 2


def value(objective, model=None, step=0):
    return float(objective(model or Two(), X, Y, streams(2, step))[0].detach())


def slope_by_difference(objective, h=1e-2):
    """d loss / d a of `Two`, in float32."""
    return (value(objective, Two(1 + h)) - value(objective, Two(1 - h))) / (2 * h)


def slope(objective):
    model = Two()
    loss, _ = objective(model, X, Y, streams(2))
    return float(torch.autograd.grad(loss, model.a)[0])


# Every objective


def test_every_exported_objective_has_a_case():
    exported = {
        name
        for name in training.objectives.__all__
        if name[0].isupper() and callable(getattr(training.objectives, name))
    }
    assert exported == {*OBJECTIVES, *WITH_NETWORK, *DENOISERS}


@pytest.mark.parametrize("name", [*OBJECTIVES, *WITH_NETWORK])
def test_every_objective_beats_chance_in_two_epochs(tmp_path, name):
    objective = OBJECTIVES.get(name) or WITH_NETWORK[name](digits_network())
    network = ARCHITECTURE.build()
    log = fit(
        network,
        data.load("digits", "train", limit=640),
        objective,
        Schedule(epochs=2, batch_size=16, lr=5e-3),
        architecture=ARCHITECTURE,
        out=tmp_path,
    )
    test = data.load("digits")
    accuracy = (network.eval()(test.x(torch.arange(500))).argmax(dim=1) == test.y).float().mean()
    assert accuracy > 0.5
    assert log["loss"][1] < log["loss"][0]


@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_denoises_in_two_epochs(tmp_path, name):
    """It beats both what keeps the noise and what forgets the image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        r = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 64),
            nn.Tanh(),
            nn.Linear(64, 64),
            nn.Unflatten(1, (1, 8, 8)),
        )
    train = data.load("digits", "train")
    fit(
        r,
        train,
        DENOISERS[name](digits_network()),
        Schedule(epochs=2, batch_size=16, lr=5e-3),
        architecture=ARCHITECTURE,
        out=tmp_path,
    )
    test = data.load("digits")
    x = test.x(torch.arange(200))
    noisy = x + 0.4 * Stream.of(1, torch.arange(200)).normal(x.shape[1:])
    mean = train.x(torch.arange(len(train))).mean(dim=0)
    error = (r(noisy) - x).square().mean()
    assert error < 0.8 * min((noisy - x).square().mean(), (mean - x).square().mean())


@pytest.mark.parametrize("name", [*OBJECTIVES, *WITH_NETWORK, *DENOISERS])
def test_the_record_holds_no_address(name):
    network = small_network((1, 8, 8), 10)
    make = {**WITH_NETWORK, **DENOISERS}.get(name, lambda _: OBJECTIVES[name])
    assert " at 0x" not in repr(make(network))
    assert repr(make(network)) == repr(make(network))


@pytest.mark.parametrize("name", [*WITH_NETWORK, "SupervisedDenoising"])
def test_other_networks_get_no_gradient_and_are_recorded_by_their_weights(name):
    class Identity(nn.Module):  # an image for a denoiser, sixty-four logits for a classifier
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return self.scale * (x if name in DENOISERS else x.flatten(1))

    frozen = Linear(torch.randn(64, 64, generator=torch.Generator().manual_seed(1)))
    frozen.train()
    model, x, y = Identity(), images(6, (1, 8, 8)), torch.arange(6)
    objective = {**WITH_NETWORK, **DENOISERS}[name](frozen)
    loss, _ = objective(model, x, y, streams(6))
    loss.backward()
    assert model.scale.grad.abs() > 0
    assert all(p.grad is None and p.requires_grad for p in frozen.parameters())
    assert frozen.training
    assert fingerprint(frozen) in repr(objective)


# Adversarial training


def test_adversarial_weights_and_replacement_by_hand():
    fgsm = FGSM(Linf(0.1))
    assert value(Adversarial(attack=fgsm, weight=0.25)) == pytest.approx(
        0.75 * CLEAN + 0.25 * ADVERSARIAL, rel=1e-5
    )
    assert value(Adversarial(attack=fgsm)) == pytest.approx(ADVERSARIAL, rel=1e-5)
    # The first of the two images is replaced.
    half = (ce(0.3, 0) + ce(0.8, 1)) / 2
    objective = Adversarial(attack=fgsm, weight=0.5, replace=True)
    assert value(objective) == pytest.approx(half, rel=1e-5)
    logs = objective(Two(), X, Y, streams(2))[1]
    assert float(logs["adversarial"].detach()) == pytest.approx(ce(0.3, 0), rel=1e-5)


@pytest.mark.parametrize(("count", "replaced"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_half_of_the_batch_is_replaced(count, replaced):
    seen = []
    model = Wrapped(lambda x: seen.append(x.detach()) or x.flatten(1))
    x = images(count, margin=0.2)
    objective = Adversarial(attack=FGSM(Linf(0.1)), weight=0.5, replace=True)
    objective(model, x, torch.zeros(count, dtype=torch.long), streams(count))
    changed = (seen[-1] != x).flatten(1).any(dim=1)
    assert changed.tolist() == [True] * replaced + [False] * (count - replaced)


def test_the_gradient_is_that_of_fixed_adversarial_examples():
    """Danskin: none flows through the attack."""
    for objective in (
        Adversarial(attack=FGSM(Linf(0.1)), weight=0.3),
        Adversarial(attack=FGSM(Linf(0.1)), weight=0.5, replace=True),
        AdvTrainII(Linf(0.1), alpha=0.3),
    ):
        assert slope(objective) == pytest.approx(slope_by_difference(objective), rel=1e-3)


def test_adv_train_ii_by_hand():
    expected = 0.3 * CLEAN + 0.7 * ADVERSARIAL
    assert value(AdvTrainII(Linf(0.1), alpha=0.3)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("in_eval", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda mode: Adversarial(attack=PGD(Linf(0.1), steps=2), attack_in_eval=mode),
        lambda mode: TRADES(threat=Linf(0.1), steps=2, attack_in_eval=mode),
        lambda mode: LogitPairing(attack=PGD(Linf(0.1), steps=2), attack_in_eval=mode),
        lambda mode: EnsembleAdversarial(PGD(Linf(0.1), steps=2), [], attack_in_eval=mode),
    ],
)
def test_the_mode_of_the_attack_is_the_stated_one(make, in_eval):
    modes = []

    class Watch(Two):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    model = Watch().train()
    make(in_eval)(model, X, Y, streams(2))
    assert modes[0] is not in_eval
    assert modes[-1]
    assert model.training


# No label leaks


def trained_on(objective, model, x, y):
    """The images of the last forward passes, which are those that the loss is computed on."""
    seen = []
    hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    objective(model, x, y, streams(len(x)))
    hook.remove()
    return torch.cat(seen)


def leaks(objective, model):
    """Whether what the network is trained on depends on the labels."""
    x, y = images(8, (1, 3, 3)), torch.tensor([0, 1, 2, 3] * 2)
    seen = [trained_on(objective, model, x, labels) for labels in (y, y.flip(0), (y + 1) % 4)]
    return not all(torch.equal(seen[0], other) for other in seen[1:])


def linear(seed):
    return Linear(torch.randn(4, 9, generator=torch.Generator().manual_seed(seed)))


SINGLE_STEPS = [
    FGSM(Linf(0.2)),
    RFGSM(Linf(0.2)),
    StepLL(Linf(0.2)),
    PGD(Linf(0.2), steps=2, restarts=2, early_stop=False),
]


@pytest.mark.parametrize("attack", SINGLE_STEPS, ids=str)
@pytest.mark.parametrize("source", range(3))
def test_no_label_leaks_through_ensemble_training(attack, source, monkeypatch):
    """Whatever goal the attacks are given, and whichever source is drawn."""
    monkeypatch.setattr(OneAtRandom, "chosen", lambda self, rng: source)
    static = [On(linear(1), attack, name="a"), On(linear(2), attack, name="b")]
    for replace in (True, False):
        objective = EnsembleAdversarial(attack, static, replace=replace)
        assert not leaks(objective, linear(0))
    planted = Adversarial(attack=OneAtRandom(attacks=(attack, *static)), weight=0.5, replace=True)
    assert leaks(planted, linear(0)) == (attack != StepLL(Linf(0.2)))


@pytest.mark.parametrize("spec", ["fgsm", "r+fgsm", "fgsm(replace=True)", "ensemble", "cached"])
def test_no_label_leaks_from_the_command_line(spec, tmp_path):
    architecture = Architecture(name="mlp", shape=(1, 3, 3), classes=4)
    save_model(tmp_path / "net.safetensors", architecture.build(), architecture)
    spec = {
        "ensemble": f"ensemble(sources=['{tmp_path}/net.safetensors'])",
        "cached": f"ensemble(sources=['{tmp_path}/net.safetensors'], cache='{tmp_path}')",
    }.get(spec, spec)
    given = data.Data.of(images(8, (1, 3, 3)), torch.arange(8) % 4)
    make = registry.objective(spec, given, torch.device("cpu"), eps=0.2)
    assert not leaks(make, linear(0))


def test_the_methods_that_use_the_true_label_do():
    assert leaks(AdvTrainII(Linf(0.2)), linear(0))
    assert leaks(Adversarial(attack=FGSM(Linf(0.2))), linear(0))
    assert not leaks(TRADES(threat=Linf(0.2), steps=2), linear(0))


def test_against_prediction_wraps_each_goal_once():
    attack = against_prediction(PGD(Linf(0.2), restarts=2))
    assert attack.engine().goal == AgainstPrediction(cross_entropy)
    assert against_prediction(attack) == attack
    assert against_prediction(StepLL(Linf(0.1))) == StepLL(Linf(0.1))


# Ensemble adversarial training


def test_each_source_crafts_on_itself(monkeypatch):
    """The examples are those of FGSM on the drawn source, against that source's prediction."""
    model, other, x = linear(0), linear(1), images(8, (1, 3, 3), margin=0.2)
    y = torch.tensor([0, 1, 2, 3] * 2)
    fgsm = FGSM(Linf(0.1))
    objective = EnsembleAdversarial(fgsm, [On(other, fgsm, name="other")])
    for drawn, source in enumerate((model, other)):
        monkeypatch.setattr(OneAtRandom, "chosen", lambda self, rng, drawn=drawn: drawn)
        expected = torch.cat([fgsm(source, x[:4], source(x[:4]).argmax(dim=1)), x[4:]])
        assert torch.equal(trained_on(objective, model, x, y)[-8:], expected)
    loss, _ = objective(model, x, y, streams(8))
    by_hand = nn.functional.cross_entropy(model(expected), y)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_dropout_draws_in_static_sources_where_asked_keyed_by_the_step_and_the_part():
    model, x, y = linear(0), images(16, (1, 3, 3)), torch.tensor([0, 1, 2, 3] * 4)
    source = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), linear(1), nn.BatchNorm1d(4)).eval()
    state = {name: value.clone() for name, value in source.state_dict().items()}
    without = On(source, FGSM(Linf(0.1)), name="s")
    drawing = On(source, FGSM(Linf(0.1)), name="s", dropout=True)
    before = torch.get_rng_state()

    def made(attack, step, rows=slice(None)):
        return attack.perturb(model, x[:8], y[:8], streams(16, step).take(torch.arange(16)[rows]))

    first, second = slice(0, 8), slice(8, 16)
    torch.rand(3)  # what was drawn elsewhere is of no consequence
    assert torch.equal(made(drawing, 0, first), made(drawing, 0, first))
    assert not torch.equal(made(drawing, 0, first), made(drawing, 1, first))
    assert not torch.equal(made(drawing, 0, first), made(drawing, 0, second))
    assert not torch.equal(made(drawing, 0, first), made(without, 0, first))
    assert torch.equal(made(without, 0, first), made(without, 1, second))
    torch.set_rng_state(before)
    made(drawing, 0, first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(layer.training for layer in source.modules())
    assert all(torch.equal(state[name], value) for name, value in source.state_dict().items())
    assert repr(drawing) == repr(without)[:-1] + ", dropout=True)"


def test_dropout_in_sources_from_the_command_line(tmp_path):
    architecture = Architecture(name="D", shape=(1, 3, 3), classes=4)
    save_model(tmp_path / "net.safetensors", architecture.build(), architecture)
    given = data.Data.of(images(8, (1, 3, 3)), torch.arange(8) % 4)

    def made(options):
        spec = f"ensemble(sources=['{tmp_path}/net.safetensors']{options})"
        return registry.objective(spec, given, torch.device("cpu"), eps=0.2)

    assert [each.dropout for each in made("").attack.attacks[1:]] == [False]
    objective = made(", sources_dropout=True")
    assert [each.dropout for each in objective.attack.attacks[1:]] == [True]
    assert not leaks(objective, linear(0))
    with pytest.raises(InputError, match="leave out one of them"):
        made(f", sources_dropout=True, cache='{tmp_path}'")


# TRADES and logit pairing


def beside(size=0.1):
    """Where TRADES' attack ends on one pixel: away from the image, on the side of its start."""
    start = streams(2).fold("attack").fold("start").normal((1,))[:, 0]
    return [pixel + size * math.copysign(1, n) for pixel, n in zip(PIXELS, start, strict=True)]


@pytest.mark.parametrize("divergence", [kl_divergence, soft_cross_entropy])
def test_trades_by_hand(divergence):
    objective = TRADES(threat=Linf(0.1), steps=3, beta=0.7, divergence=divergence)
    expected = CLEAN
    for pixel, moved in zip(PIXELS, beside(), strict=True):
        p, q = softmax(pixel, -0.5 * pixel), softmax(moved, -0.5 * moved)
        for p_k, q_k in zip(p, q, strict=True):
            entropy = p_k * math.log(p_k) if divergence is kl_divergence else 0.0
            expected += 0.7 * (entropy - p_k * math.log(q_k)) / 2
    assert value(objective) == pytest.approx(expected, rel=1e-5)
    # The gradients of both arguments flow.
    assert slope(objective) == pytest.approx(slope_by_difference(objective), rel=2e-3)


def test_the_two_forms_of_trades_share_their_attack():
    model, x = small_network(), images(4)
    found = [
        TRADES(threat=L2(0.5), steps=4, divergence=divergence).attack.perturb(
            model, x, torch.zeros(4, dtype=torch.long), streams(4)
        )
        for divergence in (kl_divergence, soft_cross_entropy)
    ]
    assert torch.allclose(*found, atol=1e-5)


def test_logit_pairing_by_hand():
    """Logits (x, -x/2) move by (0.1, -0.05): a mean square of (0.01 + 0.0025) / 2."""
    objective = LogitPairing(attack=FGSM(Linf(0.1)), weight=2.0)
    expected = 0.5 * (CLEAN + ADVERSARIAL) + 2 * 0.00625
    assert value(objective) == pytest.approx(expected, rel=1e-5)
    assert slope(objective) == pytest.approx(slope_by_difference(objective), rel=1e-3)


def test_divergence_from_the_clean_answer():
    model, x0 = small_network(), images(5)
    score = kl_from_clean(model, x0, torch.zeros(5, dtype=torch.long))
    found, reached = score(x0)
    assert found.abs().max() < 1e-6
    assert not reached.any()
    x = images(5, seed=1)
    p, q = model(x0).softmax(dim=1), model(x).softmax(dim=1)
    by_hand = (p * (p.log() - q.log())).sum(dim=1)
    assert torch.allclose(score(x).value, by_hand, atol=1e-6)
    assert torch.equal(score(x).reached, p.argmax(dim=1) != q.argmax(dim=1))
    index = torch.tensor([3, 0, 3])
    assert torch.allclose(score.take(index)(x[index]).value, by_hand[index], atol=1e-6)
    with torch.no_grad():  # what the model answers later on the clean image does not count
        model[0].weight.mul_(2)
    assert not torch.allclose(score(x0).value, torch.zeros(5), atol=1e-3)


# Noise, denoisers, distillation


def test_noise_augmentation_by_hand():
    noise = 0.3 * streams(2).fold("noise").normal((1,))[:, 0]
    noisy = [pixel + shift for pixel, shift in zip(PIXELS, noise.tolist(), strict=True)]
    expected = (ce(noisy[0], 0) + ce(noisy[1], 1)) / 2
    objective = NoiseAugmentation(sigma=0.3)
    assert value(objective) == pytest.approx(expected, rel=1e-5)
    assert value(objective) != value(objective, step=1)


class Shrink(nn.Module):
    """Two parameters: r(x) = a·x + b."""

    def __init__(self, a=0.8, b=0.1):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x):
        return self.a * x + self.b


def test_noise_behind_the_first_layer_by_hand():
    first, second = nn.Linear(9, 6), nn.Linear(6, 4)
    model = nn.Sequential(nn.Flatten(), nn.Sequential(first, nn.Tanh()), second)
    x, y = images(8, (1, 3, 3)), torch.tensor([0, 1, 2, 3] * 2)

    def noisy(purpose):
        moved = first(x.flatten(1)) + 0.4 * streams(8).fold(purpose).normal((6,))
        return second(moved.tanh())

    loss, _ = NoiseAugmentation(sigma=0.4, at="first-layer")(model, x, y, streams(8))
    assert loss.item() == pytest.approx(
        nn.functional.cross_entropy(noisy("noise"), y).item(), rel=1e-5
    )
    loss, _ = Stability(sigma=0.4, gamma=0.7, at="first-layer")(model, x, y, streams(8))
    soft = nn.functional.cross_entropy(noisy("stability"), model(x).softmax(dim=1))
    expected = nn.functional.cross_entropy(model(x), y) + 0.7 * soft
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert first.weight.grad.any()
    with pytest.raises(ModelError, match="first layer"):
        Stability(sigma=0.4, at="first-layer")(Two(), X, Y, streams(2))
    assert repr(Stability(sigma=0.4)) == "Stability(sigma=0.4, gamma=1.0)"
    assert registry.objective(
        "noise(sigma=0.4, at='first-layer')", data.Data.of(x, y), torch.device("cpu")
    ) == NoiseAugmentation(sigma=0.4, at="first-layer")


def test_denoising_by_hand():
    x = images(3, (1, 2, 2))
    noise = 0.4 * streams(3).fold("noise").normal((1, 2, 2))
    squares = ((0.8 * (x + noise) + 0.1 - x) ** 2).sum().item() / 3  # over pixels, mean of images
    loss, _ = Denoising(sigma=0.4)(Shrink(), x, torch.zeros(3, dtype=torch.long), streams(3))
    assert loss.item() == pytest.approx(squares, rel=1e-5)
    classifier = Linear(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    y = torch.tensor([0, 1, 2])
    denoised = 0.8 * (x + noise) + 0.1
    log_p = classifier(denoised).log_softmax(dim=1)[torch.arange(3), y].mean().item()
    objective = SupervisedDenoising(sigma=0.4, classifier=Frozen(classifier, "c"))
    loss, _ = objective(Shrink(), x, y, streams(3))
    # Equation 14: minus the log-likelihood.
    assert loss.item() == pytest.approx(squares - 2 * 0.16 * log_p, rel=1e-5)
    # As a mean over 4 values, and times 4.
    for weight in ("mean", 4.0):
        variant = dataclasses.replace(objective, weight=weight)
        loss, _ = variant(Shrink(), x, y, streams(3))
        assert loss.item() == pytest.approx(4 * (squares / 4 - 2 * 0.16 * log_p), rel=1e-5)
        assert repr(variant) == repr(objective)[:-1] + f", weight={weight!r})"


def test_images_of_a_rare_class_count_more_in_both_terms():
    """Four images of class 0 and one of class 1: a quarter of the weight each, and equal sums."""
    y = torch.tensor([0, 0, 1, 0, 0])
    x, weights = images(5, (1, 2, 2)), equal_classes(y)
    assert weights == pytest.approx((5 / 8, 5 / 2))
    classifier = Linear(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    denoised = 0.8 * (x + 0.4 * streams(5).fold("noise").normal((1, 2, 2))) + 0.1
    squares = ((denoised - x) ** 2).flatten(1).sum(dim=1)
    log_p = classifier(denoised).log_softmax(dim=1)[torch.arange(5), y]
    each = squares - 2 * 0.16 * log_p
    objective = SupervisedDenoising(
        sigma=0.4, classifier=Frozen(classifier, "c"), class_weights=weights
    )
    loss, _ = objective(Shrink(), x, y, streams(5))
    equal = (each[y == 0].mean() + each[y == 1].mean()) / 2
    assert loss.item() == pytest.approx(equal.item(), rel=1e-5)
    assert "class_weights=(0.625, 2.5)" in repr(objective)
    with pytest.raises(InputError, match="class 2"):
        objective(Shrink(), x, y + 1, streams(5))


def test_the_supervised_denoiser_moves_towards_the_right_class():
    """Its residual adds σ² ∇ log p(y | x) (equation 12); equation 1's sign would take it off.

    Logits (-x, x), label 1, r(x) = x + b: the derivative of the mean of (ν + b)² + 2σ² CE is 0
    where b + mean ν = σ² · mean 2 p_0, p_0 the wrong class's probability at x + ν + b.
    """
    sigma, x = 0.1, torch.full((64, 1), 0.5)
    classifier = Linear(torch.tensor([[-1.0], [1.0]]))
    objective = SupervisedDenoising(sigma=sigma, classifier=Frozen(classifier, "c"))
    r = Shrink(a=1.0, b=0.0)
    for _ in range(20):
        loss, _ = objective(r, x, torch.ones(64, dtype=torch.long), streams(64))
        (grad,) = torch.autograd.grad(loss, r.b)
        r.b.data -= 0.3 * grad
    noise, b = 0.1 * streams(64).fold("noise").normal((1,)), r.b.item()
    p_0 = torch.sigmoid(-2 * (x + noise + b))
    drift = sigma**2 * 2 * p_0.mean().item()
    assert b + noise.mean().item() == pytest.approx(drift, rel=1e-3)
    assert drift > 0.004


def test_a_classifier_cannot_be_trained_to_denoise():
    with pytest.raises(InputError, match="same shape"):
        Denoising(sigma=0.1)(small_network(), images(2), torch.zeros(2).long(), streams(2))


def test_distillation_by_hand():
    teacher = Two(2.0, 0.5)
    objective = Distillation(teacher=Frozen(teacher, "t"), temperature=4.0, weight=0.75)
    soft = 0.0
    for pixel in PIXELS:
        p = softmax(2 * pixel / 4, 0.5 * pixel / 4)
        q = softmax(pixel / 4, -0.5 * pixel / 4)
        soft -= sum(p_k * math.log(q_k) for p_k, q_k in zip(p, q, strict=True)) / 2
    assert value(objective) == pytest.approx(0.75 * 16 * soft + 0.25 * CLEAN, rel=1e-5)
    assert slope(objective) == pytest.approx(slope_by_difference(objective), rel=2e-3)


def test_a_student_that_equals_its_teacher_stays():
    student = Two()
    objective = Distillation(teacher=Frozen(Two(), "t"), temperature=3.0)
    loss, _ = objective(student, X, Y, streams(2))
    assert all(abs(g) < 1e-6 for g in torch.autograd.grad(loss, [student.a, student.b]))
    other, _ = objective(student, X, 1 - Y, streams(2))
    assert loss == other  # the labels play no part


def test_a_teacher_of_other_classes_or_images_is_told_by_its_name():
    student = small_network((1, 4, 4), 3)
    given = images(2, (1, 4, 4)), torch.zeros(2).long(), streams(2)
    of_two = Frozen(small_network((1, 4, 4), 2), "runs/two")
    with pytest.raises(InputError, match=r"teacher runs/two answers with shape \(2, 2\) and the"):
        Distillation(teacher=of_two)(student, *given)
    of_others = Frozen(small_network((3, 4, 4), 3), "runs/colour")
    with pytest.raises(ModelError, match=r"runs/colour, .* failed on images of shape \(2, 1, 4, 4"):
        Distillation(teacher=of_others)(student, *given)


def test_a_frozen_model_lets_the_gradient_through_to_the_image():
    model = small_network((1, 4, 4), 3).train()
    x = images(2, (1, 4, 4)).requires_grad_()
    frozen = Frozen(model, "m")
    (grad,) = torch.autograd.grad(frozen(x).sum(), x)
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.allclose(grad, expected)
    assert not frozen(x.detach()).requires_grad
    assert model.training


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adversarial(attack=FGSM(Linf(0.1)), weight=0.0, replace=True),
        lambda: AdvTrainII(Linf(0.1), alpha=1.5),
        lambda: TRADES(threat=Linf(0.1), beta=-1),
        lambda: TRADES(threat=Linf(0.1), steps=0),
        lambda: LogitPairing(attack=FGSM(Linf(0.1)), weight=math.nan),
        lambda: NoiseAugmentation(sigma=0),
        lambda: Denoising(sigma=-1),
        lambda: SupervisedDenoising(sigma=math.inf, classifier=Frozen(Two(), "c")),
        lambda: SupervisedDenoising(sigma=1.0, classifier=Frozen(Two(), "c"), weight=0.0),
        lambda: SupervisedDenoising(
            sigma=1.0, classifier=Frozen(Two(), "c"), class_weights=(1.0, 0.0)
        ),
        lambda: equal_classes([0, 2]),
        lambda: Distillation(teacher=Frozen(Two(), "t"), temperature=0),
        lambda: Distillation(teacher=Frozen(Two(), "t"), weight=2),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(InputError):
        make()
