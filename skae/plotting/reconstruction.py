"""ReconstructionDisplay: distributions before and after a round trip through an autoencoder."""

import numpy as np

from skae._sklearn import _check_sample_weight
from skae.plotting._columns import RoundTripDisplay, column_names
from skae.plotting._display import documented


@documented
class ReconstructionDisplay(RoundTripDisplay):
    """Histograms of each column, raw against decoded.

    Parameters
    ----------
    X_true : ndarray of shape (n_samples, n_features)
        Raw values.
    X_pred : ndarray of shape (n_samples, n_features)
        Decoded values.
    names : list of str
        Labels of the columns.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Attributes
    ----------
    ax_ : ndarray of shape (n_features,) of matplotlib.axes.Axes
        The axes, one for each column.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.plotting import ReconstructionDisplay
    >>> X = np.random.default_rng(0).exponential(size=(500, 3))
    >>> len(ReconstructionDisplay.from_predictions(X, 1.01 * X).ax_)
    3
    """

    def __init__(self, X_true, X_pred, names, sample_weight=None):
        self.X_true = X_true
        self.X_pred = X_pred
        self.names = names
        self.sample_weight = sample_weight

    @classmethod
    def from_predictions(
        cls, X_true, X_pred, *, names=None, sample_weight=None, bins=60, log_columns=(), figure=None
    ):
        """Plot the distributions of raw and decoded rows.

        Parameters
        ----------
        X_true : array-like of shape (n_samples, n_features)
            Raw values; a DataFrame's column names become labels.
        names : sequence of str, default=None
            Labels of the columns.
        bins : int, default=60
            Bins of the histograms.
        log_columns : sequence of int, default=()
            Columns with a logarithmic axis and bins; their raw values must be positive.
        """
        names = column_names(X_true, names)
        X_true, X_pred = np.asarray(X_true), np.asarray(X_pred)
        if X_true.shape != X_pred.shape:
            raise ValueError(
                f"X_true has shape {X_true.shape}, X_pred {X_pred.shape}; they must be equal."
            )
        display = cls(X_true, X_pred, names, sample_weight)
        return display.plot(bins=bins, log_columns=log_columns, figure=figure)

    def plot(self, *, bins=60, log_columns=(), figure=None):
        """Draw the display."""
        n = self.X_true.shape[1]
        figure = self._draw_on(figure, size=(3.2 * n, 3.0))
        self.ax_ = figure.subplots(1, n, squeeze=False)[0]
        weight = _check_sample_weight(self.sample_weight, self.X_true)
        for j, ax in enumerate(self.ax_):
            raw, decoded = self.X_true[:, j], self.X_pred[:, j]
            edges = self._edges(j, raw, bins, j in log_columns)
            if j in log_columns:
                ax.set_xscale("log")
            heights, *_ = ax.hist(raw, edges, weights=weight, alpha=0.4, label="raw")
            others, *_ = ax.hist(
                decoded, edges, weights=weight, histtype="step", color="black", label="decoded"
            )
            outside = ~((decoded >= edges[0]) & (decoded <= edges[-1]))
            if outside.any():
                ax.set_title(f"{outside.sum()} decoded outside", fontsize="small")
            ax.set_xlabel(self.names[j])
            ax.set_yscale("log")
            if (heights > 0).any():
                bottom, top = 0.3 * heights[heights > 0].min(), max(heights.max(), others.max())
                ax.set_ylim(bottom, top * (top / bottom) ** 0.25)  # a quarter more, for the legend
        self.ax_[0].set_ylabel("rows" if self.sample_weight is None else "weighted rows")
        self.ax_[0].legend(loc="upper left", ncols=2, fontsize="small")
        return self

    def _edges(self, j, raw, bins, logarithmic):
        """Edges of the bins of column j: the range of its raw values."""
        low, high = raw.min(), raw.max()
        if high == low:
            low, high = low - 0.5, low + 0.5
        if not logarithmic:
            return np.linspace(low, high, bins + 1)
        if low <= 0.0:
            raise ValueError(
                f"log_columns has column {j} ({self.names[j]}), whose raw values reach {low:.3g}; "
                "a logarithmic axis needs positive ones."
            )
        return np.geomspace(low, high, bins + 1)
