"""A fitted CaloShowerVAE with one of its parts taken away, to see what the part is worth."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from skae.modules.showers import neighbours
from skae.modules.showers.scales import LEAST_CHANCE


@contextmanager
def independent_voxels(model: Pipeline, showers: np.ndarray) -> Iterator[None]:
    """Draw voxels by random numbers that have nothing in common."""
    with _kept(model[-1].module_.field) as field:
        for block in field.blocks:
            block.strength.zero_()
        yield


@contextmanager
def energies_as_hits(model: Pipeline, showers: np.ndarray) -> Iterator[None]:
    """Find a field anew whose strength is the same for hits and for their energies."""
    with _another_field(model, showers, _STRENGTHS=(0.6, 1.0), _LEAST_STRENGTHS=(0.05, 1.0)):
        yield


@contextmanager
def one_strength(model: Pipeline, showers: np.ndarray) -> Iterator[None]:
    """Find a field anew that all voxels share alike, with no noise of their own."""
    with _another_field(model, showers, _STRENGTHS=(1.0, 1.0), _STRENGTH_STEP=0.0):
        yield


@contextmanager
def _another_field(model: Pipeline, showers: np.ndarray, **constants: object) -> Iterator[None]:
    """Find a field anew, with other constants."""
    module = model[-1].module_
    with _kept(module.field), patch.multiple(neighbours, **constants):
        generator = torch.Generator(model[-1].device_).manual_seed(0)
        seen = _as_seen(model, showers)
        module.learn_field(seen, seen[: -(-len(seen) // 3)], generator, afresh=True)
        yield


@contextmanager
def free_hits(model: Pipeline, showers: np.ndarray) -> Iterator[None]:
    """Hit voxels by their chances alone, however many were drawn for a layer."""
    module = model[-1].module_

    def hits(logit, n_hits, generator):
        normal, strength = module.field.draw(logit, generator)
        uniform = torch.special.ndtr(-normal).clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE)
        return torch.logit(uniform) <= logit, uniform, strength, torch.zeros_like(n_hits)

    with patch.object(module, "_hits", hits):
        yield


@contextmanager
def gaussian_noise(model: Pipeline, showers: np.ndarray) -> Iterator[None]:
    """Draw the energies of lit voxels from normal distributions."""

    def draw(relative: Tensor, mean: Tensor, chance: Tensor) -> Tensor:
        return torch.special.ndtri(chance)

    with patch.object(model[-1].module_.noise_shape, "draw", draw):
        yield


@contextmanager
def _kept(part: nn.Module) -> Iterator[nn.Module]:
    """Put the weights of a module back in the end."""
    state = {name: value.clone() for name, value in part.state_dict().items()}
    try:
        yield part
    finally:
        part.load_state_dict(state)


def _as_seen(model: Pipeline, showers: np.ndarray) -> list[Tensor]:
    """Return showers as the network sees them, part by part."""
    seen: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return x[:, :1]

    model[-1]._apply(look, model[:-1].transform(showers))
    return seen


PARTS = {
    "as it is": lambda model, showers: nullcontext(),
    "voxels independent": independent_voxels,
    "energies share what hits share": energies_as_hits,
    "one strength for all voxels": one_strength,
    "hits by their chances alone": free_hits,
    "noise of lit voxels Gaussian": gaussian_noise,
}
