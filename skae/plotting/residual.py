"""ResidualDisplay: how well each column comes back, and how the errors hang together."""

import numpy as np

from skae._sklearn import _check_sample_weight
from skae._warn import warn
from skae.metrics import relative_residuals, residual_moments
from skae.plotting._columns import RoundTripDisplay, column_names
from skae.plotting._display import documented

# more points than this outside 1σ would make a vector picture too large to open
_MOST_POINTS = 4000


@documented
class ResidualDisplay(RoundTripDisplay):
    """Corner plot of residuals.

    The diagonal shows each column's residuals with their mean and standard deviation. Below it, each
    pair of columns: a two-dimensional histogram of the core, the points outside the 1σ ellipse, and
    the correlation as the colour of the background.

    Parameters
    ----------
    residuals : ndarray of shape (n_samples, n_features)
        Residuals.
    names : list of str
        Labels of the columns.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Attributes
    ----------
    ax_ : ndarray of shape (n_features, n_features) of matplotlib.axes.Axes
        The axes; those above the diagonal are switched off.
    moments_ : skae.metrics.ResidualMoments
        Mean, standard deviation and correlation of the residuals.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.plotting import ResidualDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(1, 2, (500, 2))
    >>> display = ResidualDisplay.from_predictions(X, X * rng.normal(1, 0.01, X.shape))
    >>> display.moments_.std.round(2)
    array([0.01, 0.01])
    """

    def __init__(self, residuals, names, sample_weight=None):
        self.residuals = residuals
        self.names = names
        self.sample_weight = sample_weight

    @classmethod
    def from_predictions(
        cls,
        X_true,
        X_pred,
        *,
        angles=(),
        absolute=(),
        names=None,
        sample_weight=None,
        bins=60,
        figure=None,
    ):
        """Plot the residuals of reconstructed rows.

        Parameters
        ----------
        X_true : array-like of shape (n_samples, n_features)
            True values; a DataFrame's column names become labels.
        X_pred : array-like of shape (n_samples, n_features)
            Reconstructed values.
        angles : sequence of int, default=()
            Columns that are angles in radians, taken around the circle.
        absolute : sequence of int, default=()
            Columns whose residuals are differences, not relative ones.
        names : sequence of str, default=None
            Labels of the columns.
        bins : int, default=60
            Bins of the histograms.
        """
        names = column_names(X_true, names)
        labels = [f"Δ {n}" if j in absolute else f"Δ {n} / {n}" for j, n in enumerate(names)]
        residuals = relative_residuals(X_true, X_pred, angles=angles, absolute=absolute)
        return cls(residuals, labels, sample_weight).plot(bins=bins, figure=figure)

    def plot(self, *, bins=60, figure=None):
        """Draw the display."""
        finite = np.isfinite(self.residuals).all(axis=1)
        weight = _check_sample_weight(self.sample_weight, self.residuals)[finite]
        residuals = self.residuals[finite]
        if not finite.all():
            warn(
                f"{(~finite).sum()} of {len(finite)} rows have a true value of zero and are left out; "
                "name the columns that pass through zero in absolute=.",
                UserWarning,
            )
        self.moments_ = residual_moments(residuals, sample_weight=weight)
        n = residuals.shape[1]
        figure = self._draw_on(figure, size=(2.4 * n + 1.2, 2.2 * n + 0.4))
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self.ax_ = figure.subplots(n, n, sharex="col", squeeze=False)
        ranges = [_core_range(column) for column in residuals.T]
        for (row, column), ax in np.ndenumerate(self.ax_):
            if column > row:
                ax.set_axis_off()
            elif column == row:
                self._plot_histogram(ax, row, residuals[:, row], weight, ranges[row], bins)
            else:
                self._plot_pair(ax, row, column, residuals, weight, ranges, bins)
            if row == n - 1:
                ax.set_xlabel(self.names[column])
                ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
                ax.locator_params(axis="x", nbins=3)
            if column == 0 and row:
                ax.set_ylabel(self.names[row])
        if n > 1:  # in the empty corner, so that the grid stays straight
            corner = self.ax_[0, -1].inset_axes([0.3, 0.0, 0.1, 1.0])
            colours = ScalarMappable(Normalize(-1, 1), "coolwarm")
            figure.colorbar(colours, cax=corner, label="correlation")
        return self

    def _plot_histogram(self, ax, j, residuals, weight, limits, bins):
        mean, std = self.moments_.mean[j], self.moments_.std[j]
        ax.hist(
            residuals, bins=bins, range=limits, weights=weight, histtype="stepfilled", alpha=0.7
        )
        ax.axvline(mean, color="black", linewidth=0.8)
        ax.set_title(f"mean {mean:.1e}, σ {std:.1e}", fontsize="small")
        ax.set_xlim(limits)
        ax.set_yticks([])

    def _plot_pair(self, ax, row, column, residuals, weight, ranges, bins):
        from matplotlib import colormaps

        x, y = residuals[:, column], residuals[:, row]
        mean, std = self.moments_.mean, self.moments_.std
        correlation = self.moments_.correlation[row, column]
        ax.set_facecolor((*colormaps["coolwarm"](0.5 + 0.5 * correlation)[:3], 0.5))
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = (x - mean[column]) / std[column], (y - mean[row]) / std[row]
        outside = np.flatnonzero(u**2 + v**2 > 1.0)[:_MOST_POINTS]
        ax.plot(x[outside], y[outside], ",", color="black", alpha=0.6, rasterized=True)
        ax.hist2d(
            x, y, bins=bins, range=[ranges[column], ranges[row]], weights=weight, cmin=1e-12,
            cmap="viridis", norm="log" if (weight >= 0).all() else "linear",
        )  # fmt: skip
        ax.annotate(
            f"ρ = {correlation:.2f}", (0.05, 0.88), xycoords="axes fraction", fontsize="small",
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        ax.set_xlim(ranges[column])
        ax.set_ylim(ranges[row])
        ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        ax.locator_params(axis="y", nbins=3)


def _core_range(residuals):
    """Limits that show the core, not the farthest outlier; never of zero width."""
    low, high = np.percentile(residuals, [0.5, 99.5])
    half = max(high - low, 1e-12) * 0.6
    return (low + high) / 2 - half, (low + high) / 2 + half
