"""What the user must hear of fitted histograms."""

import numpy as np
from sklearn.utils import Bunch

from skae._warn import warn
from skae.exceptions import AmbiguousDelayWarning, PoorFitWarning, UndeterminedWarning
from skae.transformers.correlations.intervals import Search, noise_of
from skae.transformers.correlations.likelihood import Histograms
from skae.transformers.correlations.misfit import is_poor
from skae.transformers.correlations.model import CorrelationModel
from skae.transformers.correlations.search import Fits

# Counts expected in a side peak, or under the dip, below which nothing is said of g²(0).
FEWEST_COUNTS = 10.0

# By how much deviance must fall from flat light to a train of pulses.
_PULSES = 40.0

# Another place is nearly as likely where its deviance is larger by less, or where none stands out from
# what so many are by chance, at this confidence.
_NEARLY = 6.0
_SURE = 0.95


def undetermined(model: CorrelationModel, data: Histograms, fits: Fits) -> np.ndarray:
    """Return of which rows too few counts are expected for anything to be said of g²(0)."""
    fewest = 0.0 if model.gaussian else FEWEST_COUNTS
    area = _counts_at_stake(model, data, fits)
    return ((area < fewest) | (area == 0.0)) & (not _is_known(model))


def _counts_at_stake(model, data, fits):
    """Return what is expected in a side peak, or under the dip, in bins that count."""
    seen = (data.known * model.centre(fits.values)).sum(axis=1)
    return np.minimum(seen, model.peak_area(fits.values))


def _is_known(model):
    low, high = model.bounds["g2_zero"]
    return low == high


def warn_of(model: CorrelationModel, verdicts: list[tuple[Histograms, Fits, Bunch]]) -> None:
    """Warn of what is wrong with fits, each kind once."""
    vague = np.concatenate([undetermined(model, data, fits) for data, fits, _ in verdicts])
    poor = np.concatenate([is_poor(fit) for *_, fit in verdicts])
    flat = np.concatenate([_has_no_pulses(model, data, fits) for data, fits, _ in verdicts])
    vague &= ~flat
    unsure = np.concatenate([_is_ambiguous(model, data, fits) for data, fits, _ in verdicts])
    unsure &= ~(vague | poor | flat)
    values = np.concatenate([fits.values for _, fits, _ in verdicts])
    if vague.any():
        where = "a side peak" if model.is_pulsed else "as much flat light as the dip is wide"
        first = int(vague.argmax())
        stakes = np.concatenate([_counts_at_stake(model, data, fits) for data, fits, _ in verdicts])
        warn(
            f"g²(0) of {_of_all(vague)} is undetermined: {stakes[first]:.3g} counts are expected in "
            f"{where}, fewer than {FEWEST_COUNTS:g}. Count for longer, add up histograms, or leave out "
            "fewer bins.",
            UndeterminedWarning,
        )
    if unsure.any():
        first = int(unsure.argmax())
        delay = values[first, model.index["zero_delay"]]
        warn(
            f"Zero delay of {_of_all(unsure)} is not clear: {delay:.6g} is the likeliest, but others are "
            "nearly as likely, so that g²(0) is hardly known. Give zero_delay=, a number or a range.",
            AmbiguousDelayWarning,
        )
    if (poor | flat).any():
        warn(f"Poor fit: {' '.join(_faults(verdicts, poor, flat))}", PoorFitWarning)


def _faults(verdicts, poor, flat):
    if flat.any():
        yield (
            f"no pulses are seen in {_of_all(flat)}; use kind='continuous' for light that is not pulsed, "
            "or give the period."
        )
    if poor.any():
        first = int(poor.argmax())
        fit, number = _row(verdicts, first)
        low, high = fit.window[number]
        than = "more" if fit.excess[number] > 0.0 else "fewer"
        yield (
            f"the formula does not describe {_of_all(poor)}: deviance per bin {fit.deviance[number]:.3f} "
            f"where {fit.expected[number]:.3f} ± {fit.spread[number]:.3f} is expected, and between "
            f"{low:.6g} and {high:.6g} {abs(fit.excess[number]):.3g} counts {than} than fitted. Look at "
            "goodness_of_fit(X).residuals. A wrong kind, period or zero delay, a second lifetime, jitter "
            "and light from one detector to the other are usual causes; crosstalk= describes humps, and "
            "NaN with missing='mask' leaves bins out."
        )


def _of_all(which):
    """Name how many rows there are of, and the first."""
    if len(which) == 1:
        return "the histogram"
    return f"{np.count_nonzero(which)} of {len(which)} histograms (row {int(which.argmax())} first)"


def _row(verdicts, number):
    """Return the goodness of fit that holds a row, and its number in it."""
    for *_, fit in verdicts:
        if number < len(fit.deviance):
            return fit, number
        number -= len(fit.deviance)
    raise IndexError(number)


def _has_no_pulses(model, data, fits):
    """Return which rows have enough counts for pulses to be seen, and none are."""
    if not model.is_pulsed or model.gaussian:
        return np.zeros(len(fits.deviance), dtype=bool)
    train = model.curves(fits.plain)
    level = train.sum(axis=1, keepdims=True) / model.exposure.sum() * model.exposure
    seen = (np.square(train - level) / np.maximum(level, 1e-300)).sum(axis=1)
    n_periods = np.ptp(model.bins.edges) / fits.plain[:, model.index["period"]]
    enough = data.counts.sum(axis=1) > 3.0 * FEWEST_COUNTS * n_periods
    return enough & (seen < _PULSES)


def _is_ambiguous(model, data, fits):
    first, last = model.bounds["zero_delay"]
    if first == last or _is_known(model):
        return np.zeros(len(fits.deviance), dtype=bool)
    hidden = ~Search.of(model, fits, _SURE).stands_out(model, data, fits)
    if fits.deviances.shape[1] < 2:
        return hidden
    delay = fits.places[:, :2, model.index["zero_delay"]]
    apart = 2.0 * (fits.values[:, model.lifetimes[0]] + model.bins.widths.min())
    close = fits.deviances[:, 1] - fits.deviance < _NEARLY * noise_of(model, data, fits)
    return hidden | (close & (np.abs(delay[:, 1] - delay[:, 0]) > apart))
