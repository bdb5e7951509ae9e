"""What a fit of positions got wrong, by some of its training events."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import Tensor

from skae.estimators._locator import single_positions
from skae.estimators._poor_fit import faults_of_regression, r_squared
from skae.training.batches import PLAIN

# Factor by which errors may differ from predicted ones, and what accuracies may differ from theirs.
_OFF_BY, _UNSURE = 2.0, 0.15

# Numbers in the events that are looked at.
_NUMBERS = 2**22

# Fewest events with a pulse, and without, of which presence is judged, and least area under their curve.
_FEWEST, _LEAST_AREA = 20, 0.6


def faults_of_locator(locator: Any, X: np.ndarray, y: np.ndarray, is_short: bool) -> Iterator[str]:
    """Name what is wrong with positions, with how sure they are, and with the presence of a pulse."""
    few = -(-X.size // _NUMBERS)  # long events: some of them
    X, y = X[::few], y[::few]
    y, is_empty = single_positions(y), np.isnan(y) if y.ndim == 1 else np.isnan(y).all(axis=1)
    distribution = locator.net_.criterion_

    def look(x: Tensor) -> tuple[Tensor, ...]:
        output = locator.module_(x)
        probability, best = distribution.masses(output).max(dim=1)
        moments = distribution.mean_and_std(output)
        return *moments, probability, best.to(probability.dtype), distribution.log_odds(output)

    found = locator._apply(look, X, gives=(PLAIN,) * 5)
    is_there, odds = ~np.isnan(y), found[-1]
    if min(is_empty.sum(), (~is_empty).sum()) >= _FEWEST:
        area = roc_auc_score(~is_empty, odds)
        if not area > _LEAST_AREA:
            yield (
                f"Events with and without a pulse are hardly told apart: the area under the curve is "
                f"{area:.2f} on the training data, where chance gives 0.5."
            )
    if not is_there.any():
        return
    mean, std, probability, best = (part[is_there] for part in found[:4])
    y = y[is_there]
    yield from faults_of_regression("the mean position", r_squared(y, mean), is_short)
    if locator.several_pulses_:  # what is expected elsewhere is no error of this one
        return
    if locator.sub_bin_:
        low, high = np.quantile((y - mean) / std, [0.16, 0.84])
        off = abs(np.log((high - low) / 2.0)) > np.log(_OFF_BY)
        what = f"errors are {(high - low) / 2.0:.2g} times the predicted standard deviations"
    else:
        accuracy, sure = np.mean(best == np.rint(y)), probability.mean()
        off = abs(accuracy - sure) > _UNSURE
        what = f"{accuracy:.0%} of the bins are right, where {sure:.0%} were predicted"
    if off:
        yield (
            f"Predicted distributions are off: {what}. Train for longer, or on more events; where "
            "what tells a pulse is far from it, with a larger kernel_size."
        )
