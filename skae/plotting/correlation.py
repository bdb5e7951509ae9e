"""CorrelationDisplay: counts, the fitted curve, what is left, and g²(0) with its interval."""

import numpy as np

from skae.plotting._columns import last_step
from skae.plotting._display import Display, documented


@documented
class CorrelationDisplay(Display):
    """A histogram of photon correlations with its fit, and residuals below.

    Residuals are signed roots of each bin's deviance: about normal where many counts are expected. The
    title says g²(0) with its interval, and how large the deviance is beside what is expected.

    Parameters
    ----------
    counts : ndarray of shape (n_times,)
        What was counted; NaN where a bin is left out.
    curve : ndarray of shape (n_times,)
        What is expected of each bin.
    residuals : ndarray of shape (n_times,), default=None
        Residuals; without them none are drawn.
    times : ndarray of shape (n_times,), default=None
        Delays.
    g2_zero : tuple of float, default=None
        g²(0), and the ends of its interval.
    zero_delay : float, default=None
        Where zero delay is, which a line marks.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes of the histogram.
    residual_ax_ : matplotlib.axes.Axes or None
        Axes of the residuals.

    Examples
    --------
    >>> from skae import PhotonCorrelationFit
    >>> from skae.datasets import make_photon_correlations
    >>> from skae.plotting import CorrelationDisplay
    >>> g2 = make_photon_correlations(
    ...     1, n_times=301, lifetimes=(0.05,), counts=100, gaussian_fraction=0, random_state=0
    ... )
    >>> X = (100 * g2.noisy).round()
    >>> fit = PhotonCorrelationFit(period=1.0, zero_delay=0.0, times=g2.tau).fit(X)
    >>> display = CorrelationDisplay.from_estimator(fit, X, xlabel="delay (μs)")
    >>> display.residual_ax_.get_xlabel()
    'delay (μs)'
    """

    def __init__(self, counts, curve, residuals=None, times=None, g2_zero=None, zero_delay=None):
        self.counts = counts
        self.curve = curve
        self.residuals = residuals
        self.times = times
        self.g2_zero = g2_zero
        self.zero_delay = zero_delay

    @classmethod
    def from_estimator(
        cls, estimator, X, *, row=0, confidence=0.6827, quantity="g2_zero", **kwargs
    ):
        """Plot a histogram with its fit.

        Parameters
        ----------
        estimator : PhotonCorrelationFit or Pipeline
            Fitted. With a Pipeline that ends in one, histograms are shown as they reach it.
        X : array-like of shape (n_samples, n_times)
            Histograms.
        row : int, default=0
            Which one to draw.
        confidence : float, default=0.6827
            Probability that the interval covers the truth.
        quantity : {"g2_zero", "g2_counted"}, default="g2_zero"
            g²(0) without background, or as it is counted; the value in the title is the first.
        """
        estimator, X = last_step(estimator, X)
        x = np.asarray(X, dtype=np.float64)[[row]]
        values = np.asarray(estimator.transform(x), dtype=np.float64)
        named = dict(zip(estimator.param_names_, values[0].tolist(), strict=True))
        low, high = estimator.interval(x, confidence, quantity=quantity)[0].tolist()
        goodness = estimator.goodness_of_fit(x)
        display = cls.from_predictions(
            x[0],
            estimator.inverse_transform(values)[0],
            residuals=goodness.residuals[0],
            times=kwargs.pop("times", estimator.times_),
            g2_zero=(named["g2_zero"], low, high) if quantity == "g2_zero" else (None, low, high),
            zero_delay=named["zero_delay"],
            **kwargs,
        )
        deviance, expected, spread = (
            float(goodness[name][0]) for name in ("deviance", "expected", "spread")
        )
        display.ax_.set_title(
            f"{display.ax_.get_title()}\n"
            f"deviance per bin {deviance:.3f}, expected {expected:.3f} ± {spread:.3f}",
            fontsize="medium",
        )
        return display

    @classmethod
    def from_predictions(
        cls, counts, curve, *, residuals=None, times=None, g2_zero=None, zero_delay=None,
        xlabel=None, ylabel="coincidences", figure=None,
    ):  # fmt: skip
        """Plot a histogram with a curve.

        Parameters
        ----------
        counts, curve : array-like of shape (n_times,)
            What was counted, and what is expected.
        xlabel, ylabel : str, default=None
            Labels of the axes.
        """
        counts, curve = (np.asarray(part, dtype=np.float64) for part in (counts, curve))
        if counts.shape != curve.shape or counts.ndim != 1:
            raise ValueError(
                f"counts has shape {counts.shape}, curve {curve.shape}; each must be one row of the same "
                "length."
            )
        times = np.arange(len(counts)) if times is None else np.asarray(times)
        if times.shape != counts.shape:
            raise ValueError(f"times has shape {times.shape}, but there are {len(counts)} bins.")
        display = cls(counts, curve, residuals, times, g2_zero, zero_delay)
        return display.plot(xlabel=xlabel, ylabel=ylabel, figure=figure)

    def plot(self, *, xlabel=None, ylabel="coincidences", figure=None):
        """Draw the display."""
        figure = self._draw_on(figure, size=(7.0, 4.2))
        self.residual_ax_ = None
        if self.residuals is None:
            self.ax_ = last = figure.subplots()
        else:
            self.ax_, self.residual_ax_ = figure.subplots(
                2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
            )
            last = self.residual_ax_
            known = np.isfinite(self.counts)
            last.plot(self.times[known], self.residuals[known], ".", ms=2, color="0.4")
            last.axhline(0.0, color="C0", lw=0.8)
            last.set_ylabel("residual")
        self.ax_.plot(
            self.times, self.counts, drawstyle="steps-mid", color="0.5", lw=0.8, label="counted"
        )
        self.ax_.plot(self.times, self.curve, color="C0", lw=1.2, label="fitted")
        if self.zero_delay is not None:
            self.ax_.axvline(self.zero_delay, color="C3", lw=0.8, ls=":", label="zero delay")
        self.ax_.set_ylim(bottom=0.0)
        self.ax_.set_ylabel(ylabel or "")
        self.ax_.legend(fontsize="small", loc="upper right")
        last.set_xlabel(xlabel or "")
        if self.g2_zero is not None:
            self.ax_.set_title(_in_words(*self.g2_zero), fontsize="medium")
        return self


def _in_words(value, low, high):
    """Say g²(0) with its interval, to the digit that the interval leaves open."""
    ends = f"between {low:.3g} and {high:.3g}"
    return f"$g^{{(2)}}(0)$ {ends}" if value is None else f"$g^{{(2)}}(0)$ = {value:.3g}, {ends}"
