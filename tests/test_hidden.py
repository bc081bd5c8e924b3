"""What a stranger's network hides without a declaration is found, named and gone round."""

import os
import threading
import warnings
import zlib

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from holdfast import EvaluationConfig, Linf, evaluate
from holdfast.attacks import BPDA, FGSM, PGD, Square, Worst
from holdfast.auditing.fresh import fresh
from holdfast.defenses import MALADE, Binarise, GaussianNoise, StraightThrough
from holdfast.evaluation import adapt
from holdfast.evaluation.hidden import find
from holdfast.evaluation.hidden.differences import through_differences
from holdfast.evaluation.hidden.imitate import imitate
from holdfast.evaluation.hidden.memory import memory_of
from holdfast.evaluation.hidden.tally import Tally
from holdfast.evaluation.hidden.twin import distilled
from holdfast.random import Stream, drawing_from
from holdfast.results import read_about
from tests.digits import trained
from tests.toys import Wrapped, images, small_network

PICTURES = images(6, (3, 32, 32), seed=1)
#: Kinds of what is found in a gradient.
LIES = ("cut", "zero", "not finite", "wrong", "jumps", "flat")


class Of(nn.Module):
    """A layer made of a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Spoilt(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, value, back):
        ctx.back = back
        return value(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.back(grad), None, None


def spoilt(back, value=torch.clone) -> nn.Module:
    return Of(lambda x: Spoilt.apply(x, value, back))


def in_steps(x: Tensor) -> Tensor:
    return (8 * x).round() / 8


def one_hot(logits: Tensor) -> Tensor:
    return functional.one_hot(logits.argmax(dim=1), logits.shape[1]).float()


class InForward(nn.Module):
    """A network with something before and behind it, in the code of its own forward."""

    def __init__(self, net: nn.Module, before=torch.clone, behind=torch.clone) -> None:
        super().__init__()
        self.net, self.before, self.behind = net, before, behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.net(self.before(x)))


class Ensemble(nn.Module):
    """Members that vote by their answers alone."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([one_hot(member(x)) for member in self.members]).sum(dim=0)


def attention() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=10)


def plain(activation, pool=nn.MaxPool2d) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        activation(),
        pool(2),
        nn.Conv2d(8, 8, 3, padding=1),
        activation(),
        pool(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


SOUND = {
    "relu": lambda: plain(nn.ReLU),
    "relu in place": lambda: plain(lambda: nn.ReLU(inplace=True)),
    "gelu": lambda: plain(nn.GELU, nn.AvgPool2d),
    "softplus": lambda: plain(nn.Softplus),
    "attention": attention,
    "resnet": lambda: torchvision.models.resnet18(num_classes=10),
    "shufflenet": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10),
    "mobilenet": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
    "noisy": lambda: nn.Sequential(GaussianNoise(0.1), plain(nn.ReLU)),
    "straight through": lambda: nn.Sequential(StraightThrough(Of(in_steps)), plain(nn.ReLU)),
    "an estimator of its own": lambda: nn.Sequential(
        spoilt(lambda grad: grad, in_steps), plain(nn.Sigmoid)
    ),
    "declared": lambda: nn.Sequential(Binarise(), plain(nn.ReLU)),
}


class TestSound:
    @pytest.mark.parametrize("name", SOUND)
    def test_a_sound_network_is_not_accused(self, name):
        for seed in range(2):
            torch.manual_seed(seed)
            model = SOUND[name]()
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    nn.init.uniform_(layer.weight, 0.5, 2)
                    nn.init.normal_(layer.running_mean, 0, 0.3)
            x = PICTURES.clone()
            x[:, :, :8] = 0  # where bias-free kinks are met exactly, and pools tie
            assert not find(model, x, seed=seed)


