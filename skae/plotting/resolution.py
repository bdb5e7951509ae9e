"""ResolutionDisplay: what is predicted of a sequence at each resolution, beside truth and input."""

import numpy as np

from skae.plotting._columns import last_step, pyplot

# Steps that differ by more than this are shown on a logarithmic axis.
_UNEVEN = 10.0


class ResolutionDisplay:
    """One panel for each resolution, the coarsest on top; input and truth beside the finest.

    A level's averages are drawn as steps over the windows that they are averages of, beside those of the
    truth.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    levels : list of ndarray of shape (n_steps,)
        Predictions, the coarsest first.
    times : list of ndarray of shape (n_steps,)
        Times of each level.
    observed : ndarray of shape (n_times,), default=None
        What went in.
    truth : ndarray of shape (n_times,), default=None
        What should come out.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    ax_ : ndarray of shape (n_levels,) of matplotlib.axes.Axes
        Axes of the levels, the coarsest first.

    Examples
    --------
    >>> from skae import MultiResRNNRegressor
    >>> from skae.datasets import make_photon_correlations
    >>> from skae.plotting import ResolutionDisplay
    >>> g2 = make_photon_correlations(50, n_times=128, random_state=0)
    >>> model = MultiResRNNRegressor(max_epochs=1, random_state=0).fit(g2.noisy, g2.clean)
    >>> len(ResolutionDisplay.from_estimator(model, g2.noisy[0], g2.clean[0]).ax_)
    3
    """

    def __init__(self, levels, times, observed=None, truth=None):
        self.levels = levels
        self.times = times
        self.observed = observed
        self.truth = truth

    @classmethod
    def from_estimator(cls, estimator, X, y=None, **kwargs):
        """Plot what an estimator predicts of one sequence.

        Parameters
        ----------
        estimator : MultiResRNNRegressor or Pipeline
            Fitted to sequences. With a Pipeline that ends in one, X is shown as it reaches it.
        X : array-like of shape (n_times,), (1, n_times) or (1, n_channels, n_times)
            One row; of several channels the first is shown.
        y : array-like of shape (n_times,) or (1, n_times), default=None
            The truth.
        **kwargs
            As for ``from_predictions``.

        Returns
        -------
        display : ResolutionDisplay
            The drawn display.
        """
        X = np.asarray(X)
        estimator, X = last_step(estimator, X[np.newaxis] if X.ndim == 1 else X)
        if len(X) != 1:
            raise ValueError(f"X has {len(X)} rows; give one, X[:1] say.")
        levels = [level[0] for level in estimator.predict_resolutions(X)]
        observed = np.asarray(X)[0].reshape(-1, len(levels[-1]))[0]
        return cls.from_predictions(levels, estimator.level_times_, observed, y, **kwargs)

    @classmethod
    def from_predictions(
        cls, levels, times, observed=None, truth=None, *, xlabel=None, ylabel=None, figure=None
    ):
        """Plot predictions at several resolutions.

        Parameters
        ----------
        levels : list of array-like of shape (n_steps,)
            Predictions, the coarsest first.
        times : list of array-like of shape (n_steps,)
            Times of each level.
        observed : array-like of shape (n_times,), default=None
            What went in.
        truth : array-like of shape (n_times,) or (1, n_times), default=None
            What should come out.
        xlabel, ylabel : str, default=None
            Labels of the axes.
        figure : matplotlib.figure.Figure, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ResolutionDisplay
            The drawn display.
        """
        levels, times = ([np.asarray(part) for part in parts] for parts in (levels, times))
        if [len(level) for level in levels] != [len(part) for part in times]:
            raise ValueError(
                f"levels have {[len(level) for level in levels]} steps, times "
                f"{[len(part) for part in times]}; they must be equal."
            )
        observed, truth = (
            None if part is None else np.asarray(part).reshape(-1) for part in (observed, truth)
        )
        for name, part in (("observed", observed), ("truth", truth)):
            if part is not None and part.shape != levels[-1].shape:
                raise ValueError(
                    f"{name} has {len(part)} times, but the finest level has {len(levels[-1])}."
                )
        return cls(levels, times, observed, truth).plot(xlabel=xlabel, ylabel=ylabel, figure=figure)

    def plot(self, *, xlabel=None, ylabel=None, figure=None):
        """Draw the display.

        Parameters
        ----------
        xlabel, ylabel : str, default=None
            Labels of the axes.
        figure : matplotlib.figure.Figure, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ResolutionDisplay
            Itself.
        """
        plt = pyplot("ResolutionDisplay")
        n = len(self.levels)
        if figure is None:
            figure = plt.figure(figsize=(7.0, 1.6 * (n + 1)), layout="constrained")
        self.figure_ = figure
        heights = [1.0] * (n - 1) + [2.0]
        axes = figure.subplots(
            n, 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
        )
        self.ax_ = axes[:, 0]
        finest = self.times[-1]
        for ax, level, times in zip(self.ax_, self.levels, self.times, strict=True):
            is_finest = ax is self.ax_[-1]
            if is_finest and self.observed is not None:
                ax.plot(finest, self.observed, ".", ms=2.0, color="0.6", label="input")
            if self.truth is not None:
                ax.plot(finest, self.truth, color="0.2", lw=0.8, label="truth")
            if is_finest:
                ax.plot(times, level, color="C0", lw=1.2, label="predicted")
            else:
                ax.stairs(level, _edges(times, finest), color="C0", lw=1.4, baseline=None)
            ax.set_title(f"{len(level)} steps", loc="right", fontsize="small")
        steps = np.diff(finest)
        if len(steps) and finest[0] > 0.0 and steps.max() > _UNEVEN * steps.min():
            self.ax_[-1].set_xscale("log")
        self.ax_[-1].legend(fontsize="small")
        self.ax_[-1].set_xlabel(xlabel or "")
        self.ax_[-1].set_ylabel(ylabel or "")
        return self


def _edges(times, finest):
    """Return the edges of a level's windows, halfway between their times and within the sequence."""
    middles = (times[:-1] + times[1:]) / 2.0
    return np.concatenate([finest[:1], middles, finest[-1:]])
