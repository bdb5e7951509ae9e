"""ResolutionDisplay: what is predicted of a sequence at each resolution, beside truth and input."""

import numpy as np

from skae.plotting._columns import last_step
from skae.plotting._display import Display, documented

# Steps that differ by more than this are shown on a logarithmic axis.
_UNEVEN = 10.0


@documented
class ResolutionDisplay(Display):
    """One panel for each resolution, the coarsest on top; input and truth beside the finest.

    A level's averages are drawn as steps over the windows that they are averages of, beside those of the
    truth over the same windows.

    Parameters
    ----------
    levels : list of ndarray of shape (n_steps,)
        Predictions, the coarsest first.
    edges : list of ndarray of shape (n_steps + 1,)
        Edges of the windows of each level; the last ones are those of the bins.
    times : ndarray of shape (n_times,)
        Times of the finest level.
    observed : ndarray of shape (n_times,), default=None
        What went in.
    truth : ndarray of shape (n_times,), default=None
        What should come out.

    Attributes
    ----------
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

    def __init__(self, levels, edges, times, observed=None, truth=None):
        self.levels = levels
        self.edges = edges
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
        """
        estimator, X = last_step(estimator, [X] if np.ndim(X) == 1 else X)
        if len(X) != 1:
            raise ValueError(f"X has {len(X)} rows; give one, X[:1] say.")
        levels = [level[0] for level in estimator.predict_resolutions(X)]
        observed = np.asarray(X)[0].reshape(-1, len(levels[-1]))[0]
        return cls.from_predictions(
            levels, estimator.level_edges_, estimator.level_times_[-1], observed, y, **kwargs
        )

    @classmethod
    def from_predictions(
        cls,
        levels,
        edges,
        times,
        observed=None,
        truth=None,
        *,
        xlabel=None,
        ylabel=None,
        figure=None,
    ):
        """Plot predictions at several resolutions.

        Parameters
        ----------
        truth : array-like of shape (n_times,) or (1, n_times), default=None
            What should come out.
        xlabel, ylabel : str, default=None
            Labels of the axes.
        """
        levels, edges = ([np.asarray(part) for part in parts] for parts in (levels, edges))
        steps, windows = ([len(level) for level in levels], [len(part) - 1 for part in edges])
        if steps != windows or len(times) != steps[-1]:
            raise ValueError(
                f"levels have {steps} steps, edges {windows} windows, and times {len(times)} entries; "
                "there must be a window for each step, and a time for each of the finest."
            )
        observed, truth = (
            None if part is None else np.asarray(part).reshape(-1) for part in (observed, truth)
        )
        for name, part in (("observed", observed), ("truth", truth)):
            if part is not None and part.shape != levels[-1].shape:
                raise ValueError(
                    f"{name} has {len(part)} times, but the finest level has {len(levels[-1])}."
                )
        display = cls(levels, edges, np.asarray(times), observed, truth)
        return display.plot(xlabel=xlabel, ylabel=ylabel, figure=figure)

    def plot(self, *, xlabel=None, ylabel=None, figure=None):
        """Draw the display."""
        n = len(self.levels)
        figure = self._draw_on(figure, size=(7.0, 1.6 * (n + 1)))
        heights = [1.0] * (n - 1) + [2.0]
        axes = figure.subplots(
            n, 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
        )
        self.ax_ = axes[:, 0]
        for ax, level, edges in zip(self.ax_, self.levels, self.edges, strict=True):
            if ax is self.ax_[-1]:
                self._draw_finest(ax, level)
            else:
                if self.truth is not None:
                    ax.stairs(self._average(edges), edges, color="0.2", baseline=None)
                ax.stairs(level, edges, color="C0", lw=1.4, baseline=None)
            ax.set_title(f"{len(level)} steps", loc="right", fontsize="small")
        widths = np.diff(self.edges[-1])
        if self.times[0] > 0.0 and widths.max() > _UNEVEN * widths.min():
            self.ax_[-1].set_xscale("log")
        self.ax_[-1].legend(fontsize="small")
        self.ax_[-1].set_xlabel(xlabel or "")
        self.ax_[-1].set_ylabel(ylabel or "")
        return self

    def _draw_finest(self, ax, level):
        if self.observed is not None:
            ax.plot(self.times, self.observed, ".", ms=2.0, color="0.6", label="input")
        if self.truth is not None:
            ax.plot(self.times, self.truth, color="0.2", lw=0.8, label="truth")
        ax.plot(self.times, level, color="C0", lw=1.2, label="predicted")

    def _average(self, edges):
        """Average the truth over windows, each bin by its width."""
        bins = self.edges[-1]
        starts = np.searchsorted(bins, edges[:-1])
        widths = np.diff(bins)
        return np.add.reduceat(widths * self.truth, starts) / np.add.reduceat(widths, starts)
