from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from holdfast.attacks.adaptive import adapted
from holdfast.attacks.suite import WorstCase
from holdfast.certify import (
    ABSTAIN,
    CertificationConfig,
    ClopperPearson,
    Hoeffding,
    Sampling,
    SisonGlaz,
    TwoSample,
    certificates,
    certify,
    certify_images,
    renyi_radius,
)
from holdfast.certify.after_noise import change_after_noise
from holdfast.certify.bounds.bound import bound, round_down
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.certify.sampling import sample
from holdfast.certify.smoothing import BOUNDS
from holdfast.defenses import GaussianNoise
from holdfast.errors import HoldfastError, InputError, InputTypeError, ModelError, UnknownNameError
from holdfast.models import Normalize
from holdfast.random import Stream
from holdfast.threat import L2
from holdfast.votes import Vote
from tests.toys import Wrapped, images, small_network, two_class


def test_the_draws_that_choose_are_none_of_those_that_count():
    """With the same draws the class would be chosen by the votes that its limit rests on."""
    x = torch.full((40, 1, 4, 4), 0.5)  # on the boundary
    model = nn.Sequential(GaussianNoise(1.0), two_class(torch.ones(16), 8.0)).eval()
    found = sample(model, x, Stream.of(0, torch.arange(40)), n=50, n0=50)
    apart = np.abs(found.choice - found.counts).sum(axis=1)
    assert (apart > 0).mean() > 0.7  # all would be 0


