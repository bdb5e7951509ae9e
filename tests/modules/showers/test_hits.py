"""Hits of layers: as many as were drawn, whatever their numbers are."""

import math

import torch

from skae.modules.showers.vae import _smallest


def test_as_many_are_chosen_as_asked_for_among_equals():
    numbers = torch.tensor([[[3.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [4.0, 3.0, 2.0, 1.0]]])
    chosen, following = _smallest(numbers, torch.tensor([[2.0, 0.0, 4.0]]))
    assert chosen.sum(dim=2).tolist() == [[2, 0, 4]]
    assert chosen[0, 0].tolist() == [False, True, True, False]
    assert following[0, :2].tolist() == [1.0, 2.0]
    assert math.exp(-float(following[0, 2])) < 1e-20  # all are hit: as if nothing were in the way
