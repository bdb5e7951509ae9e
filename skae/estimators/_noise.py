"""The one place where an estimator's ``noise=`` becomes what the training loop calls."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skae.modules.noise import RowNoise
from skae.transformers import NoiseInjector


def make_corruption(
    noise: Any, X: np.ndarray
) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return a callable ``(batch, generator) -> batch`` that corrupts each minibatch afresh.

    Parameters
    ----------
    noise : None, NoiseInjector or callable
        None leaves the data alone. Of a NoiseInjector the twin that draws on the batch's device is
        returned. A callable is used as it is: it gets the clean minibatch ``(m, ...)``, which it must not
        change in place, and the generator, on the same device, that all its randomness has to come from.
    X : ndarray of shape (n_samples, ...)
        The rows that are to be corrupted.

    Raises
    ------
    ValueError
        If the NoiseInjector's parameters are wrong, or do not suit X.
    """
    if isinstance(noise, nn.Module):  # skorch would take it for a part of the network
        return noise.__call__
    if not isinstance(noise, NoiseInjector):
        return noise
    noise._validate_params()
    return RowNoise(**noise._find_law(X))
