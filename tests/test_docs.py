"""What the documentation shows, runs."""

import re
from pathlib import Path

import pytest
import torch

from holdfast.attacks import Attack
from holdfast.threat import L2, Linf
from tests.toys import images, small_network

ROOT = Path(__file__).parents[1]


def blocks(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)])
def test_the_attacks_of_the_architecture_page_work(threat):
    names = {}
    for block in blocks("docs/architecture.md"):
        exec(block, names)
    model, x = small_network(), images(20)
    y = model(x).argmax(dim=1)
    for attack in (names["SecondOrderLL"](threat), names["RandomSearch"](threat=threat)):
        assert isinstance(attack, Attack)
        x_adv = attack(model, x, y)
        assert (threat.distance(x_adv, x) <= threat.eps * (1 + 1e-6)).all()
    before = model(x).gather(1, y[:, None])
    assert (model(x_adv).gather(1, y[:, None]) < before).float().mean() > 0.5
    part = attack(model, x[3:5], y[3:5], index=torch.tensor([3, 4]))
    assert torch.allclose(part, x_adv[3:5], atol=1e-6)


def test_the_python_of_the_readme_works(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("README.md"):
        exec(block, names)
    out = capsys.readouterr().out
    assert "robust accuracy" in out
    assert "certified accuracy" in out


def test_the_training_loop_of_the_how_to_page_gives_every_batch_its_own_noise(monkeypatch):
    draws = []
    sample = Linf.sample

    def watched(threat, x0, rng):
        draws.append(rng.uniform(()))
        return sample(threat, x0, rng)

    monkeypatch.setattr(Linf, "sample", watched)
    names = {}
    with torch.random.fork_rng():
        for block in blocks("docs/how-to.md"):
            exec(block, names)
    assert len(draws) == names["step"] == 8
    assert len(torch.cat(draws).unique()) == 8 * 8
    assert names["objective"].attack == names["attack"]


def test_every_file_that_the_documentation_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name in set(re.findall(r"`([\w/]+\.(?:py|md))`", text)):
        places = [ROOT / name, ROOT / "src/holdfast" / name, ROOT / "src/holdfast/attacks" / name]
        assert any(place.exists() for place in places), name
