"""What the parameters of :class:`~skae.PhotonCorrelationFit` say of the model: bins, kind and bounds."""

from typing import Any

import numpy as np

from skae._warn import warn
from skae.exceptions import IgnoredParameterWarning
from skae.physics.correlations import Bins
from skae.transformers.correlations.likelihood import Histograms
from skae.transformers.correlations.model import BLUR, Bounds, CorrelationModel
from skae.transformers.correlations.search import fit_rows

_DEFAULTS = {"signal": 1.0}

# Histograms, those with most counts, that settle whether light is pulsed.
_ROWS_OF_KIND = 10

# By how much pulses must be better than none, beyond what more parameters cost.
_CLEARLY = 10.0

# Lifetimes are no shorter than this share of the narrowest bin, and blurs than that; a dip is no longer
# than this share of the histogram, nor a hump wider, and two periods and a half fit into it.
_SHORTEST, _SHARPEST, _LONGEST, _WIDEST, _PERIODS = 0.25, 0.01, 0.25, 0.125, 2.5


@np.errstate(under="ignore")
def likelier_kind(estimator: Any, bins: Bins, X: np.ndarray) -> str:
    """Return "pulsed" or "continuous": which of them describes the histograms with most counts."""
    most = np.argsort(-np.nansum(X, axis=1), kind="stable")[:_ROWS_OF_KIND]
    data = Histograms.of(X[most].astype(np.float64))
    deviances, costs = [], []
    for kind in ("pulsed", "continuous"):
        model = model_of(estimator, bins, kind, quietly=True)
        deviance = fit_rows(model, data).deviance
        n_bins = np.maximum(data.known.sum(axis=1), 1.0)
        if model.gaussian:
            deviance = n_bins * np.log(np.maximum(deviance, 1e-300) / n_bins)
        deviances.append(deviance.sum())
        costs.append(np.count_nonzero(model.limits[0] < model.limits[1]) * np.log(n_bins).sum())
    gain = deviances[1] - deviances[0] - (costs[0] - costs[1])
    return "pulsed" if gain > _CLEARLY else "continuous"


def model_of(estimator: Any, bins: Bins, kind: str, *, quietly: bool = False) -> CorrelationModel:
    """Return the model that an estimator's parameters describe.

    Raises
    ------
    ValueError
        If they are no numbers or ranges that they can have.
    """
    step, span = float(bins.widths.min()), float(np.ptp(bins.edges))
    lifetimes = estimator.lifetimes
    if len(lifetimes) not in (1, 2):
        raise ValueError(f"lifetimes={lifetimes!r} must have one or two entries.")
    centres = bins.centres
    bounds = {"g2_zero": limits("g2_zero", estimator.g2_zero, (0.0, np.inf), at_least=0.0)}
    longest = max(_LONGEST * span, step)
    if kind == "pulsed":
        free = (2.0 * step, max(span / _PERIODS, 3.0 * step))
        bounds["period"] = limits("period", estimator.period, free, above=0.0)
        longest = bounds["period"][1]
    bounds["zero_delay"] = limits("zero_delay", estimator.zero_delay, (centres[0], centres[-1]))
    widest = _LONGEST * longest
    bounds["jitter"] = limits(
        "jitter", estimator.jitter, (min(_SHARPEST * step, widest), widest), at_least=0.0
    )
    if kind == "pulsed" and bounds["jitter"][0] > BLUR * bounds["period"][1]:
        raise ValueError(f"jitter={estimator.jitter!r} must be at most a quarter of the period.")
    bounds |= _heights(estimator, kind)
    for number, values in enumerate(lifetimes, start=1):
        free = (min(_SHORTEST * step, longest), longest)
        bounds[f"lifetime_{number}"] = limits("lifetimes", values, free, above=0.0)
    if kind == "pulsed" and len(lifetimes) == 2:
        bounds["weight_1"] = (0.0, 1.0)
    bounds |= _humps(estimator, (0.5 * step, max(_WIDEST * span, step)))
    if not quietly:
        _warn_of_what_is_ignored(estimator, kind)
    return CorrelationModel(bins, bounds, estimator.likelihood == "gaussian")


def _heights(estimator: Any, kind: str) -> Bounds:
    """Return bounds of what is linear, beside g²(0)."""
    if kind == "pulsed":
        background = limits("background", estimator.background, (0.0, np.inf), at_least=0.0)
        return {"background": background}
    signal = limits("signal", estimator.signal, (0.0, 1.0), at_least=0.0)
    if signal[1] > 1.0:
        raise ValueError(f"signal={estimator.signal!r} is a share: at most 1.")
    bounds = {"signal": signal}
    if len(estimator.lifetimes) == 2:
        bounds["bunching"] = limits("bunching", estimator.bunching, (0.0, np.inf), at_least=0.0)
    return bounds


def _humps(estimator: Any, width: tuple[float, float]) -> Bounds:
    bounds = {}
    for number, delays in enumerate(estimator.crosstalk, start=1):
        if delays is None:
            raise ValueError(
                f"crosstalk={estimator.crosstalk!r}: each entry must be a delay, or a range (low, high)."
            )
        bounds[f"crosstalk_{number}"] = limits("crosstalk", delays, (0.0, 0.0))
        bounds[f"crosstalk_height_{number}"] = (0.0, np.inf)
        bounds[f"crosstalk_width_{number}"] = width
    return bounds


def _warn_of_what_is_ignored(estimator: Any, kind: str) -> None:
    others = {"pulsed": ("signal", "bunching"), "continuous": ("period", "background")}[kind]
    ignored = [
        name for name in others if getattr(estimator, name) not in (None, _DEFAULTS.get(name))
    ]
    if ignored:
        warn(
            f"{', '.join(ignored)} {'is' if len(ignored) == 1 else 'are'} not used with kind='{kind}'.",
            IgnoredParameterWarning,
        )


def limits(
    name: str, values: Any, free: tuple[float, float], *, above=-np.inf, at_least=-np.inf
) -> tuple[float, float]:
    """Return (low, high) of a parameter that is a number, a pair, or None.

    Raises
    ------
    ValueError
        If it is none of these, or lies outside its range.
    """
    if values is None:
        return free
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    low, high = array[0], array[-1]
    is_open = np.isfinite(high) or free[1] == np.inf  # only what may be as large as it likes
    if not (array.shape in ((1,), (2,)) and is_open and above < low <= high and low >= at_least):
        limit = f" above {above:g}" if above > -np.inf else ""
        limit = f" of {at_least:g} or more" if at_least > -np.inf else limit
        raise ValueError(
            f"{name}={values!r} must be None, a number or a pair (low, high) of finite numbers{limit}."
        )
    return float(low), float(high)