class TestCertify:
    def test_a_linear_classifier_is_certified_within_its_true_margin(self):
        """The smoothed classifier of a half-space is the half-space itself, so the truth is known.

        Its true radius is the distance to the plane; a certificate may be wrong with probability
        5 % for each image, and none is expected beyond the margin among 60 but by that chance.
        """
        normal = torch.randn(16, generator=torch.Generator().manual_seed(0))
        x = images(60, (1, 4, 4))
        margin = (x.flatten(1) @ normal - float(normal.sum()) / 2) / normal.norm()
        model = two_class(normal, float(normal.sum()) / 2)
        found = certify_images(model, x, sigma=0.25, votes=2000, confidence=0.95)
        side = (margin > 0).long().numpy()
        issued = ~found.abstained
        assert issued.mean() > 0.7
        assert (found.prediction[issued] == side[issued]).mean() >= 0.95
        beyond = found.radius[issued] > margin.abs().numpy()[issued]
        assert beyond.sum() <= stats.binom.ppf(0.9999, 60, 0.05)
        assert (found.radius[issued] > 0).mean() > 0.9

    def test_no_attack_of_the_suite_breaks_a_certificate(self):
        """With its own averages against the smoothed classifier; four times as far it does win."""
        model, sigma, x = small_network(), 0.2, images(40)
        found = certify_images(model, x, sigma=sigma, votes=1000, bound="cohen", interval=TwoSample)
        reach = float(np.median(found.radius[~found.abstained]))
        held = np.flatnonzero(found.radius >= reach)[:6]
        label = torch.from_numpy(found.prediction[held])
        noisy = nn.Sequential(GaussianNoise(sigma), model)

        def lost(eps):
            """Whether the vote prefers another class there by more than chance."""
            suite = WorstCase(L2(eps), steps=4, targets=3, queries=30)
            x_adv = adapted(suite, noisy, samples=4, votes=50)(noisy, x[held], label)
            votes = certify_images(model, x_adv, sigma=sigma, votes=1000, seed=7).counts
            own = votes[np.arange(len(held)), label]
            others = np.where(np.eye(4)[label], 0, votes).max(axis=1)
            return stats.binom.sf(others - 1, others + own, 0.5) < 1e-4

        assert len(held) == 6
        assert not lost(reach).any()
        assert lost(4 * reach).any()

    def test_votes_do_not_depend_on_batches(self):
        model, x = small_network(), images(5)
        whole = certify_images(model, x, sigma=0.5, votes=37, seed=3)
        assert (whole.counts.sum(axis=1) == 37).all()
        for size in (1, 8, 1000):
            same = certify_images(model, x, sigma=0.5, votes=37, seed=3, batch_size=size)
            assert (same.counts == whole.counts).all()
        part = certify_images(model, x[2:4], sigma=0.5, votes=37, seed=3, index=torch.arange(2, 4))
        assert (part.counts == whole.counts[2:4]).all()
        other = certify_images(model, x, sigma=0.5, votes=37, seed=4)
        assert (other.counts != whole.counts).any()

    @pytest.mark.filterwarnings("ignore:the model clips")  # counts tell little of an image
    @pytest.mark.parametrize("votes", [None, 1, 3])
    def test_a_network_with_randomness_of_its_own_answers_afresh_every_time(self, votes):
        """A coin within the network is a coin in every draw, also as a vote of several."""

        class Coin(nn.Module):
            def forward(self, x):
                return nn.functional.pad(x.flatten(1)[:, :1] - 0.5, (0, 1))

        coin = nn.Sequential(GaussianNoise(10.0), Coin()).eval()
        model = coin if votes is None else Vote(coin, votes)
        found = certify_images(
            model, torch.full((20, 1, 1, 1), 0.5), sigma=1e-3, votes=100, bound="cohen"
        )
        within = stats.binom.ppf([1e-5, 1 - 1e-5], 100, 0.5)
        assert ((within[0] <= found.counts) & (found.counts <= within[1])).all()
        assert len(np.unique(found.counts[:, 0])) > 5

    def test_the_noise_is_gaussian_and_not_clipped(self):
        seen = []

        def watch(x):
            seen.append(x)
            return x.flatten(1)[:, :2]

        certify_images(Wrapped(watch), torch.full((2, 1, 2, 8), 0.9), sigma=0.5, votes=400)
        votes = [x for x in seen if len(x) > 2]  # the others ask what the model does with noise
        noise = (torch.cat(votes) - 0.9).flatten().double().numpy() / 0.5
        assert stats.kstest(noise, "norm").pvalue > 1e-3

    def test_abstention_has_no_radius(self):
        counts = np.array([[50, 50], [51, 49], [99, 1]])
        found = certificates(Sampling(counts), ClopperPearson(0.95), renyi_radius, 1.0)
        assert list(found.abstained) == [True, True, False]
        assert list(found.prediction) == [ABSTAIN, ABSTAIN, 0]
        assert (found.radius[:2] == 0).all()
        assert found.radius[2] > 0

    def test_too_few_votes_are_told_how_many_would_do(self):
        with pytest.raises(InputError, match=r"4 classes .* at least 7\."):
            certify_images(small_network(), images(4), sigma=0.1, votes=6, interval=ClopperPearson)
        assert not certify_images(small_network(), images(4), sigma=1e-6, votes=7).abstained.any()

    def test_classes_that_are_never_seen_are_no_obstacle(self):
        model = Wrapped(lambda x: nn.functional.pad(x.flatten(1)[:, :2], (0, 8), value=-9.0))
        found = certify_images(model, images(20), sigma=0.1, votes=200)
        assert found.counts.shape == (20, 10)
        assert not found.counts[:, 2:].any()
        assert (found.radius > 0).any()

    @pytest.mark.parametrize("interval", [ClopperPearson, TwoSample, Hoeffding, SisonGlaz])
    @pytest.mark.parametrize("bound", ["renyi", "cohen", "pixeldp"])
    def test_every_bound_with_every_interval_from_one_sampling(self, interval, bound):
        x, model = images(12), small_network()
        found = certify_images(model, x, sigma=0.1, votes=200, bound=bound, interval=interval)
        again = certificates(found.sampling, interval(0.95), BOUNDS[bound], 0.1)
        assert (again.radius == found.radius).all()
        counts = certify_images(model, x, sigma=0.1, votes=200).counts
        assert (found.counts == counts).all()
        assert (found.sampling.choice is None) == (interval is not TwoSample)
        assert np.allclose(found.sampling.scores.sum(axis=1), 1)

    def test_laplace_noise_certifies_in_l1(self):
        normal = torch.ones(16)
        x = images(40, (1, 4, 4))
        margin = (x.flatten(1) @ normal - 8).abs()  # the l1 distance, since all weights are 1
        found = certify_images(
            two_class(normal, 8.0), x, sigma=0.2, votes=2000, bound="laplace", noise="laplace"
        )
        issued = ~found.abstained
        assert issued.mean() > 0.5
        beyond = found.radius[issued] > margin.numpy()[issued]
        assert beyond.sum() <= stats.binom.ppf(0.9999, 40, 0.05)

    @pytest.mark.parametrize(
        ("bound", "noise"),
        [("laplace", "gaussian"), ("renyi", "laplace"), ("laplace", "first-layer")],
    )
    def test_a_bound_of_other_noise_is_refused(self, bound, noise):
        with pytest.raises(InputError, match="is about"):
            certify_images(small_network(), images(2), sigma=0.1, bound=bound, noise=noise)

    def test_radii_are_rounded_down(self):
        assert round_down(np.array([0.69961299999])) == pytest.approx(0.699612, abs=1e-12)
        value = renyi_radius(0.9, 0.05, 1.0)
        assert 0 <= value - round_down(np.array([value]))[0] < 1e-6

    def test_rounding_down_never_gains_a_bit(self):
        """Also just below a millionth, where the product with 10^6 is rounded up."""
        millionths = np.random.default_rng(0).integers(1, 10**7, size=100_000)
        for towards in (0.0, None, np.inf):
            exact = millionths / 1e6
            radius = exact if towards is None else np.nextafter(exact, towards)
            cut = round_down(radius)
            assert (cut <= radius).all()
            assert (radius - cut <= 1.000001e-6).all()

    def test_a_radius_is_less_than_computed_by_more_than_a_bound_can_be_wrong(self):
        found = certificates(
            Sampling(np.array([[90, 10]])),
            ClopperPearson(0.9),
            lambda p1, p2, sigma: 0.5 * (1 + 9e-10) * np.ones_like(p1),
            1.0,
        )
        assert found.radius[0] == 0.499999

    def test_a_bound_may_be_a_function(self):
        x = images(3)
        named = certify_images(small_network(), x, sigma=0.1)
        given_function = certify_images(small_network(), x, sigma=0.1, bound=BOUNDS["cohen"])
        assert (named.radius == given_function.radius).all()

    def test_bounds_and_intervals_have_parameters_in_their_specs(self, monkeypatch):
        """What a formula or a constructor takes beside what is measured is written there."""

        @bound()
        def shorter(p1, p2, sigma, *, by: float = 1.0):
            return BOUNDS["renyi"](p1, p2, sigma) * by

        @dataclass(frozen=True)
        class Surer(ClopperPearson):
            times: int = 1

            def __call__(self, sampling):
                return ClopperPearson(1 - (1 - self.confidence) / self.times)(sampling)

        monkeypatch.setitem(BOUNDS._things, "shorter", shorter)
        monkeypatch.setitem(INTERVALS._things, "surer", Surer)
        x, y = images(6), torch.arange(6) % 3
        config = CertificationConfig(
            sigma=0.1,
            bounds=("renyi", "shorter", "shorter(by=0.5)"),
            intervals=("clopper-pearson", "surer(times=5)"),
        )
        rows = certify(small_network(), x, y, config=config).rows
        radius = {
            names: part["radius"].to_numpy() for names, part in rows.groupby(["bound", "interval"])
        }
        whole = radius["renyi", "clopper-pearson"]
        assert (radius["shorter", "clopper-pearson"] == whole).all()
        assert whole.max() > 0
        assert np.allclose(radius["shorter(by=0.5)", "clopper-pearson"], whole / 2, atol=2e-6)
        surer = certify_images(
            small_network(),
            x,
            sigma=0.1,
            bound="renyi",
            interval=lambda confidence: Surer(confidence, times=5),
        )
        assert (radius["renyi", "surer(times=5)"] == surer.radius).all()
        assert (surer.radius < whole).any()
        for wrong, words in (
            ({"bounds": ("shorter(bye=1)",)}, "no parameter bye; did you mean 'by'"),
            ({"bounds": ("shorter(by='a')",)}, "by is 'a', but must be a number"),
            ({"intervals": ("surer(time=1)",)}, "no parameter time; did you mean 'times'"),
            ({"intervals": ("surer(confidence=0.5)",)}, "no parameter confidence"),
            ({"radii": (0.1, 0.1)}, "radii has 0.1 twice"),
            ({"votes": 10**8}, "votes is 100000000"),
        ):
            with pytest.raises(HoldfastError, match=words):
                CertificationConfig(sigma=0.1, **wrong)

    def test_the_model_is_left_as_it_was(self):
        model = nn.Sequential(small_network(), nn.Dropout(0.5)).train()
        state = torch.get_rng_state()
        with pytest.warns(UserWarning, match="training mode"):
            certify_images(model, images(2), sigma=0.1)
        assert model.training
        assert all(p.grad is None for p in model.parameters())
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"sigma": 0.0}, InputError, "sigma is 0"),
            ({"sigma": -1.0}, InputError, "sigma is -1"),
            ({"votes": 0}, InputError, "votes is 0"),
            ({"votes": 3}, InputError, "at least"),
            ({"model": Wrapped(lambda x: x.flatten(1)[:, :1])}, ModelError, "2 classes"),
            ({"confidence": 1.0}, InputError, "confidence is 1"),
            ({"bound": "reny"}, UnknownNameError, "renyi"),
            ({"x": images(2) + 1}, InputError, "image 0"),
            ({"x": (images(2) * 255).long()}, InputTypeError, "int64"),
            ({"model": Wrapped(lambda x: x.flatten(1)[:, :3] / 0)}, ModelError, None),
            ({"model": Wrapped(lambda x: x)}, ModelError, "shape"),
        ],
    )
    def test_bad_input(self, change, error, words):
        arguments = {"model": small_network(), "x": images(2), "sigma": 0.1, **change}
        if words is None:
            arguments["model"] = Wrapped(lambda x: x.flatten(1)[:, :3] * torch.nan)
        with pytest.raises(error, match=words or "NaN"):
            certify_images(arguments.pop("model"), arguments.pop("x"), **arguments)


