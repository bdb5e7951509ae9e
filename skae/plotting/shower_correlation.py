"""NeighbourCorrelationDisplay: how voxels of generated and of real showers go with their neighbours."""

import numpy as np

from skae.metrics import neighbour_correlations
from skae.metrics.shower_correlations import QUANTITIES, lags_of
from skae.metrics.shower_observables import check_showers
from skae.physics.calorimeter import resolve_geometry
from skae.plotting._display import Display, documented
from skae.sampling import sample

_QUANTITIES = {"log_energy": "log energy", "hits": "hits"}
_LAGS = {"angle_1": "next in angle", "depth_1": "one layer deeper", "depth_2": "two layers deeper"}


@documented
class NeighbourCorrelationDisplay(Display):
    """Mean correlations of voxels with their neighbours, by radius, with standard errors.

    A row for each quantity, log energies and hits, and a column for each direction to the neighbours.
    Dashed lines are the values of voxels that fluctuate independently: -1/(n - 1) around a circle of n,
    as the mean of the ring is taken off, if all are divided into as many, and 0 in depth. Showers with
    nothing at a radius count as 0 there. See :func:`~skae.metrics.neighbour_correlations`.

    Parameters
    ----------
    real, generated : ndarray of shape (n_samples, n_correlations)
        What :func:`~skae.metrics.neighbour_correlations` returns. The numbers of showers may differ.
    geometry : CaloGeometry
        Where voxels are.

    Attributes
    ----------
    ax_ : dict of str to matplotlib.axes.Axes
        "log_energy_angle_1", "hits_depth_2" and so on, of the lags that there are.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> from skae.plotting import NeighbourCorrelationDisplay
    >>> real, other = (make_showers(100, random_state=seed) for seed in (0, 1))
    >>> display = NeighbourCorrelationDisplay.from_predictions(real, other, geometry="dataset_2")
    >>> sorted(display.ax_)[:2]
    ['hits_angle_1', 'hits_depth_1']
    """

    def __init__(self, real, generated, geometry):
        self.real = real
        self.generated = generated
        self.geometry = geometry

    @classmethod
    def from_estimator(cls, estimator, X, *, geometry="dataset_2", random_state=None, **kwargs):
        """Draw showers at the incident energies of real ones, and plot the correlations of both.

        Parameters
        ----------
        estimator : Pipeline or CaloShowerVAE
            Fitted; what it draws must be in MeV, as of a Pipeline with LogRatioTransformer.
        X : array-like of shape (n_samples, 1 + n_voxels)
            Real showers, in MeV.
        random_state : int, RandomState instance or None, default=None
            Of the showers that are drawn.
        """
        real, geometry = check_showers(X, geometry)
        generated = sample(estimator, real[:, 0], random_state=random_state)
        return cls.from_predictions(real, generated, geometry=geometry, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        real,
        generated,
        *,
        geometry="dataset_2",
        threshold=None,
        labels=("real", "generated"),
        figure=None,
    ):
        """Plot correlations of showers that were drawn already.

        Parameters
        ----------
        real, generated : array-like of shape (n_samples, 1 + n_voxels)
            Incident energy, then the energy in each voxel, in MeV. The numbers of showers may differ.
        geometry : str or CaloGeometry, default="dataset_2"
            Where voxels are. Some layer must be divided in angle.
        threshold : float, default=None
            Voxels with less are set to zero first; above 0. None takes the geometry's.
        labels : (str, str), default=("real", "generated")
            What the two are called; "Geant4" say, or "parametrised".
        """
        geometry = resolve_geometry(geometry)
        pair = [
            neighbour_correlations(X, geometry=geometry, threshold=threshold)
            for X in (real, generated)
        ]
        return cls(*pair, geometry).plot(labels=labels, figure=figure)

    def plot(self, *, labels=("real", "generated"), figure=None):
        """Draw the display."""
        lags = lags_of(self.geometry)
        if not lags:
            raise ValueError(
                "No layer of the geometry is divided in angle, so no voxel has a neighbour to go with."
            )
        figure = self._draw_on(figure, size=(2 + 3.4 * len(lags), 6))
        axes = figure.subplots(
            len(QUANTITIES), len(lags), sharex="col", sharey="row", squeeze=False
        )
        names = [f"{quantity}_{lag.name}" for quantity in QUANTITIES for lag in lags]
        self.ax_ = dict(zip(names, axes.ravel(), strict=True))
        n_radii = [lag.n_radii for lag in lags] * len(QUANTITIES)
        ends = np.cumsum(n_radii)
        for ax, end, n in zip(axes.flat, ends, n_radii, strict=True):
            self._compare(ax, slice(end - n, end), labels)
        self._draw_independence(lags)
        for ax, lag in zip(axes[0], lags, strict=True):
            ax.set_title(_LAGS[lag.name], fontsize=10)
        for ax in axes[-1]:
            ax.set_xlabel("ring from the axis")
        for ax, quantity in zip(axes[:, 0], QUANTITIES, strict=True):
            ax.set_ylabel(f"correlation of {_QUANTITIES[quantity]}")
        handles, names = axes[0, -1].get_legend_handles_labels()
        points_first = sorted(range(len(names)), key=lambda i: names[i] not in labels)
        axes[0, -1].legend(
            [handles[i] for i in points_first], [names[i] for i in points_first], frameon=False
        )
        return self

    def _compare(self, ax, columns, labels):
        """Draw the means of some columns, and their standard errors."""
        from matplotlib.ticker import MaxNLocator

        for part, label, shift, colour, marker in (
            (self.real, labels[0], -0.1, "C0", "s"),
            (self.generated, labels[1], 0.1, "C1", "o"),
        ):
            found = part[:, columns]
            ax.errorbar(
                np.arange(found.shape[1]) + shift,  # side by side, so that neither hides the other
                found.mean(axis=0),
                found.std(axis=0) / np.sqrt(len(found)),
                fmt=marker,
                markersize=4,
                color=colour,
                label=label,
            )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))

    def _draw_independence(self, lags):
        """Draw lines where independent voxels would be."""
        n_angles = {parts for parts in self.geometry.n_angles if parts > 1}
        for quantity in QUANTITIES:
            for lag in lags:
                if lag.name == "angle_1" and len(n_angles) > 1:
                    continue
                value = -1.0 / (min(n_angles) - 1) if lag.name == "angle_1" else 0.0
                self.ax_[f"{quantity}_{lag.name}"].axhline(
                    value, color="0.5", linewidth=1.0, linestyle="--", zorder=0, label="independent"
                )