HIDING = {
    "rounding": (nn.Sequential(Of(in_steps)), "zero", "0.0"),
    "detached": (Of(lambda x: x.detach()), "cut", "0"),
    "flipped": (spoilt(lambda grad: -grad), "wrong", "0"),
    "random": (spoilt(lambda grad: torch.randn_like(grad) * grad.norm()), "wrong", "0"),
    "no number": (spoilt(lambda grad: grad * torch.nan), "not finite", "0"),
    "faded": (spoilt(lambda grad: 1e-4 * grad), "wrong", "0"),
    "half detached": (Of(lambda x: 0.3 * x + 0.7 * x.detach()), "wrong", "0"),
}


class TestLies:
    @pytest.mark.parametrize("name", HIDING)
    def test_the_layer_that_lies_is_named_wherever_it_stands(self, name):
        layer, kind, where = HIDING[name]
        net, x, _ = trained()
        found = find(nn.Sequential(layer, net).eval(), x)
        assert [(one.kind, one.layer) for one in found.found] == [(kind, where)]
        assert found.found[0].type in found.found[0].sentence
        assert [bridge.how for bridge in found.bridges] == ["the identity"]
        deeper = nn.Sequential(net[:2], nn.Sequential(nn.Identity(), layer), net[2:]).eval()
        (one,) = find(deeper, x).found
        assert (one.kind, one.layer) == (kind, "1.1" + where[1:])

    def test_several_are_found_one_behind_the_other(self):
        net, x, _ = trained()
        model = nn.Sequential(Of(in_steps), net[:2], Of(torch.detach), net[2:]).eval()
        assert [one.layer for one in find(model, x).found] == ["0", "2"]

    @pytest.mark.parametrize("cut", [in_steps, lambda x: in_steps(x).detach()])
    def test_a_cut_in_the_code_of_forward_is_the_modules_own(self, cut):
        net, x, _ = trained()
        found = find(nn.Sequential(nn.Identity(), InForward(net, before=cut)).eval(), x)
        assert [(one.layer, one.type) for one in found.found] == [("1", "InForward")]
        assert [bridge.how for bridge in found.bridges] == ["the identity past the cut"]

    def test_the_members_of_a_hard_vote_show_their_scores(self):
        net, x, _ = trained()
        (found,) = find(Ensemble(net, nn.Sequential(nn.Identity(), net)).eval(), x).bridges
        assert found.how == "the soft vote of 2 members"

    def test_the_model_is_left_as_it_was_and_global_draws_too(self):
        net, x, _ = trained()
        model = nn.Sequential(Of(in_steps), net, Of(one_hot))
        model.zero_grad()  # the network is every test's
        before = [p.clone() for p in model.parameters()]
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        assert len(find(model, x).found) == 2
        assert torch.equal(torch.rand(3), expected)
        assert model.training
        assert all(map(torch.equal, before, model.parameters()))
        assert all(p.grad is None for p in model.parameters())
        assert not any("forward" in vars(layer) for layer in model.modules())
        assert not any(layer._forward_hooks for layer in model.modules())

    def test_what_is_found_is_the_same_twice(self):
        net, x, _ = trained()
        model = nn.Sequential(Of(in_steps), net).eval()
        assert repr(find(model, x)) == repr(find(model, x))

    def test_an_imitation_has_the_slope_of_what_it_imitates(self):
        x = images(400, (12,))
        weight = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
        given = x[:4].clone().requires_grad_()
        imitate(x, (x @ weight).tanh(), seed=0)(given)[:, 0].sum().backward()
        exact = (1 - (x[:4] @ weight)[:, :1].tanh() ** 2) * weight[:, 0]
        assert functional.cosine_similarity(given.grad, exact).mean() > 0.8


BROKEN = {
    "rounding that cuts": lambda net: InForward(net, before=lambda x: in_steps(x).detach()),
    "rounding": lambda net: nn.Sequential(Of(in_steps), net),
    "an argmax": lambda net: nn.Sequential(net, Of(one_hot)),
    "an argmax with gradient 0": lambda net: InForward(net, behind=lambda z: one_hot(z) + 0 * z),
    "a hard vote": lambda net: Ensemble(net, net),
    "a flipped gradient": lambda net: nn.Sequential(spoilt(torch.neg), net),
}