@pytest.mark.parametrize("interval", ["two-sample", "clopper-pearson", "sequential"])
def test_votes_that_are_no_numbers_certify_nothing(interval):
    """Of NaN the largest is always the same class; on clean images there is none."""

    def overflows(x):
        return torch.where(x.flatten(1)[:, :3] > 2, torch.nan, x.flatten(1)[:, :3])

    within = 0.5 if interval == "sequential" else None
    config = CertificationConfig(sigma=1e4, votes=200, intervals=(interval,), within=within)
    with pytest.raises(ModelError, match="NaN for image 0 under noise"):
        certify(Wrapped(overflows), images(2), torch.tensor([0, 1]), config=config)


class TestAfterTheNoise:
    def certify(self, *layers):
        model = nn.Sequential(*layers, small_network()).eval()
        return certify_images(model, images(2), sigma=0.1, votes=10)

    def test_a_plain_model_is_not_warned_of(self):
        self.certify()
        self.certify(nn.Identity())

    def test_a_network_that_answers_nearly_the_same_is_not_warned_of(self):
        network = small_network()
        for scale in 10 ** torch.linspace(-7, 0, 36):
            faint = nn.Sequential(network, Wrapped(lambda x, scale=scale: scale * x)).eval()
            assert change_after_noise(faint, images(2)) is None, float(scale)

    def test_normalization(self):
        with pytest.warns(UserWarning, match=r"behind a std of 0\.25 .* noise of 0\.4"):
            self.certify(Normalize([0.5], [0.25]))

    @pytest.mark.parametrize("layer", [nn.Hardtanh(0, 1), Wrapped(lambda x: x.clamp(0, 1))])
    def test_clipping_in_whatever_code(self, layer):
        with pytest.warns(UserWarning, match="clips"):
            self.certify(layer)

    def test_standardization_of_each_image(self):
        with pytest.warns(UserWarning, match="its own mean"):
            self.certify(nn.InstanceNorm2d(1, eps=0.0))
