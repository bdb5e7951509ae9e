"""Layers of showers: drawn as those in training, and hits where energies are given."""

import copy

import numpy as np
import pytest
import torch

from skae.modules.showers.layers import LayerModel, Layers
from skae.modules.showers.scales import EnergyScale

VOLUMES = [6, 10]


def showers(n, seed):
    """Two layers: the first is dark in a third of them, and what it holds the second one lacks."""
    rng = np.random.default_rng(seed)
    incident = np.exp(rng.uniform(np.log(1e3), np.log(1e5), n))
    share = np.where(rng.uniform(size=n) < 1 / 3, 0.0, rng.beta(4.0, 4.0, n))
    total = incident * rng.normal(0.9, 0.05, n)
    energy = np.stack([share, 1.0 - share], axis=1) * total[:, None]
    hits = 1 + rng.binomial(np.array(VOLUMES) - 1, 0.2 + 0.6 * energy / incident[:, None])
    hits = np.where(energy > 0.0, hits, 0)
    parts = (torch.from_numpy(part).float() for part in (incident, energy, hits))
    incident, *layers = parts
    return incident, Layers(*layers)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    incident, layers = showers(4000, 0)
    model = LayerModel(EnergyScale(incident), layers, incident, VOLUMES, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(400):
        part = torch.randperm(4000)[:200]
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1.0 - step / 400)
        optimizer.zero_grad()
        loss = -model.log_prob(Layers(*(each[part] for each in layers)), incident[part]).mean()
        loss.backward()
        optimizer.step()
    return model


def test_drawn_layers_are_like_those_in_training(trained):
    incident, real = showers(4000, 1)
    drawn = trained.sample(incident, torch.Generator().manual_seed(0))
    assert ((drawn.energy > 0.0) == (drawn.hits > 0.0)).all()
    assert (drawn.hits <= torch.tensor(VOLUMES)).all()
    for function in (
        lambda layers: (layers.energy[:, 0] == 0.0).float(),
        lambda layers: layers.energy.sum(dim=1) / incident,
        lambda layers: layers.energy[:, 0] / incident,
        lambda layers: layers.hits[:, 1],
    ):
        of_real, of_drawn = function(real), function(drawn)
        error = of_real.std() / 4000**0.5
        assert (of_drawn.mean() - of_real.mean()).abs() < 6 * error + 0.01 * of_real.mean()
        assert of_drawn.std().item() == pytest.approx(of_real.std().item(), rel=0.15)
    # what one layer holds the other lacks, and hits go with energies
    wanted, found = (
        torch.corrcoef(torch.cat([pair.energy / incident[:, None], pair.hits], dim=1).T)
        for pair in (real, drawn)
    )
    assert wanted[0, 1] < -0.9
    torch.testing.assert_close(found, wanted, atol=0.08, rtol=0)


def test_energies_that_are_given_stay(trained):
    incident, real = showers(500, 2)
    drawn = trained.sample(incident, torch.Generator().manual_seed(0), real.energy)
    assert torch.equal(drawn.energy, real.energy)
    assert ((drawn.hits > 0.0) == (real.energy > 0.0)).all()
    assert torch.corrcoef(torch.stack([drawn.hits[:, 1], real.hits[:, 1]]))[0, 1] > 0.3


def test_strange_layers_are_less_likely(trained):
    incident, real = showers(500, 3)
    score = trained.log_prob(real, incident)
    for strange in (
        Layers(real.energy.flip(1) * 3.0, real.hits.flip(1).clamp_max(6.0)),
        Layers(real.energy, torch.where(real.hits > 0.0, 1.0, 0.0)),
    ):
        assert trained.log_prob(strange, incident).mean() < score.mean() - 1.0


def test_energies_do_not_pile_up_at_the_least(trained):
    """Of a mixture that goes on below it."""
    model = copy.deepcopy(trained)
    incident, real = showers(4000, 4)
    model.least.copy_(real.energy[:, 1].quantile(0.3))
    drawn = model.sample(incident, torch.Generator().manual_seed(0)).energy[:, 1]
    near = [(drawn > 0.0) & (drawn < part * model.least) for part in (1.01, 1.1)]
    assert near[1].sum() > 50
    assert near[0].sum() < 0.3 * near[1].sum()
