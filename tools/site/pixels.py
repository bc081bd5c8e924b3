"""What needs an image: attacks and diagnoses on scikit-learn's digits, of 8 by 8 pixels."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from holdfast import data
from holdfast.attacks import Attack, SaltAndPepper, SparseRS, Spatial, SpatialIFGSM
from holdfast.threat import L0, Linf
from tools.site import canvas

_UNBOUNDED = Linf(float("inf"))

_ATTACKS: Mapping[str, Attack] = {
    "salt-and-pepper": SaltAndPepper(_UNBOUNDED, queries=300),
    "sparse-rs": SparseRS(L0(3), queries=300),
    "spatial": Spatial(_UNBOUNDED, angles=(-60.0, -40.0, -20.0, 20.0, 40.0, 60.0), flips=2),
    "spatial+i-fgsm": SpatialIFGSM(Linf(0.2)),
}


def draw(name: str) -> bytes | None:
    """An image and what the attack makes of it, with the network's answers; None of others."""
    if name not in _ATTACKS:
        return None
    model = network()
    x, y = images(12)
    x_adv = _ATTACKS[name](model, x, y, seed=0)
    fooled = model(x_adv).argmax(dim=1) != y
    first = int(torch.nonzero(fooled & (model(x).argmax(dim=1) == y))[0])
    both = torch.cat((x[first], x_adv[first]))
    classes = model(both[:, None]).argmax(dim=1).tolist()
    words = [f"the image: {classes[0]}", f"{name}: {classes[1]}"]
    return canvas.svg(canvas.strip(both, words, columns=2), name)


@cache
def network(seed: int = 0) -> nn.Sequential:
    """A small convolutional network, trained plainly; not to be changed."""
    train = data.load("digits", "train")
    x, y = train.x(torch.arange(len(train))), train.y
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(288, 10),
        )
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            chosen = torch.randint(0, len(x), (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimiser.step()
    model.zero_grad(set_to_none=True)
    return model.eval()


@cache
def images(count: int) -> tuple[Tensor, Tensor]:
    """The first of the test images that every network here is right about."""
    test = data.load("digits", limit=4 * count + 8)
    x, y = test.x(torch.arange(len(test))), test.y
    right = torch.stack([network(seed)(x).argmax(dim=1) == y for seed in (0, 1)]).all(dim=0)
    return x[right][:count], y[right][:count]
