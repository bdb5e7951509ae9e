"""SpectrumDisplay: spectra with their reconstruction, its error, and what is left."""

import numpy as np

from skae.plotting._columns import given, last_step
from skae.plotting._display import Display, documented


@documented
class SpectrumDisplay(Display):
    """Rows as curves: what was observed, its reconstruction with error bands, and pulls below.

    The dark band is what the posterior leaves open of the mean, the light one the noise around it, one
    standard deviation each. Pulls are deviations in units of the noise, to which a model's
    ``misfit_sigma_`` counts where there is one, as in its ``pulls``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        What was observed; NaN makes a gap.
    mean : ndarray of shape (n_rows, n_features)
        Reconstruction.
    std : ndarray of shape (n_rows, n_features), default=None
        Its standard deviation.
    noise : ndarray of shape (n_rows, n_features), default=None
        Standard deviation of the noise.
    grid : ndarray of shape (n_features,), default=None
        Wavelengths or times.

    Attributes
    ----------
    ax_ : ndarray of shape (n_rows,) of matplotlib.axes.Axes
        Axes of the rows.
    pull_ax_ : ndarray of shape (n_rows,) of matplotlib.axes.Axes
        Axes of the pulls.

    Examples
    --------
    >>> from skae import SpectraVAE
    >>> from skae.datasets import make_spectra
    >>> from skae.plotting import SpectrumDisplay
    >>> X, _ = make_spectra(100, random_state=0)
    >>> vae = SpectraVAE(likelihood="poisson", max_epochs=5).fit(X)
    >>> len(SpectrumDisplay.from_estimator(vae, X[:2]).ax_)
    2
    """

    def __init__(self, X, mean, std=None, noise=None, grid=None):
        self.X = X
        self.mean = mean
        self.std = std
        self.noise = noise
        self.grid = grid

    @classmethod
    def from_estimator(cls, estimator, X, *, errors=None, exposure=None, background=None, **kwargs):
        """Plot rows with the reconstruction that an estimator gives them.

        Parameters
        ----------
        estimator : SpectraVAE or Pipeline
            Fitted. With a Pipeline that ends in one, rows are shown as they reach it.
        X : array-like of shape (n_rows, n_features)
            Rows, a few of them: each gets axes of its own.
        errors : array-like of shape (n_rows, n_features), default=None
            Errors of X, where the estimator was fitted with such.
        exposure, background : array-like of shape (n_rows,) or (n_rows, n_features), default=None
            Of counts, where the estimator was fitted with them. Rows are then drawn as rates.
        **kwargs
            As for ``from_predictions``; the grid is the estimator's.
        """
        estimator, X = last_step(estimator, X)
        beside = given(errors=errors, exposure=exposure, background=background)
        mean, std = estimator.reconstruct(X, return_std=True, **beside)
        X = np.asarray(X, dtype=np.float64)
        if X.shape[1] == 2 * mean.shape[1]:  # errors are columns
            X, beside["errors"] = np.hsplit(X, 2)
        misfit = getattr(estimator, "misfit_sigma_", 0.0)
        noise = np.hypot(estimator.noise_std(mean, **beside), misfit)
        if (errors := beside.get("errors")) is not None:
            X = np.where(np.asarray(errors) > 0.0, X, np.nan)
        elif beside:
            of_rows = {name: np.reshape(part, (len(X), -1)) for name, part in beside.items()}
            exposure = of_rows.get("exposure", 1.0)
            X, noise = (X - of_rows.get("background", 0.0)) / exposure, noise / exposure
        kwargs.setdefault("grid", estimator.grid_)
        return cls.from_predictions(X, mean, std, noise=noise, **kwargs)

    @classmethod
    def from_predictions(
        cls, X, mean, std=None, *, noise=None, grid=None, xlabel=None, ylabel=None, figure=None
    ):
        """Plot rows with their reconstructions.

        Parameters
        ----------
        noise : array-like of shape (n_rows, n_features) or (n_features,), default=None
            Standard deviation of the noise; without it there are no pulls.
        grid : array-like of shape (n_features,), default=None
            Wavelengths or times; None numbers the columns.
        xlabel, ylabel : str, default=None
            Labels of the axes.
        """
        X, mean = (np.atleast_2d(np.asarray(part, dtype=np.float64)) for part in (X, mean))
        if X.shape != mean.shape:
            raise ValueError(f"X has shape {X.shape}, mean {mean.shape}; they must be equal.")
        std, noise = (
            None if part is None else np.broadcast_to(np.asarray(part, dtype=np.float64), X.shape)
            for part in (std, noise)
        )
        grid = np.arange(X.shape[1]) if grid is None else np.asarray(grid)
        if grid.shape != X.shape[1:]:
            raise ValueError(f"grid has shape {grid.shape}, but rows have {X.shape[1]} columns.")
        return cls(X, mean, std, noise, grid).plot(xlabel=xlabel, ylabel=ylabel, figure=figure)

    def plot(self, *, xlabel=None, ylabel=None, figure=None):
        """Draw the display."""
        n = len(self.X)
        figure = self._draw_on(figure, size=(4.2 * n, 4.0))
        axes = figure.subplots(
            2, n, squeeze=False, sharex="col", gridspec_kw={"height_ratios": (3, 1)}
        )
        self.ax_, self.pull_ax_ = axes
        for i, (ax, pull_ax) in enumerate(zip(*axes, strict=True)):
            mean = self.mean[i]
            ax.plot(self.grid, self.X[i], ".", ms=2, color="0.4", label="observed")
            ax.plot(self.grid, mean, color="C0", lw=1.2, label="reconstructed")
            if self.noise is not None:
                self._draw_band(ax, mean, self.noise[i], color="C0", alpha=0.2, label="noise")
                pulls = (self.X[i] - mean) / self.noise[i]
                pull_ax.plot(self.grid, pulls, ".", ms=2, color="0.4")
                for level in (-1.0, 0.0, 1.0):
                    pull_ax.axhline(level, color="C0", lw=0.8, ls="--" if level else "-")
            else:
                pull_ax.plot(self.grid, self.X[i] - mean, ".", ms=2, color="0.4")
            if self.std is not None:
                self._draw_band(ax, mean, self.std[i], color="C1", alpha=0.8, label="posterior")
            pull_ax.set_xlabel(xlabel or "")
        self.ax_[0].legend(fontsize="small")
        self.ax_[0].set_ylabel(ylabel or "")
        self.pull_ax_[0].set_ylabel("pull" if self.noise is not None else "residual")
        return self

    def _draw_band(self, ax, mean, width, **style):
        ax.fill_between(self.grid, mean - width, mean + width, lw=0, **style)
