"""LatentDisplay: where rows lie in the latent plane, and how well that is known."""

import numpy as np

from skae.plotting._columns import given, last_step
from skae.plotting._display import Display, documented

# More ellipses than this hide one another, and take long to draw.
_MOST_ELLIPSES = 2000


@documented
class LatentDisplay(Display):
    """Posteriors of rows as ellipses in the plane of two latent coordinates, against the prior.

    The dashed circles hold 39 % and 86 % of the standard normal prior: radius 1 and 2. Where posteriors
    overlap, rows cannot be told apart; one as wide as the inner circle says nothing of its row.

    Parameters
    ----------
    mean : ndarray of shape (n_samples, n_components)
        Latent coordinates.
    std : ndarray of shape (n_samples, n_components), default=None
        Their standard deviations.
    c : ndarray of shape (n_samples,), default=None
        What the rows are coloured by.
    c_name : str, default=None
        Label of the colours.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> from skae import SpectraVAE
    >>> from skae.datasets import make_spectra
    >>> from skae.plotting import LatentDisplay
    >>> X, fluxes = make_spectra(100, random_state=0)
    >>> vae = SpectraVAE(likelihood="poisson", max_epochs=5).fit(X)
    >>> display = LatentDisplay.from_estimator(vae, X, c=fluxes[:, 0], c_name="flux 1")
    >>> display.ax_.get_xlabel()
    'latent coordinate 0'
    """

    def __init__(self, mean, std=None, c=None, c_name=None):
        self.mean = mean
        self.std = std
        self.c = c
        self.c_name = c_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        c=None,
        c_name=None,
        errors=None,
        exposure=None,
        background=None,
        **kwargs,
    ):
        """Plot the posteriors of rows.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder, or a Pipeline that ends in one. One without ``posterior`` gives points.
        X : array-like of shape (n_samples, n_features)
            Rows.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, where the estimator was fitted with such.
        exposure, background : array-like of shape (n_samples,) or (n_samples, n_features), default=None
            Of counts, where the estimator was fitted with them.
        """
        beside = given(errors=errors, exposure=exposure, background=background)
        estimator, X = last_step(estimator, X)
        if getattr(estimator, "prior", "gaussian") != "gaussian":
            kwargs.setdefault("prior", False)
        if hasattr(estimator, "posterior"):
            mean, std = estimator.posterior(X, **beside)
        else:
            mean, std = np.asarray(estimator.transform(X)), None
        return cls.from_predictions(mean, std, c=c, c_name=c_name, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        mean,
        std=None,
        *,
        c=None,
        c_name=None,
        components=(0, 1),
        n_sigma=1.0,
        cmap=None,
        prior=True,
        ax=None,
    ):
        """Plot latent coordinates with their standard deviations.

        Parameters
        ----------
        mean : array-like of shape (n_samples, n_components)
            Posterior means, two components or more.
        std : array-like of shape (n_samples, n_components), default=None
            Posterior standard deviations; None draws points.
        c : array-like of shape (n_samples,), default=None
            A parameter of each row, for its colour; a Series' name becomes the label.
        components : (int, int), default=(0, 1)
            Coordinates along the horizontal and the vertical axis.
        n_sigma : float, default=1.0
            Half-axes of the ellipses, in standard deviations.
        cmap : str or Colormap, default=None
            Colours, matplotlib's default where None.
        prior : bool, default=True
            Draw the circles of the standard normal prior. ``from_estimator`` leaves them out where the
            prior is another one.
        """
        mean = np.asarray(mean, dtype=np.float64)
        if mean.ndim != 2 or not all(0 <= j < mean.shape[1] for j in components):
            raise ValueError(
                f"mean has shape {mean.shape}; components={tuple(components)} needs "
                f"(n_samples, {max(components) + 1} or more)."
            )
        if std is not None:
            std = np.asarray(std, dtype=np.float64)
            if std.shape != mean.shape:
                raise ValueError(
                    f"std has shape {std.shape}, mean {mean.shape}; they must be equal."
                )
        if c is not None:
            c_name = getattr(c, "name", None) if c_name is None else c_name
            c = np.asarray(c, dtype=np.float64)
            if c.shape != (len(mean),):
                raise ValueError(
                    f"c has shape {c.shape}; it needs one number for each of {len(mean)} rows."
                )
        display = cls(mean, std, c, c_name)
        return display.plot(components=components, n_sigma=n_sigma, cmap=cmap, prior=prior, ax=ax)

    def plot(self, *, components=(0, 1), n_sigma=1.0, cmap=None, prior=True, ax=None):
        """Draw the display."""
        ax = self._draw_in(ax, size=(5.5, 4.8))
        from matplotlib.collections import EllipseCollection
        from matplotlib.patches import Circle

        chosen = list(components)
        centres = self.mean[:, chosen]
        points = ax.scatter(*centres.T, s=4, c=self.c, cmap=cmap if self.c is not None else None)
        if self.std is not None and len(centres) <= _MOST_ELLIPSES:
            width, height = 2.0 * n_sigma * self.std[:, chosen].T
            ellipses = EllipseCollection(
                width,
                height,
                np.zeros(len(centres)),
                units="xy",
                offsets=centres,
                offset_transform=ax.transData,
                facecolors="none",
                edgecolors=points.to_rgba(self.c) if self.c is not None else points.get_facecolor(),
                linewidths=0.6,
            )
            ax.add_collection(ellipses)
        for radius in (1.0, 2.0) if prior else ():
            circle = Circle((0.0, 0.0), radius, fill=False, ls="--", color="0.6", lw=0.8, zorder=0)
            ax.add_patch(circle)
        ax.autoscale_view()
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_xlabel(f"latent coordinate {chosen[0]}")
        ax.set_ylabel(f"latent coordinate {chosen[1]}")
        if self.c is not None:
            self.figure_.colorbar(points, ax=ax, label=self.c_name)
        return self