class Cache(nn.Module):
    """Answers what it answered before about an image as near as this."""

    def __init__(self, net: nn.Module, near: float) -> None:
        super().__init__()
        self.net, self.near = net, near
        self.x, self.answers = [], []

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.one(image) for image in x])

    def one(self, image: Tensor) -> Tensor:
        if self.x:
            far = (torch.stack(self.x) - image).flatten(1).abs().amax(dim=1)
            if far.min() < self.near:
                return self.answers[int(far.argmin())]
        answer = self.net(image[None])[0]
        self.x.append(image.detach())
        self.answers.append(answer.detach())
        return answer


class Detector(nn.Module):
    """Turns its answers round once it is asked about nearly the same image again."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self._seen = net, []

    def forward(self, x: Tensor) -> Tensor:
        known = [any((one - image).norm() < 0.5 for one in self._seen) for image in x]
        self._seen += [image.detach() for image in x]
        return torch.where(torch.tensor(known)[:, None], self.net(x).flip(1), self.net(x))


class Keeping(InForward):
    """Writes down all that it is asked, and does nothing with it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.register_buffer("asked", torch.zeros(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.asked = torch.cat([self.asked, x.detach().flatten()[:, None].to(self.asked)])
        return super().forward(x)


class EveryFiftieth(nn.Module):
    """Answers about another image at every fiftieth call."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x if self.calls % 50 else 1 - x)


def off_grid(x: Tensor) -> Tensor:
    """(N, 1, 1, 1) whether an image is none that an 8-bit file can hold."""
    return (255 * x - (255 * x).round()).abs().amax(dim=(1, 2, 3), keepdim=True) > 1e-3


def hashed(x: Tensor) -> Tensor:
    """Noise that hangs on all digits of the image."""
    generators = [
        torch.Generator().manual_seed(zlib.crc32(one.detach().numpy().tobytes())) for one in x
    ]
    noise = [torch.randn(x.shape[1:], generator=one) for one in generators]
    return x + 0.3 * torch.stack(noise).to(x)


def of_the_batch(x: Tensor) -> Tensor:
    return functional.batch_norm(x, None, None, training=True)


ANSWERS = {
    "a cache": (lambda net: Cache(net, 0.05), ["memory"]),
    "a query detector": (Detector, ["memory"]),
    "a log": (Keeping, ["memory"]),
    "the call's number": (EveryFiftieth, ["calls"]),
    "rare noise": (
        lambda net: InForward(net, before=lambda x: x if torch.rand(()) > 0.03 else 1 - x),
        ["draws"],
    ),
    "the batch's statistics": (lambda net: InForward(net, before=of_the_batch), ["neighbors"]),
    "noise off the grid": (
        lambda net: InForward(net, before=lambda x: x + 0.5 * off_grid(x) * torch.randn_like(x)),
        ["draws", "grid"],
    ),
    "nothing off the grid": (
        lambda net: InForward(net, before=lambda x: torch.where(off_grid(x), x * 0 + 0.5, x)),
        ["grid"],
    ),
    "tiny logits": (lambda net: InForward(net, behind=lambda z: 1e-12 * z), ["scale"]),
    "a hash as noise": (lambda net: InForward(net, before=hashed), ["content"]),
}


class TestAnswers:
    """What hangs on more than the image is found by a probe of its own."""

    @pytest.mark.parametrize("name", ANSWERS)
    def test_each_is_found_and_said(self, name):
        made, kinds = ANSWERS[name]
        net, x, _ = trained()
        model = made(net).eval()
        found = find(model, (255 * x).round() / 255)
        assert [one.kind for one in found.found if one.kind not in LIES] == kinds
        assert all(one.met for one in found.found)

    def test_a_network_without_a_memory_is_asked_itself(self):
        net, x, _ = trained()
        assert find(net, x).model is net
        lying = nn.Sequential(Of(in_steps), net).eval()
        assert find(lying, x).model is lying

    def test_a_fresh_copy_answers_every_pass_and_the_gradient_is_the_networks(self):
        net, x, _ = trained()
        model = Cache(net, 0.3).eval()
        asked = find(model, x).model
        for pictures in (x, 1 - x, x):
            given = pictures.clone().requires_grad_()
            logits, expected = asked(given), net(given)
            assert torch.allclose(logits, expected, atol=1e-5)
            slopes = [torch.autograd.grad(one.sum(), given)[0] for one in (logits, expected)]
            assert torch.allclose(*slopes, atol=1e-5)
        assert not model.x

    @pytest.mark.parametrize("scale", [1e-12, 1e-30])
    def test_tiny_logits_are_multiplied_and_keep_every_digit(self, scale):
        net, x, _ = trained()
        model = InForward(net, behind=lambda z: scale * z).eval()
        larger, own = find(model, x).model(x), model(x)
        assert 1 < (larger.amax(dim=1) - larger.amin(dim=1)).median() < 100
        assert torch.equal(*(torch.frexp(logits).mantissa for logits in (larger, own)))

    def test_a_batch_that_mixes_images_is_taken_apart(self):
        net, x, _ = trained()
        asked = find(InForward(net, before=of_the_batch).eval(), x).model
        with torch.no_grad():
            assert torch.allclose(asked(x)[2:4], asked(x[2:4]), atol=1e-6)

    def test_a_network_that_answers_from_memory_costs_no_more_with_every_query(self):
        net, x, _ = trained()
        model = Cache(net, 0.3).eval()
        asked = find(model, x).model
        for _ in range(3):
            asked(torch.rand_like(x))
        assert not model.x
        assert not asked.model.x

    @pytest.mark.parametrize(
        "name", ["a cache", "the call's number", "noise off the grid", "tiny logits"]
    )
    def test_each_is_met(self, name):
        """It falls as far as the network behind."""
        net, x, y = trained()
        x = (255 * x).round() / 255
        model = ANSWERS[name][0](net).eval()
        attacks = {"pgd": PGD(Linf(0.15), steps=10, random_start=False)}
        config = EvaluationConfig(votes=20, samples=2)
        found = quiet(model, x, y, attacks, config=config)
        honest = evaluate(net, x, y, attacks).cells[0]["robust_accuracy"]
        assert found.cells[0]["robust_accuracy"] <= honest + 0.05
        assert "no gradient reaches" not in str(found.warnings)

    def test_what_a_network_draws_rarely_makes_votes_decide(self):
        net, x, y = trained(6)
        model = ANSWERS["rare noise"][0](net).eval()
        config = EvaluationConfig(votes=10, samples=2)
        found = quiet(model, x, y, {"fgsm": FGSM(Linf(0.05))}, config=config)
        assert set(found.rows["votes"]) == {10}


class TestGoneRound:
    attack = PGD(Linf(0.15), steps=20)

    @pytest.mark.parametrize("name", BROKEN)
    def test_a_network_that_hides_falls_as_far_as_the_network_behind(self, name):
        net, x, y = trained(40)
        model = BROKEN[name](net).eval()
        honest = evaluate(net, x, y, {"pgd": self.attack}).cells[0]["robust_accuracy"]
        found = quiet(model, x, y, {"pgd": self.attack})
        blind = quiet(
            model,
            x,
            y,
            {"all": Worst((self.attack, Square(Linf(0.15), queries=1)))},
            config=EvaluationConfig(hidden=False),
        )
        assert blind.cells[0]["robust_accuracy"] > honest + 0.3
        assert found.cells[0]["robust_accuracy"] <= honest + 0.06
        assert any("attacks also go round it" in note for note in found.warnings)
        assert "bpda" in found.cells[0]["broken_by"]

    def test_what_was_found_is_in_the_run(self, tmp_path):
        net, x, y = trained()
        model = nn.Sequential(Of(in_steps), net).eval()
        quiet(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out=tmp_path / "run")
        settings = read_about(tmp_path / "run")["settings"]
        (found,) = settings["found"]
        assert (found["kind"], found["layer"], found["type"]) == ("zero", "0", "Of")
        assert "around=(0: the identity,)" in settings["attacks"][0]["attack"]
        again = quiet(model, x, y, {"fgsm": FGSM(Linf(0.1))}, out=tmp_path / "run")
        assert any("layer 0 (Of)" in note for note in again.warnings)

    def test_a_bare_function_is_imitated(self):
        net, x, y = trained(40)
        model = Wrapped(lambda x: net(x.detach()))
        found = quiet(model, x, y, {"pgd": self.attack})
        assert found.cells[0]["robust_accuracy"] < 0.7
        assert any("a small network fitted to imitate it" in note for note in found.warnings)

    def test_a_twin_shows_the_gradients_that_the_model_hides(self):
        net, x, y = trained(40)
        model = Wrapped(lambda x: net(x.detach()))
        honest = evaluate(net, x, y, {"pgd": self.attack}).cells[0]["robust_accuracy"]
        config = EvaluationConfig(hidden=False)
        found = quiet(model, x, y, {"pgd": self.attack}, config=config, twin=net)
        (cell,) = found.cells
        assert not [note for note in found.warnings if "every attack with gradients" in note]
        assert cell["broken_by"]["transfer"] > 0
        assert cell["robust_accuracy"] <= honest + 0.1
        assert set(cell["skipped"]) == {"plain"}

    def test_where_gradients_are_in_doubt_a_twin_is_distilled_and_square_searches_longer(self):
        net, x, y = trained(8)
        model = ANSWERS["a hash as noise"][0](net).eval()
        cascade = Worst((FGSM(Linf(0.05)), Square(Linf(0.05), queries=2)), called=("f", "s"))
        config = EvaluationConfig(votes=4, samples=2)
        (cell,) = quiet(model, x, y, {"all": cascade}, config=config).cells
        assert {"f, transfer", "s, longer", "f, beside"} <= set(cell["broken_by"])

    def test_an_ordinary_network_has_the_rows_that_it_had(self):
        net, x, y = trained()
        attacks = {"pgd": self.attack, "square": Square(Linf(0.1), queries=20)}
        config = EvaluationConfig(hidden=False)
        mine, before = evaluate(net, x, y, attacks), evaluate(net, x, y, attacks, config=config)
        assert mine.rows.equals(before.rows)


def quiet(*arguments, **options):
    """An evaluation whose warnings are read off the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate(*arguments, **options)


class Masks(nn.Module):
    def forward(self, x):
        return [x > (k + 0.5) / 8 for k in range(8)]


class Bands(nn.Module):
    def forward(self, x):
        low = functional.avg_pool2d(x, 3, 1, 1)
        return {"low": (8 * low).round() / 8, "high": (8 * (x - low)).round() / 8}


class Mixed(nn.Module):
    """Behind a module of two tensors in and out, both coarse."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.mix = Of(lambda x: x)
        self.mix.forward = lambda x, y: (in_steps((x + y) / 2), in_steps(y))
        self.network = network

    def forward(self, x):
        fine, coarse = self.mix(x, functional.avg_pool2d(x, 3, 1, 1))
        return self.network((3 * fine + coarse) / 4)


class InPlace(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.mul_(8).round_().div_(8))


class Ungraded(InPlace):
    @torch.no_grad()
    def forward(self, x):
        return self.network(x)


def turned_by_a_hook(network: nn.Module) -> nn.Module:
    turned = nn.Sequential(Of(torch.clone), network)
    turned[0].register_full_backward_hook(lambda layer, back, given: (-back[0],))
    return turned


def coarse_spectrum(x):
    found = torch.fft.rfft2(x, norm="ortho")
    return torch.complex((4 * found.real).round() / 4, (4 * found.imag).round() / 4)


STRANGE = {
    "whole numbers": lambda m: nn.Sequential(
        Of(lambda x: (8 * x).round().long()), Of(lambda z: z.float() / 8), m
    ),
    "booleans in a list": lambda m: nn.Sequential(
        Masks(), Of(lambda masks: torch.stack([one.float() for one in masks]).mean(dim=0)), m
    ),
    "tensors by name": lambda m: nn.Sequential(Bands(), Of(lambda b: b["low"] + b["high"]), m),
    "complex numbers": lambda m: nn.Sequential(
        Of(coarse_spectrum), Of(lambda z: torch.fft.irfft2(z, s=(8, 8), norm="ortho")), m
    ),
    "two tensors": Mixed,
    "in place": InPlace,
    "no gradients": Ungraded,
    "a hook": turned_by_a_hook,
    "another shape": lambda m: nn.Sequential(
        Of(lambda x: in_steps(functional.interpolate(x, scale_factor=2))),
        Of(lambda x: functional.avg_pool2d(x, 2)),
        m,
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_modules_of_other_than_one_plain_tensor_are_gone_round(name):
    network, x, y = trained()
    x, y = x[:8], y[:8]
    model, kept = STRANGE[name](network).eval(), x.clone()
    found = find(model, x)
    assert found.bridges, found
    assert not found.blind, found
    attack = BPDA(PGD(Linf(0.3), steps=20), around=found.bridges)
    assert (model(attack(model, x, y, seed=0)).argmax(dim=1) != y).all()
    assert torch.equal(x, kept)


def test_what_neither_the_identity_nor_a_network_imitates_has_its_average_slope():
    """Two tensors in, of which the output depends on the product."""
    torch.manual_seed(0)
    u, v = (torch.randn(64, 12, requires_grad=True) for _ in range(2))
    product = through_differences(lambda a, b: {"out": (4 * a * b).round() / 4})
    with drawing_from(Stream.of(0, torch.arange(64))):
        product(u, v)["out"].sum().backward()
    for mine, other in ((u, v), (v, u)):
        pair = torch.stack([mine.grad.flatten(), other.detach().flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.5


def test_a_module_of_two_pictures_that_nothing_else_fits_is_differenced():
    class Halves(nn.Module):
        def forward(self, x, y):
            return (x.flatten(1)[:, ::3] * 6).round(), (y.flatten(1)[:, 1::3] * 6).round()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.halves = Halves()
            torch.manual_seed(0)
            self.last = nn.Linear(43, 10)

        def forward(self, x):
            return self.last(torch.cat(self.halves(x, 1 - x), dim=1))

    found = find(Model().eval(), trained()[1][:8])
    assert [bridge.how for bridge in found.bridges] == ["the average of its finite differences"]


def test_a_model_that_holds_a_lock_is_copied_all_the_same():
    class Kept(Wrapped):
        def __init__(self, model):
            super().__init__(model)
            self.lock, self.known = threading.Lock(), {}

    model = Kept(trained()[0])
    copied = fresh(model)
    assert copied is not model
    assert copied.known is not model.known
    assert copied.lock is model.lock


def test_noise_that_no_seed_repeats_is_no_memory_and_hangs_on_no_neighbour():
    network, x, _ = trained()

    class Noisy(Wrapped):
        def forward(self, x):
            drawn = torch.frombuffer(bytearray(os.urandom(x.numel())), dtype=torch.uint8)
            return self.function(x + drawn.view(x.shape) / 255 - 0.5)

    kinds = {finding.kind for finding in find(Noisy(network).eval(), x[:6]).found}
    assert "draws" in kinds
    assert not kinds & {"memory", "neighbors"}


@pytest.mark.filterwarnings("ignore")
def test_a_model_with_a_memory_that_is_met_is_not_taken_for_one_that_draws():
    network, x, y = trained()

    class Counts(Wrapped):
        asked = 0

        def forward(self, x):
            self.asked += 1
            return self.function(x) * (1 + self.asked)

    result = evaluate(Counts(network).eval(), x[:4], y[:4], [FGSM(Linf(0.1))])
    assert (result.rows["votes_for_prediction"] == 1).all()


@pytest.mark.filterwarnings("ignore")
def test_an_attack_by_hand_is_adapted_as_evaluate_does_it():
    network, x, y = trained()
    x, y = x[:8], y[:8]
    model = nn.Sequential(Of(in_steps), network).eval()
    attack, target, found = adapt(PGD(Linf(0.3), steps=20), model, x)
    assert found.bridges
    assert (target(attack(target, x, y, seed=0)).argmax(dim=1) != y).all()
    assert adapt(FGSM(Linf(0.3)), network, x)[:2] == (FGSM(Linf(0.3)), network)


class Counting(nn.Module):
    """Counts the images that it and all its copies were asked about, and looked back at."""

    asked, back = 0, 0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        Counting.asked += len(x)
        logits = self.network(x)
        if logits.requires_grad and x.requires_grad:
            logits.register_hook(self._back(len(x)))
        return logits

    def _back(self, images: int):
        def count(_: Tensor) -> None:
            Counting.back += images

        return count


@pytest.mark.parametrize("what", ["find", "distilled"])
def test_what_the_search_asks_is_counted(what):
    """Every pass of an honest network, none of whose parts is asked by itself."""
    x, tally = images(6), Tally()
    network = Counting(small_network()).eval()
    Counting.asked = Counting.back = 0
    with tally.counting():
        found = find(network, x) if what == "find" else distilled(network, x, seed=0)
    assert not (what == "find" and found)
    assert (tally.forwards, tally.backwards) == (Counting.asked, Counting.back)
    assert tally.forwards > 100
    before = tally.forwards
    find(network, x)
    assert tally.forwards == before


def purified(net: nn.Module) -> nn.Module:
    denoiser = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1))
    return nn.Sequential(MALADE(denoiser, steps=2, alpha=0.01, delta=0.02, sigma=0.5), net).eval()


def hooked(net: nn.Module) -> nn.Module:
    net[0].register_forward_hook(lambda layer, given, made: made + 0)
    return net


def given_functions(net: nn.Module, *names: str) -> nn.Module:
    for name in names:
        setattr(net[0], name, net[0].forward)
    return net


UNKNOWN = {
    "a layer of someone else's": lambda net: InForward(net),
    "a hook": hooked,
    "a forward of its own": lambda net: given_functions(net, "forward"),
    "a function beside it": lambda net: given_functions(net, "before"),
    "a purified one": lambda net: purified(InForward(net)),
}


def asked_for_a_memory(model: nn.Module) -> int:
    """Images that a model is asked about to find that it has none."""
    tally, x = Tally(), images(3)
    with tally.counting():
        assert not memory_of(model.eval(), x, Stream.of(0, torch.arange(len(x))))
    return tally.forwards


@pytest.mark.parametrize("known", [small_network, lambda: purified(small_network())])
def test_a_model_of_known_layers_is_not_asked_whether_it_remembers(known):
    assert asked_for_a_memory(known()) == 0


@pytest.mark.parametrize("unlike", UNKNOWN.values(), ids=UNKNOWN)
def test_whatever_may_run_other_code_is_asked(unlike):
    assert asked_for_a_memory(unlike(small_network())) > 0


def test_parts_that_are_asked_by_themselves_are_counted_as_the_whole():
    x, tally = images(6), Tally()
    network = Counting(nn.Sequential(Of(in_steps), small_network())).eval()
    Counting.asked = Counting.back = 0
    with tally.counting():
        assert find(network, x).of("zero")
    assert tally.forwards > Counting.asked
    assert tally.backwards > Counting.back
