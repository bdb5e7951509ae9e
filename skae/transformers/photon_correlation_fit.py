"""PhotonCorrelationFit: pulsed photon correlations described by their maximum-likelihood parameters."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, check_is_fitted

from skae._parameters import parameter
from skae._sklearn import StrOptions, _check_feature_names_in
from skae.transformers._base import TableTransformer
from skae.transformers._messages import name_column
from skae.transformers._pulse_train import PulseTrain

_LIMITS = ["array-like", Real, None]


class PhotonCorrelationFit(TableTransformer):
    r"""Fit each histogram of pulsed photon correlations by maximum likelihood.

    What is expected behind an emitter excited each period P, at :math:`t = \tau - \tau_0`, is

    .. math::

        A \Big( b + \sum_i a_i \Big[ g^{(2)}(0)\, D_i(t) + \sum_{k \ne 0} D_i(t + kP) \Big] \Big),

    with decays :math:`D_i(t) = e^{-|t|/T_i}` that a Gaussian jitter may blur. ``transform`` returns the
    parameters, ``inverse_transform`` the curves, :meth:`errors` the Cramér–Rao errors, and
    :meth:`interval` a likelihood interval of :math:`g^{(2)}(0)`. Rows are fitted there, not in ``fit``;
    a fit of one begins where the histogram, folded at the period, is likeliest.

    Each parameter of the model is a number, which fixes it, a pair (low, high) that it stays within, or
    None, which leaves it free.

    Parameters
    ----------
    period : float, (float, float) or None, default=None
        Time between pulses, P. Free, it is looked for between two steps and the length of the histogram.
    zero_delay : float, (float, float) or None, default=None
        τ₀. Free, it is the peak that is smallest.
    g2_zero : float, (float, float) or None, default=None
        Area of the peak at zero delay in units of the others.
    lifetimes : sequence of float, (float, float) or None, default=(None,)
        One or two lifetimes Tᵢ: ``((0.3, 4),)`` is one between 0.3 and 4, ``(0.3, 4)`` are two that are
        known.
    jitter : float, (float, float) or None, default=0.0
        Standard deviation of the blur.
    background : float, (float, float) or None, default=None
        b, in units of a side peak's height.
    times : array-like of shape (n_times,), default=None
        Delays, increasing, in the unit of all times here. None stands for 0, 1, 2, … Counts are taken
        to be those of bins around them, and ``amplitude`` that of a bin of mean width.
    likelihood : {"poisson", "gaussian"}, default="poisson"
        Noise: of counts, or the same in all bins.
    n_jobs : int, default=None
        Rows fitted at a time.

    Attributes
    ----------
    param_names_ : list of str
        Names of the parameters that ``transform`` returns.
    times_ : ndarray of shape (n_times,)
        Delays.
    {shared_attributes}

    See Also
    --------
    MultiResRNNRegressor : A network that learns from simulations, for shapes without a formula.

    Notes
    -----
    With two lifetimes of similar size neither is determined: look at :meth:`errors`.

    Examples
    --------
    >>> from skae import PhotonCorrelationFit
    >>> from skae.datasets import make_photon_correlations
    >>> g2 = make_photon_correlations(
    ...     3, n_times=301, lifetimes=((0.02, 0.1),), counts=1000, gaussian_fraction=0, random_state=0
    ... )
    >>> fit = PhotonCorrelationFit(period=(0.98, 1.02), zero_delay=0.0, times=g2.tau)
    >>> parameters = fit.set_output(transform="pandas").fit_transform(1000 * g2.noisy)
    >>> bool(abs(parameters["g2_zero"] - g2.params["g2_zero"]).max() < 0.05)
    True
    """

    period: Any = parameter(default=None, allowed=_LIMITS)
    zero_delay: Any = parameter(default=None, allowed=_LIMITS)
    g2_zero: Any = parameter(default=None, allowed=_LIMITS)
    lifetimes: Any = parameter(default=(None,), allowed="array-like")
    jitter: Any = parameter(default=0.0, allowed=_LIMITS)
    background: Any = parameter(default=None, allowed=_LIMITS)
    times: Any = parameter(default=None, allowed=["array-like", None])
    likelihood: Any = parameter(default="poisson", allowed=StrOptions({"poisson", "gaussian"}))
    n_jobs: Any = parameter(default=None, allowed=[Integral, None])

    def transform(self, X):
        """Return the most likely parameters of each histogram.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms.

        Returns
        -------
        params : ndarray of shape (n_samples, n_params)
            In the order of ``param_names_``: ``g2_zero``, ``period``, ``zero_delay``, ``jitter``,
            ``background``, the lifetimes, ``weight_1`` where there are two, and ``amplitude``.
        """
        return self._each(lambda x: self._model.fit(x)[0], X)

    @np.errstate(under="ignore")
    def inverse_transform(self, X):
        """Return the curves of parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_params)
            Parameters, as ``transform`` returns them.

        Returns
        -------
        curves : ndarray of shape (n_samples, n_times)
            What is expected in each bin.
        """
        check_is_fitted(self, "times_")
        params = self._validate_transformed(X, len(self.param_names_))
        curves = [self._model.curve(row) for row in params.astype(np.float64)]
        return np.array(curves).astype(params.dtype)

    def errors(self, X):
        """Return the Cramér–Rao errors of the parameters: what no unbiased estimate is better than.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted where noise is Poisson.

        Returns
        -------
        errors : ndarray of shape (n_samples, n_params)
            Standard deviations; 0 where a parameter is fixed, infinite where the histogram does not
            determine it.
        """
        return self._each(self._errors, X)

    def interval(self, X, confidence=0.6827):
        """Return a likelihood interval of g²(0).

        Its ends are where the deviance, with all other parameters fitted anew, has risen by the
        quantile of a χ² distribution with one degree of freedom (Wilks, 1938): it is not symmetric, and
        stays where g²(0) may be.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted.
        confidence : float, default=0.6827
            Probability that an interval covers the truth.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends.
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence={confidence!r} must lie between 0 and 1.")
        rise = chi2.ppf(confidence, 1)
        return self._each(lambda x: self._interval(x, rise), X)

    @np.errstate(under="ignore")
    def _each(self, function, X):
        """Return what the function makes of each histogram."""
        check_is_fitted(self, "times_")
        X = self._validate(X, reset=False)
        rows = Parallel(n_jobs=self.n_jobs)(delayed(function)(x) for x in X.astype(np.float64))
        return np.array(rows).astype(X.dtype)

    def _errors(self, x):
        best, _ = self._model.fit(x)
        information = self._model.information(best, x)
        errors = np.zeros(len(information))
        free = information.any(axis=0)
        scale = np.sqrt(information.diagonal()[free])
        scaled = information[np.ix_(free, free)] / np.outer(scale, scale)
        values, vectors = np.linalg.eigh(scaled)
        known = values > 1e-12
        variance = np.square(vectors[:, known]) @ (1.0 / values[known])
        lost = np.square(vectors[:, ~known]).sum(axis=1) > 1e-6
        errors[free] = np.where(lost, np.inf, np.sqrt(variance) / scale)
        low, high = self._model.limits
        errors[~free & (low < high)] = np.inf
        return errors

    def _interval(self, x, rise):
        best, deviance = self._model.fit(x)
        index = self.param_names_.index("g2_zero")
        low, high = self._model.bounds["g2_zero"]
        if low == high or not best[-1] > 0.0:
            return low, high
        if self._model.gaussian:
            rise = rise * deviance / max(1, len(x) - len(best))

        def excess(value):
            start = best.copy()
            start[index] = value
            return self._model.fixed_at("g2_zero", value).improve(x, start)[1] - deviance - rise

        ends = []
        for limit, side in ((low, -1.0), (high, 1.0)):
            inner, reach = best[index], 0.1
            while True:
                outer = np.clip(best[index] + side * reach, low, high)
                if excess(outer) > 0.0:
                    ends.append(brentq(excess, *sorted((inner, outer)), xtol=1e-5, rtol=1e-6))
                    break
                if outer == limit or reach > 1e3:
                    ends.append(limit)
                    break
                inner, reach = outer, 2.0 * reach
        return tuple(ends)

    def _learn(self, X):
        times = self._check_times(X.shape[1])
        self._model = PulseTrain(times, self._bounds(times), self.likelihood == "gaussian")
        self.times_, self.param_names_ = times, self._model.names

    # -- checks --------------------------------------------------------------------------------

    def _validate(self, X, *, reset):
        X = super()._validate(X, reset=reset)
        if self.likelihood == "poisson" and (X < 0.0).any():
            row, column = np.argwhere(X < 0.0)[0]
            raise ValueError(
                f"Negative values in data: {(X < 0.0).sum()} of {X.size}, the first is "
                f"{X[row, column]:.6g} in row {row}, {name_column(self, column)}. Counts are never "
                "negative: use likelihood='gaussian' for what was subtracted from."
            )
        return X

    def _check_times(self, n_times):
        if self.times is None:
            return np.arange(n_times, dtype=np.float64)
        times = check_array(self.times, ensure_2d=False, dtype=np.float64, input_name="times")
        if times.shape != (n_times,):
            raise ValueError(f"times has shape {times.shape}, but X has {n_times} columns.")
        if not (np.diff(times) > 0.0).all():
            first = int(np.argmin(np.diff(times)))
            raise ValueError(
                f"times must increase, but after {float(times[first])!r} comes "
                f"{float(times[first + 1])!r} (entry {first + 1})."
            )
        return times

    def _bounds(self, times):
        step = float(np.diff(times).min()) if len(times) > 1 else 1.0
        span = max(float(np.ptp(times)), 3.0 * step)
        if len(self.lifetimes) not in (1, 2):
            raise ValueError(f"lifetimes={self.lifetimes!r} must have one or two entries.")
        period = _limits("period", self.period, (2.0 * step, span), above=0.0)
        lifetime = (0.05 * step, period[1])
        bounds = {
            "g2_zero": _limits("g2_zero", self.g2_zero, (0.0, np.inf), at_least=0.0),
            "period": period,
            "zero_delay": _limits("zero_delay", self.zero_delay, (times[0], times[-1])),
            "jitter": _limits("jitter", self.jitter, (0.01 * step, 0.5 * period[1]), at_least=0.0),
            "background": _limits("background", self.background, (0.0, np.inf), at_least=0.0),
        }
        for number, values in enumerate(self.lifetimes, start=1):
            bounds[f"lifetime_{number}"] = _limits("lifetimes", values, lifetime, above=0.0)
        if len(self.lifetimes) == 2:
            bounds["weight_1"] = (0.0, 1.0)
        return bounds

    def get_feature_names_out(self, input_features=None):
        """Return the names of the parameters.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Checked against the names that fit has seen.

        Returns
        -------
        names : ndarray of shape (n_params,)
            Names.
        """
        check_is_fitted(self, "times_")
        _check_feature_names_in(self, input_features)
        return np.array(self.param_names_, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.likelihood == "poisson"
        return tags


def _limits(name, values, free, *, above=-np.inf, at_least=-np.inf):
    """Return (low, high) of a parameter that is a number, a pair, or None."""
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
