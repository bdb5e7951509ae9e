"""PhotonCorrelationFit: photon correlations described by their maximum-likelihood parameters."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, check_is_fitted

from skae._numbers import refuse_dates
from skae._parameters import parameter
from skae._sklearn import Interval, StrOptions, _check_feature_names_in
from skae._warn import warn
from skae.exceptions import UnitsWarning
from skae.physics.correlations import Bins
from skae.transformers._base import TableTransformer
from skae.transformers._messages import name_column
from skae.transformers.correlations.bounds import likelier_kind, model_of
from skae.transformers.correlations.intervals import intervals
from skae.transformers.correlations.likelihood import Histograms, errors_of
from skae.transformers.correlations.misfit import goodness, log_likelihoods
from skae.transformers.correlations.search import fit_rows
from skae.transformers.correlations.verdicts import undetermined, warn_of

_LIMITS = ["array-like", Real, None]

# Numbers of a table that are fitted together.
_NUMBERS_AT_ONCE = 2**17


class PhotonCorrelationFit(TableTransformer):
    r"""Fit each histogram of photon correlations by maximum likelihood.

    What is expected behind an emitter that pulses a period P apart excite, at
    :math:`t = \tau - \tau_0`, is

    .. math::

        A \Big( b + \sum_i a_i \Big[ g^{(2)}(0)\, D_i(t) + \sum_{k \ne 0} D_i(t + kP) \Big] \Big),

    and under continuous excitation, with a share ρ of signal and bunching B,

    .. math::

        A \Big( 1 + \rho^2 \big[ B\, D_2(t) - (1 - g^{(2)}(0) + B)\, D_1(t) \big] \Big),

    with decays :math:`D_i(t) = e^{-|t|/T_i}` that a Gaussian jitter may blur, averaged over the bins.
    One lifetime stands for two levels, or for thermal light, where :math:`g^{(2)}(0)` is 2; two for three
    levels. ``transform`` returns the parameters, ``inverse_transform`` the curves, :meth:`errors` the
    Cramér–Rao errors, :meth:`interval` a likelihood interval of :math:`g^{(2)}(0)`, and
    :meth:`goodness_of_fit` whether the curve describes the counts. Rows are fitted there, not in ``fit``.

    Each parameter of the model is a number, which fixes it, a pair (low, high) that it stays within, or
    None, which leaves it free.

    Parameters
    ----------
    kind : {"auto", "pulsed", "continuous"}, default="auto"
        Excitation. "auto" is settled in ``fit``, once for all rows: pulsed where a period is given, or
        where X has peaks.
    period : float, (float, float) or None, default=None
        Pulsed: the time between pulses, P. Free, it is looked for between two steps and 0.4 of the
        length of the histogram.
    zero_delay : float, (float, float) or None, default=None
        τ₀. Free, it is the peak that is least like the others, or the delay where light is least
        like it is elsewhere; then intervals are wider, and it is better to know it.
    g2_zero : float, (float, float) or None, default=None
        :math:`g^{(2)}(0)` without background: the area of the peak at zero delay in units of the others,
        or the value of the curve.
    lifetimes : sequence of float, (float, float) or None, default=(None,)
        One or two lifetimes Tᵢ: ``((0.3, 4),)`` is one between 0.3 and 4, ``(0.3, 4)`` are two that are
        known.
    jitter : float, (float, float) or None, default=0.0
        Standard deviation of the blur.
    background : float, (float, float) or None, default=None
        Pulsed: b, in units of a side peak's height.
    signal : float, (float, float) or None, default=1.0
        Continuous: ρ, the share of counts that are signal. A histogram does not tell it: take it from the
        count rates with and without the emitter.
    bunching : float, (float, float) or None, default=None
        Continuous, with two lifetimes: B.
    crosstalk : sequence of float or (float, float), default=()
        Delays, each a number or a range, at which light that one detector emits when it counts is seen by
        the other: a Gaussian hump of free height and width at each. An echo is another one.
    times : array-like of shape (n_times,), default=None
        Delays, increasing, in the unit of all times here. None stands for 0, 1, 2, …
    bin_width : float or array-like of shape (n_times,), default=None
        Widths of the bins around the delays. None lets them meet halfway, but for gaps where delays were
        cut out. ``amplitude`` is that of a bin of mean width.
    likelihood : {"poisson", "gaussian"}, default="poisson"
        Noise: of counts, or the same in all bins.
    missing : {"error", "mask"}, default="error"
        What NaN in X means: an error, or a bin that is left out.
    n_jobs : int, default=None
        Processes that share the rows.

    Attributes
    ----------
    kind_ : {"pulsed", "continuous"}
        Excitation.
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
    ``transform`` and :meth:`interval` warn of rows that the formula does not describe
    (:class:`~skae.exceptions.PoorFitWarning`), and of those that do not determine :math:`g^{(2)}(0)`
    (:class:`~skae.exceptions.UndeterminedWarning`). With two lifetimes of similar size neither is
    determined: look at :meth:`errors`.

    Examples
    --------
    >>> from skae import PhotonCorrelationFit
    >>> from skae.datasets import make_photon_correlations
    >>> g2 = make_photon_correlations(
    ...     3, n_times=301, lifetimes=((0.02, 0.1),), counts=1000, gaussian_fraction=0, random_state=0
    ... )
    >>> fit = PhotonCorrelationFit(period=(0.98, 1.02), zero_delay=0.0, times=g2.tau)
    >>> parameters = fit.set_output(transform="pandas").fit_transform((1000 * g2.noisy).round())
    >>> bool(abs(parameters["g2_zero"] - g2.params["g2_zero"]).max() < 0.05)
    True
    """

    kind: Any = parameter(default="auto", allowed=StrOptions({"auto", "pulsed", "continuous"}))
    period: Any = parameter(default=None, allowed=_LIMITS)
    zero_delay: Any = parameter(default=None, allowed=_LIMITS)
    g2_zero: Any = parameter(default=None, allowed=_LIMITS)
    lifetimes: Any = parameter(default=(None,), allowed="array-like")
    jitter: Any = parameter(default=0.0, allowed=_LIMITS)
    background: Any = parameter(default=None, allowed=_LIMITS)
    signal: Any = parameter(default=1.0, allowed=_LIMITS)
    bunching: Any = parameter(default=None, allowed=_LIMITS)
    crosstalk: Any = parameter(default=(), allowed="array-like")
    times: Any = parameter(default=None, allowed=["array-like", None])
    bin_width: Any = parameter(
        default=None, allowed=["array-like", Interval(Real, 0, None, closed="neither"), None]
    )
    likelihood: Any = parameter(default="poisson", allowed=StrOptions({"poisson", "gaussian"}))
    missing: Any = parameter(default="error", allowed=StrOptions({"error", "mask"}))
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
            In the order of ``param_names_``: ``g2_zero``; ``period``, ``zero_delay``, ``jitter``,
            ``background`` of pulsed light, or ``zero_delay``, ``jitter``, ``signal``, ``bunching`` of
            continuous light; the lifetimes; ``weight_1`` of the first of two in pulsed light;
            ``crosstalk_1``, ``crosstalk_height_1`` and ``crosstalk_width_1`` of each hump;
            ``amplitude``.
        """
        return self._each(lambda data, fits: fits.values, X, judged=True)

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
        curves = [self._model.curves(row[None])[0] for row in params.astype(np.float64)]
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
        return self._each(lambda data, fits: errors_of(self._model, data, fits.values), X)

    def interval(self, X, confidence=0.6827, *, quantity="g2_zero"):
        r"""Return a likelihood interval of g²(0).

        Its ends are where the deviance, with all other parameters fitted anew, has risen by the
        quantile of a χ² distribution with one degree of freedom (Wilks, 1938): it is not symmetric, and
        stays where g²(0) may be. Where zero delay or the lifetime is free, any place will do that is
        nearly as likely as the best, after allowing for how many there are to choose from (the
        look-elsewhere effect; Gross & Vitells, 2010, doi:10.1140/epjc/s10052-010-1470-8).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted.
        confidence : float, default=0.6827
            Probability that an interval covers the truth.
        quantity : {"g2_zero", "g2_counted"}, default="g2_zero"
            g²(0) without background, or as it is counted, background included.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper ends. Where fewer than ten counts are expected in a side peak, or in as much
            flat light as the dip is wide, nothing is known: from the least to the largest g²(0).

        Raises
        ------
        ValueError
            If ``confidence`` or ``quantity`` is none of these.
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence={confidence!r} must lie between 0 and 1.")
        if quantity not in ("g2_zero", "g2_counted"):
            raise ValueError(f"quantity={quantity!r} must be 'g2_zero' or 'g2_counted'.")

        def ends(data, fits):
            found = intervals(self._model, data, fits, confidence)
            found[undetermined(self._model, data, fits)] = self._model.bounds["g2_zero"]
            if quantity == "g2_zero":
                return found
            return np.stack([self._model.counted(fits.values, end) for end in found.T], axis=1)

        return self._each(ends, X, judged=True)

    def goodness_of_fit(self, X):
        """Return how well the fitted curves describe histograms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted.

        Returns
        -------
        goodness : :class:`~sklearn.utils.Bunch`
            Dictionary-like, with the following attributes.

            deviance : ndarray of shape (n_samples,)
                Deviance of a bin, on average over those that count.
            expected, spread : ndarray of shape (n_samples,)
                What it is on average, and its standard deviation, where the curve is true: sums over all
                counts that a bin may have (a deviance is 0.3 at a mean of 0.05, and 1.15 at 1), less what
                the parameters take.
            residuals : ndarray of shape (n_samples, n_times)
                Signed roots of each bin's deviance; 0 where it is left out.
            chance : ndarray of shape (n_samples,)
                How likely the counts of any window of neighbouring bins are as far off.
            window : ndarray of shape (n_samples, 2)
                The least likely window, from one delay to the other.
            excess : ndarray of shape (n_samples,)
                Counts above what is expected there.
        """
        found = self._each(
            lambda data, fits: [goodness(self._model, data, fits.values)], X, as_is=True
        )
        first = found[0]
        return type(first)(
            **{name: np.concatenate([part[name] for part in found]) for name in first}
        )

    def score_samples(self, X):
        """Return the log-likelihood of each histogram under its fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            In nats, constants included.
        """
        return self._each(lambda data, fits: log_likelihoods(self._model, data, fits.deviance), X)

    def score(self, X, y=None):
        """Return the mean log-likelihood of the histograms under their fits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Histograms, of counts as they were counted.
        y : None
            Ignored.

        Returns
        -------
        score : float
            In nats.
        """
        return float(np.mean(self.score_samples(X)))

    def _each(self, function, X, *, judged=False, as_is=False):
        """Return what the function makes of histograms and their fits."""
        check_is_fitted(self, "times_")
        X = self._validate(X, reset=False)
        rows = max(1, _NUMBERS_AT_ONCE // X.shape[1])
        parts = [X[start : start + rows] for start in range(0, len(X), rows)]
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(_fitted)(self._model, part.astype(np.float64), function, judged)
            for part in parts
        )
        if judged:
            warn_of(self._model, [verdict for _, verdict in found])
        if as_is:
            return [one for result, _ in found for one in result]
        return np.concatenate([result for result, _ in found]).astype(X.dtype)

    def _learn(self, X):
        times = self._check_times(X.shape[1])
        bins = Bins.around(times, self.bin_width)
        kind = self.kind
        if kind == "auto":
            kind = "pulsed" if self.period is not None else likelier_kind(self, bins, X)
        self._model = model_of(self, bins, kind)
        self.kind_, self.times_, self.param_names_ = kind, times, self._model.names

    # -- checks --------------------------------------------------------------------------------

    def _validate(self, X, *, reset):
        refuse_dates(X)
        if getattr(X, "ndim", 2) == 1:
            raise ValueError(
                "Expected a 2D array, got a 1D array instead. Reshape your data: one histogram is a "
                "table of one row, X[np.newaxis]."
            )
        X = super()._validate(X, reset=reset)
        if self.likelihood == "poisson":
            self._check_counts(X)
        return X

    def _check_counts(self, X):
        if (X < 0.0).any():
            row, column = np.argwhere(X < 0.0)[0]
            raise ValueError(
                f"Negative values in data: {(X < 0.0).sum()} of {X.size}, the first is "
                f"{X[row, column]:.6g} in row {row}, {name_column(self, column)}. Counts are never "
                "negative: use likelihood='gaussian' for what was subtracted from."
            )
        broken = ~np.isnan(X) & (np.abs(X - np.rint(X)) > 1e-3 * np.maximum(1.0, 1e-4 * X))
        if broken.any():
            row, column = np.argwhere(broken)[0]
            warn(
                f"X has numbers that are not whole, the first is {X[row, column]:.6g} in row {row}, "
                f"{name_column(self, column)}: errors and intervals are those of counts. Multiply a "
                "normalised g² by the counts that 1 stands for, or use likelihood='gaussian'.",
                UnitsWarning,
            )

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
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags


@np.errstate(under="ignore")
def _fitted(model, X, function, judged):
    """Return what a function makes of a few rows, and what is to be said of their fits."""
    data = Histograms.of(X)
    fits = fit_rows(model, data)
    verdict = (data, fits, goodness(model, data, fits.values)) if judged else None
    return function(data, fits), verdict
