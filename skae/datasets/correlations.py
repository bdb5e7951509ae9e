"""Photon correlations: pulsed and continuous ones as Hanbury Brown and Twiss would count them."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.utils import Bunch, check_array, check_random_state

from skae._parameters import COUNT, NOT_NEGATIVE, arguments
from skae._sklearn import Interval, StrOptions
from skae.physics.correlations import (
    Bins,
    continuous_correlation,
    hump_integral,
    pulsed_correlation,
)

_RANGE = ["array-like", Interval(Real, None, None, closed="neither")]
_LIFETIMES = {"pulsed": ((0.02, 0.1), (0.01, 0.05)), "continuous": ((0.01, 0.1), (0.1, 1.0))}
_G2_ZERO = {"pulsed": (0.0, 1.0), "continuous": 0.0}

# What parameters can be, where that is not any number.
_ALLOWED = {
    "g2_zero": {"at_least": 0.0},
    "period": {"above": 0.0},
    "background": {"at_least": 0.0},
    "bunching": {"at_least": 0.0},
    "bunching_time": {"above": 0.0},
    "signal": {"at_least": 0.0, "at_most": 1.0},
    "jitter": {"at_least": 0.0},
    "lifetimes": {"above": 0.0},
    "crosstalk_height": {"at_least": 0.0},
    "crosstalk_width": {"above": 0.0},
    "echo_height": {"at_least": 0.0, "at_most": 1.0},
    "afterpulse_fraction": {"at_least": 0.0, "at_most": 1.0},
    "afterpulse_time": {"above": 0.0},
    "counts": {"above": 0.0},
}

# Rows that are computed at a time.
_ROWS = 256


@arguments(
    n_samples=COUNT,
    kind=StrOptions({"pulsed", "continuous"}),
    n_times=Interval(Integral, 2, None, closed="left"),
    tau_range="array-like",
    spacing=StrOptions({"linear", "log"}),
    tau=["array-like", None],
    bin_width=["array-like", Interval(Real, 0, None, closed="neither"), None],
    g2_zero=[*_RANGE, None],
    period=_RANGE,
    zero_delay=_RANGE,
    lifetimes=["array-like", None],
    background=_RANGE,
    bunching=_RANGE,
    bunching_time=_RANGE,
    signal=_RANGE,
    jitter=_RANGE,
    crosstalk="array-like",
    crosstalk_height=_RANGE,
    crosstalk_width=_RANGE,
    n_echoes=Interval(Integral, 0, None, closed="left"),
    echo_delay=_RANGE,
    echo_height=_RANGE,
    afterpulse_fraction=_RANGE,
    afterpulse_time=_RANGE,
    counts=_RANGE,
    gaussian_fraction=Interval(Real, 0, 1, closed="both"),
    sigma=NOT_NEGATIVE,
    random_state="random_state",
)
@np.errstate(under="ignore")
def make_photon_correlations(
    n_samples=1000,
    *,
    kind="pulsed",
    n_times=1501,
    tau_range=(-1.5, 1.5),
    spacing="linear",
    tau=None,
    bin_width=None,
    g2_zero=None,
    period=(0.99, 1.01),
    zero_delay=0.0,
    lifetimes=None,
    background=(0.0, 0.075),
    bunching=0.0,
    bunching_time=(1.0, 10.0),
    signal=(0.5, 1.0),
    jitter=0.0,
    crosstalk=(),
    crosstalk_height=(0.1, 0.5),
    crosstalk_width=(0.002, 0.005),
    n_echoes=0,
    echo_delay=(0.08, 0.1),
    echo_height=(0.1, 0.5),
    afterpulse_fraction=0.0,
    afterpulse_time=(0.01, 0.1),
    counts=(1.0, 1000.0),
    gaussian_fraction=0.05,
    sigma=0.1,
    random_state=None,
):
    r"""Generate second-order correlations of light, and what is counted of them.

    Under *pulsed* excitation with period P, with :math:`t = \tau - \tau_0` and weights
    :math:`a_1 = a`, :math:`a_2 = 1 - a` drawn uniformly,

    .. math:: g(\tau) = b + \sum_i a_i \Big[ r\, e^{-|t|/T_i} + \sum_{k \ne 0} e^{-|t + kP|/T_i} \Big];

    under *continuous* excitation, with a share ρ of signal and bunching B,

    .. math:: g(\tau) = 1 + \rho^2 \big[ B\, e^{-|t|/T_2} - (1 - r + B)\, e^{-|t|/T_1} \big],

    which is thermal light where r = 2 and B = 0. Under pulsed excitation an emitter that blinks has its
    k-th peak :math:`1 + B e^{-|k|P/T_B}` times as high. Jitter blurs the exponentials with a Gaussian,
    afterpulses with an exponential to either side. Light that one detector emits when it counts, and the
    other one sees, adds Gaussian humps, and its reflections echoes of them. Curves are averaged over the
    bins, and divided by their largest value.
    Counting draws Poisson numbers in each bin, in proportion to its width; few rows have Gaussian noise
    instead. Each parameter is a number, or a range (low, high) that it is drawn from, uniformly;
    ``counts`` uniformly in its logarithm.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of curves.
    kind : {"pulsed", "continuous"}, default="pulsed"
        Excitation.
    n_times : int, default=1501
        Delays of a curve.
    tau_range : (float, float), default=(-1.5, 1.5)
        First and last delay, in the unit of all times: μs for the default values.
    spacing : {"linear", "log"}, default="linear"
        Steps of the delays: equal, or equal in the logarithm, for a ``tau_range`` above 0.
    tau : array-like of shape (n_times,), default=None
        The delays themselves, increasing, in place of the three parameters before.
    bin_width : float or array-like of shape (n_times,), default=None
        Widths of the bins around the delays. None lets them meet halfway, but for gaps.
    g2_zero : float or (float, float), default=None
        r. Pulsed: the peak at zero delay in units of the others, or, where they fade away from it because
        the emitter blinks, of what they would be there; (0, 1) by default. Continuous:
        :math:`g^{(2)}(0)` without background, 0 by default.
    period : float or (float, float), default=(0.99, 1.01)
        Pulsed: P.
    zero_delay : float or (float, float), default=0
        τ₀, the delay at which both detectors see the same photon pair.
    lifetimes : sequence of float or (float, float), default=None
        One or two lifetimes Tᵢ. None stands for ((0.02, 0.1), (0.01, 0.05)), the published
        ranges, or for ((0.01, 0.1), (0.1, 1)) of continuous excitation.
    background : float or (float, float), default=(0, 0.075)
        Pulsed: b.
    bunching : float or (float, float), default=0
        B. 0 is a system of two levels, or an emitter that does not blink.
    bunching_time : float or (float, float), default=(1, 10)
        Pulsed: T_B, the time scale of the blinking; that of continuous excitation is the second lifetime.
    signal : float or (float, float), default=(0.5, 1)
        Continuous: ρ.
    jitter : float or (float, float), default=0
        Standard deviation of the Gaussian.
    crosstalk : sequence of float or (float, float), default=()
        Delays of the humps.
    crosstalk_height : float or (float, float), default=(0.1, 0.5)
        Their heights, in units of a side peak's, or of the level, far from zero delay.
    crosstalk_width : float or (float, float), default=(0.002, 0.005)
        Their standard deviations.
    n_echoes : int, default=0
        Echoes of each hump, as wide as it is; many make a comb.
    echo_delay : float or (float, float), default=(0.08, 0.1)
        How much later each of them is than the one before; negative: earlier.
    echo_height : float or (float, float), default=(0.1, 0.5)
        How high each of them is, in units of the one before; at most 1.
    afterpulse_fraction : float or (float, float), default=0
        Share of the coincidences of light in which one of the two counts is an afterpulse: 2p / (1 + 2p)
        where each count has one with probability p. Cross-talk has none.
    afterpulse_time : float or (float, float), default=(0.01, 0.1)
        Mean time from a count to its afterpulse.
    counts : float or (float, float), default=(1, 1000)
        Counts expected in a bin of mean width where a curve is at its largest.
    gaussian_fraction : float, default=0.05
        Share of rows with Gaussian noise.
    sigma : float, default=0.1
        Standard deviation of that noise.
    random_state : int, RandomState instance or None, default=None
        An integer makes the result reproducible.

    Returns
    -------
    correlations : :class:`~sklearn.utils.Bunch`
        Dictionary-like, with the following attributes.

        noisy : ndarray of shape (n_samples, n_times)
            What was counted, in units of the largest value expected.
        clean : ndarray of shape (n_samples, n_times)
            What was expected; its largest value is 1.
        counts : ndarray of shape (n_samples, n_times)
            What was counted, whole numbers; NaN where noise is Gaussian.
        tau : ndarray of shape (n_times,)
            Delays.
        params : DataFrame of shape (n_samples, n_params)
            Parameters of the curves by name, and ``scale``, the largest value of a curve as the formula
            has it. Echoes are further humps. Blinking and afterpulses are there where they are above 0.
            ``counts`` is NaN where noise is Gaussian.

    Examples
    --------
    >>> from skae.datasets import make_photon_correlations
    >>> g2 = make_photon_correlations(100, random_state=0)
    >>> g2.noisy.shape, float(g2.clean.max()), list(g2.params)[:3]
    ((100, 1501), 1.0, ['g2_zero', 'period', 'background'])
    """
    import pandas as pd

    rng = check_random_state(random_state)
    tau = _delays(tau_range, n_times, spacing) if tau is None else _check_delays(tau)
    bins = Bins.around(tau, bin_width)
    ranges = _checked_ranges(
        g2_zero=_G2_ZERO[kind] if g2_zero is None else g2_zero, period=period, zero_delay=zero_delay,
        background=background, bunching=bunching, bunching_time=bunching_time, signal=signal,
        jitter=jitter, crosstalk_height=crosstalk_height, crosstalk_width=crosstalk_width,
        echo_delay=echo_delay, echo_height=echo_height, afterpulse_fraction=afterpulse_fraction,
        afterpulse_time=afterpulse_time, counts=counts,
    )  # fmt: skip
    lifetimes = _checked_lifetimes(kind, lifetimes, bunching)
    if n_echoes and not len(crosstalk):
        raise ValueError(f"n_echoes={n_echoes} needs crosstalk=, the humps that come again.")

    def draw(name, values=None):
        limits = ranges[name] if values is None else _as_range(name, values)
        return rng.uniform(*limits, n_samples)

    params = _draw_light(draw, kind, lifetimes, is_blinking=ranges["bunching"][1] > 0.0)
    params |= _draw_humps(draw, crosstalk, n_echoes)
    if ranges["afterpulse_fraction"][1] > 0.0:
        params |= {name: draw(name) for name in ("afterpulse_fraction", "afterpulse_time")}
    table = pd.DataFrame(params)
    clean, table["scale"] = _scaled(correlations_of(tau, table, bin_width=bin_width))
    noise = _count(clean, bins.widths, ranges["counts"], gaussian_fraction, sigma, rng)
    noisy, counted, table["counts"] = noise
    return Bunch(noisy=noisy, clean=clean, counts=counted, tau=tau, params=table)


def _checked_ranges(**given):
    return {name: _as_range(name, values) for name, values in given.items()}


def _draw_light(draw, kind, lifetimes, *, is_blinking):
    """Return parameters of the formula but for cross-talk and afterpulses."""
    own = ["period", "background"] if kind == "pulsed" else ["bunching", "signal"]
    if kind == "pulsed" and is_blinking:
        own += ["bunching", "bunching_time"]
    params = {name: draw(name) for name in ("g2_zero", *own, "zero_delay", "jitter")}
    for number, values in enumerate(lifetimes, start=1):
        params[f"lifetime_{number}"] = draw("lifetimes", values)
    if kind == "pulsed":
        has_two = len(lifetimes) == 2
        params["weight_1"] = draw("weight_1", (0, 1)) if has_two else np.ones_like(params["jitter"])
    return params


def _draw_humps(draw, delays, n_echoes):
    """Return parameters of humps and of their echoes, which come after all of the humps."""
    names = ("crosstalk", "crosstalk_height", "crosstalk_width")
    humps = [[draw(names[0], at), *map(draw, names[1:])] for at in delays]
    if n_echoes:
        for delay, height, width in humps.copy():
            step, ratio = draw("echo_delay"), draw("echo_height")
            humps += [[delay + i * step, height * ratio**i, width] for i in range(1, n_echoes + 1)]
    return {
        f"{name}_{number}": values
        for number, hump in enumerate(humps, start=1)
        for name, values in zip(names, hump, strict=True)
    }


def _scaled(curves):
    """Return curves in units of their largest values, and these."""
    scale = curves.max(axis=1)
    if not (scale > 0.0).all():
        raise ValueError(
            "some curves are 0 at all of the delays: lifetimes are too short for their steps, or the "
            "range holds no peak. Give more delays, or a background."
        )
    # not below zero by rounding, where nothing is left at zero delay
    return np.maximum(curves / scale[:, np.newaxis], 0.0), scale


def _checked_lifetimes(kind, lifetimes, bunching):
    lifetimes = _LIFETIMES[kind] if lifetimes is None else lifetimes
    if len(lifetimes) not in (1, 2):
        raise ValueError(f"lifetimes={lifetimes!r} must have one or two entries.")
    if kind == "continuous" and len(lifetimes) == 1 and np.any(np.asarray(bunching) != 0.0):
        raise ValueError(
            f"bunching={bunching!r} needs two lifetimes: of antibunching, and of bunching."
        )
    if kind == "continuous" and len(lifetimes) == 2 and np.max(lifetimes[0]) > np.min(lifetimes[1]):
        raise ValueError(
            f"lifetimes={lifetimes!r}: antibunching, the first, must not last longer than bunching."
        )
    return lifetimes


def _count(clean, widths, at_largest, gaussian_fraction, sigma, rng):
    """Return curves with noise, what is counted of them, and of how many at most.

    The last two are NaN where noise is Gaussian.
    """
    n_samples, n_times = clean.shape
    at_largest = np.exp(rng.uniform(*np.log(at_largest), n_samples))
    exposure = at_largest[:, np.newaxis] * (widths / widths.mean())
    counted = rng.poisson(clean * exposure).astype(np.float64)
    noisy = counted / exposure
    gaussian = rng.uniform(size=n_samples) < gaussian_fraction
    noisy[gaussian] = clean[gaussian] + sigma * rng.standard_normal((gaussian.sum(), n_times))
    counted[gaussian] = at_largest[gaussian] = np.nan
    return noisy, counted, at_largest


def correlations_of(tau, params, *, bin_width=None):
    """Return the curves of a table of parameters as :func:`make_photon_correlations` returns it.

    ``(n_samples, n_times)``, as the formulas have them, not divided by anything.
    """
    bins = Bins.around(np.asarray(tau, dtype=np.float64), bin_width)
    curves = np.empty((len(params), len(bins.widths)))
    for start in range(0, len(params), _ROWS):
        part = params.iloc[start : start + _ROWS]
        q = {name: part[name].to_numpy(dtype=np.float64) for name in part}
        curves[start : start + _ROWS] = _formula(bins, q) + _humps(bins, q)
    return curves


def _formula(bins, q):
    n_lifetimes = 1 + ("lifetime_2" in q)
    lifetimes = np.stack([q[f"lifetime_{i + 1}"] for i in range(n_lifetimes)], axis=1)
    if "period" in q:
        weights = np.stack([q["weight_1"], 1.0 - q["weight_1"]], axis=1)[:, :n_lifetimes]
        names, formula = ("period", "background"), partial(pulsed_correlation, weights=weights)
    else:
        names, formula = ("bunching", "signal"), continuous_correlation
    others = {name: q[name] for name in ("g2_zero", "zero_delay", "jitter", *names)}
    if "bunching_time" in q:
        others["blinking"] = (q["bunching"], q["bunching_time"])
    if "afterpulse_fraction" in q:
        others["afterpulses"] = (q["afterpulse_fraction"], q["afterpulse_time"])
    return formula(bins, lifetimes=lifetimes, **others)


def _humps(bins, q):
    total, number = 0.0, 1
    while f"crosstalk_{number}" in q:
        delay, height, width = (
            q[f"crosstalk{name}_{number}"][:, np.newaxis] for name in ("", "_height", "_width")
        )
        total = total + height * bins.averages(hump_integral(bins.edges - delay, width))
        number += 1
    return total


def _delays(tau_range, n_times, spacing):
    low, high = _as_range("tau_range", tau_range)
    if spacing == "log":
        if not low > 0.0:
            raise ValueError(f"tau_range={tau_range!r} must lie above 0 with spacing='log'.")
        return np.geomspace(low, high, n_times)
    return np.linspace(low, high, n_times)


def _check_delays(tau):
    tau = check_array(tau, ensure_2d=False, dtype=np.float64, input_name="tau")
    if tau.ndim != 1 or len(tau) < 2 or not (np.diff(tau) > 0).all():
        raise ValueError("tau must be two or more delays that increase.")
    return tau


def _as_range(name, values):
    """Return (low, high) of a number or a pair, checked."""
    limits = {"above": -np.inf, "at_least": -np.inf, "at_most": np.inf} | _ALLOWED.get(name, {})
    above, at_least, at_most = limits.values()
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    is_range = array.shape in ((1,), (2,)) and np.isfinite(array).all()
    low, high = (array[0], array[-1]) if is_range else (np.nan, np.nan)
    if not (low <= high and low > above and low >= at_least and high <= at_most):
        if name == "tau_range":
            raise ValueError(f"tau_range={values!r} must be two numbers, the lower one first.")
        said = [f"above {above:g}"] if above > -np.inf else []
        said += [f"of {at_least:g} or more"] if at_least > -np.inf else []
        said += [f"of {at_most:g} or less"] if at_most < np.inf else []
        raise ValueError(
            f"{name}={values!r} must be a number or a range (low, high) of finite numbers"
            f"{' ' + ' and '.join(said) if said else ''}."
        )
    return low, high
