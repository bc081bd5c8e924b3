"""The Hessian's leading eigenvector, on quadratics where it is known and on a network."""

import math
from dataclasses import dataclass

import pytest
import torch

from holdfast.diagnose import leading_eigenvector, second_order_cosines
from holdfast.diagnose.curvature import hessian_vector_product
from holdfast.errors import GradientError, InputError
from holdfast.goals import cross_entropy
from holdfast.random import Stream
from holdfast.types import Scored
from tests.toys import Wrapped, images, random_linear, small_network, smooth


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Goal and score in one: bᵀ(x - c) + (x - c)ᵀ H (x - c) / 2, stated at the image c."""

    hessian: torch.Tensor
    slope: torch.Tensor
    centre: torch.Tensor | None = None

    def __call__(self, *given):
        if len(given) == 3:
            return Quadratic(self.hessian, self.slope, given[1].flatten(1))
        offset = given[0].flatten(1) - self.centre
        value = offset @ self.slope + ((offset @ self.hessian) * offset).sum(dim=1) / 2
        return Scored(value, torch.zeros(len(value), dtype=torch.bool))

    def take(self, index):
        return Quadratic(self.hessian, self.slope, self.centre[index])


def rotated(spectrum, seed=0):
    """A symmetric matrix of this spectrum, and its eigenvectors as columns."""
    generator = torch.Generator().manual_seed(seed)
    size = len(spectrum)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator).double()).Q
    return (basis * torch.as_tensor(spectrum).double()) @ basis.T, basis


def leading(spectrum, iterations=30, slope=0.0, count=3, dtype=torch.float64):
    hessian, basis = rotated(spectrum)
    x = torch.full((count, len(spectrum)), 0.5, dtype=dtype)
    goal = Quadratic(hessian.to(dtype), torch.full((len(spectrum),), slope, dtype=dtype))
    score = goal(None, x, None)
    rng = Stream.of(0, torch.arange(count))
    return leading_eigenvector(score, x, rng, iterations=iterations), basis


@pytest.mark.parametrize(
    ("spectrum", "largest"),
    [
        ([5.0, *torch.linspace(-1, 1, 99).tolist()], 5.0),
        ([2.0, -10.0, *[0.0] * 98], 2.0),  # power iteration would find -10
        ([3.0, 1.0, *[0.0] * 98], 3.0),  # rank 2: the Krylov space ends after 3 products
        ([-1.0, *[-2.0] * 99], -1.0),  # the loss falls in every direction
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_leading_eigenvector_of_a_quadratic(spectrum, largest, dtype):
    found, basis = leading(spectrum, slope=0.3, dtype=dtype)
    fine = 1e-8 if dtype == torch.float64 else 1e-4
    assert torch.allclose(found.value, torch.full((3,), largest).double(), atol=fine)
    assert ((found.vector.double() @ basis[:, 0]).abs() > 1 - fine).all()
    assert (found.residual < 100 * fine).all()


def test_the_residual_tells_when_there_were_too_few_products():
    few, _ = leading([5.0, *torch.linspace(-1, 1, 99).tolist()], iterations=2)
    assert (few.residual > 0.1).all()
    with pytest.raises(InputError, match="at least 1"):
        leading([1.0, 2.0], iterations=0)
    exact, _ = leading([1.0, 2.0, 3.0], iterations=10)  # no more products than dimensions
    assert torch.allclose(exact.value, torch.full((3,), 3.0).double())


def test_against_the_whole_hessian_of_a_network():
    model = smooth()
    x = images(4, (1, 2, 3)).double()
    y = torch.tensor([0, 1, 2, 0])
    score, rng = cross_entropy(model, x, y), Stream.of(0, torch.arange(4))
    found = leading_eigenvector(score, x, rng, iterations=6)
    for place in range(4):
        one = score.take(torch.tensor([place]))
        whole = torch.autograd.functional.hessian(
            lambda flat, one=one: one(flat.view(1, 1, 2, 3)).value.sum(), x[place].flatten()
        )
        values, vectors = torch.linalg.eigh(whole)
        assert float(found.value[place]) == pytest.approx(float(values[-1]), abs=1e-10)
        cosine = found.vector[place].flatten() @ vectors[:, -1]
        assert float(cosine.abs()) == pytest.approx(1, abs=1e-6)


def test_a_loss_that_is_linear_has_no_curvature():
    @dataclass(frozen=True)
    class Slope:
        def __call__(self, x):
            return Scored(x.flatten(1).sum(dim=1), torch.zeros(len(x), dtype=torch.bool))

        def take(self, index):
            return self

    x, rng = images(2), Stream.of(0, torch.arange(2))
    assert torch.equal(hessian_vector_product(Slope(), x, x, rng), torch.zeros_like(x))
    found = leading_eigenvector(Slope(), x, rng)
    assert torch.equal(found.value, torch.zeros(2).double())
    assert found.vector.isfinite().all()


def cosines(spectrum, *, slope=0.0, samples=10, count=100, sigma=0.1, seed=0):
    size = len(spectrum)
    hessian, basis = rotated(spectrum)
    # A slope within the space that is orthogonal to the leading eigenvector.
    goal = Quadratic(hessian, slope * basis[:, 1])
    x = torch.full((count, size), 0.5, dtype=torch.float64)
    y = torch.zeros(count, dtype=torch.int64)
    model = random_linear(2, size)
    return second_order_cosines(
        model, x, y, xi=sigma * math.sqrt(size), sigma=sigma, samples=samples, goal=goal, seed=seed
    )


SPECTRUM = [5.0, *torch.linspace(-2, 2, 199).tolist()]


def test_where_the_gradient_vanishes_averaging_draws_comes_no_nearer():
    """E[Hd] = 0: the mean of m draws is one draw of another size (SO equation 4)."""
    found = {m: cosines(SPECTRUM, samples=m) for m in (1, 10, 100)}
    means = {m: float(found[m].mean_of_draws.mean()) for m in found}
    for m in found:
        assert torch.allclose(found[m].leading.value, torch.full((100,), 5.0).double())
        assert found[m].gradient.isnan().all()
    spread = float(found[1].mean_of_draws.std()) / math.sqrt(100)
    assert abs(means[100] - means[1]) < 4 * math.sqrt(2) * spread
    assert abs(means[100] - float(found[1].one_draw.mean())) < 4 * math.sqrt(2) * spread
    assert found[1].chance < means[100] < 0.3


def test_the_draws_of_one_and_of_many_follow_the_closed_form():
    """|cos| = 5 |z_1| / ‖H z‖ for a Gaussian z, of either equation."""
    z = torch.randn(20000, 200, generator=torch.Generator().manual_seed(0)).double()
    product = z * torch.tensor(SPECTRUM).double()
    expected = (product[:, 0].abs() / product.norm(dim=1)).mean()
    found = cosines(SPECTRUM, samples=10)
    for measured in (found.one_draw, found.mean_of_draws):
        assert float(measured.mean()) == pytest.approx(
            float(expected), abs=4 * float(measured.std()) / math.sqrt(100)
        )


def test_where_the_gradient_does_not_vanish_averaging_loses_what_a_draw_had():
    """The mean tends to the gradient, here orthogonal to the eigenvector."""
    means = [
        float(cosines(SPECTRUM, slope=1.0, samples=m).mean_of_draws.mean()) for m in (1, 10, 100)
    ]
    assert means[0] > 1.5 * means[1] > 3 * means[2]


def test_the_draws_are_keyed():
    model, x = small_network(), images(4)
    y = torch.tensor([0, 1, 2, 3])
    together = second_order_cosines(model, x, y)
    again = second_order_cosines(model, x[2:3], y[2:3], index=torch.tensor([2]))
    assert float(together.one_draw[2]) == pytest.approx(float(again.one_draw[0]), abs=1e-4)
    assert float(together.mean_of_draws[2]) == pytest.approx(
        float(again.mean_of_draws[0]), abs=1e-4
    )
    other = second_order_cosines(model, x, y, seed=1)
    assert not torch.allclose(together.one_draw, other.one_draw, atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"xi": 0.0}, {"xi": math.inf}, {"sigma": 0.0}, {"sigma": math.inf}, {"samples": 0}]
)
def test_the_draws_have_a_size(wrong):
    with pytest.raises(InputError, match="positive and finite"):
        second_order_cosines(small_network(), images(1), torch.tensor([0]), **wrong)


@pytest.mark.parametrize("cut", [lambda z: z.detach(), lambda z: torch.zeros(len(z), 10)])
def test_a_model_that_cuts_the_gradient_off_is_told(cut):
    model = Wrapped(lambda x: cut(x.flatten(1)[:, :10]))
    with pytest.raises(GradientError, match="no gradient reaches the images"):
        second_order_cosines(model, images(2), torch.tensor([0, 1]))
