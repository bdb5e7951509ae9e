"""The one place where an estimator's ``noise=`` becomes what the training loop calls."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def make_corruption(noise: Any) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return a callable ``(batch, generator) -> batch`` that corrupts each minibatch afresh.

    Parameters
    ----------
    noise : None or callable
        None leaves the data alone. A callable is used as it is: it gets the clean minibatch
        ``(m, ...)``, which it must not change in place, and the generator, on the same device, that
        all its randomness has to come from.
    """
    return noise
