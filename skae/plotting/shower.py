"""ShowerDisplay: generated showers beside real ones, layer by layer, in profiles and in histograms."""

import numpy as np

from skae.metrics import separation_power, shower_response
from skae.metrics.shower_observables import RESPONSE_BINS, check_showers
from skae.physics.calorimeter import resolve_geometry
from skae.plotting._display import Display, documented
from skae.sampling import sample

# Bins of the spectrum of voxels.
_N_SPECTRUM = 60

_LOGARITHMIC = ("radial", "spectrum")

# Ratios with a larger relative error are not shown.
_MOST_ERROR = 0.5

_PANELS = ("longitudinal", "radial", "response", "spectrum")


@documented
class ShowerDisplay(Display):
    """Average showers in some layers, and four histograms with their ratios.

    On top the mean energy of each voxel in some layers, real above generated, on one logarithmic scale.
    Below, each with the ratio of generated to real ones and its statistical error: the mean energy of
    each layer, the mean energy by radius, the total over the incident energy, and the spectrum of voxels.

    Parameters
    ----------
    real, generated : ndarray of shape (n_samples, 1 + n_voxels)
        Incident energy, then the energy in each voxel, in MeV. The numbers of showers may differ.
    geometry : CaloGeometry
        Where voxels are.

    Attributes
    ----------
    ax_ : dict of str to matplotlib.axes.Axes
        "longitudinal", "radial", "response", "spectrum", and the same with "_ratio".
    polar_ax_ : ndarray of shape (2, n_layers) of matplotlib.axes.Axes
        The layers shown, real and generated.

    Examples
    --------
    >>> from skae.datasets import make_showers
    >>> from skae.plotting import ShowerDisplay
    >>> real, other = (make_showers(200, random_state=seed) for seed in (0, 1))
    >>> display = ShowerDisplay.from_predictions(real, other, geometry="dataset_2")
    >>> sorted(display.ax_)[:2]
    ['longitudinal', 'longitudinal_ratio']
    """

    def __init__(self, real, generated, geometry):
        self.real = real
        self.generated = generated
        self.geometry = geometry

    @classmethod
    def from_estimator(cls, estimator, X, *, geometry="dataset_2", random_state=None, **kwargs):
        """Draw showers at the incident energies of real ones, and plot both.

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
        layers=None,
        labels=("real", "generated"),
        figure=None,
    ):
        """Plot showers that were drawn already.

        Parameters
        ----------
        geometry : str or CaloGeometry, default="dataset_2"
            Where voxels are.
        threshold : float, default=None
            Voxels with less are set to zero first. None takes the geometry's.
        layers : sequence of int, default=None
            Layers whose average is shown. None takes four from the first fifth to the last.
        labels : (str, str), default=("real", "generated")
            What the two are called; "Geant4" say, or "parametrised".
        """
        geometry = resolve_geometry(geometry)
        least = geometry.threshold if threshold is None else threshold
        pair = []
        for X in (real, generated):
            X, _ = check_showers(X, geometry)
            pair.append(np.where(least > X, 0.0, X))
            pair[-1][:, 0] = X[:, 0]
        return cls(*pair, geometry).plot(layers=layers, labels=labels, figure=figure)

    def plot(self, *, layers=None, labels=("real", "generated"), figure=None):
        """Draw the display."""
        n_layers = self.geometry.n_layers
        if layers is None:
            layers = np.unique(np.linspace(0.2, 0.8, 4) * (n_layers - 1)).round().astype(int)
        layers = [int(layer) for layer in np.unique(layers)]
        if not layers or not 0 <= layers[0] <= layers[-1] < n_layers:
            raise ValueError(
                f"layers={layers} must be among 0 to {n_layers - 1}, the geometry's layers."
            )
        figure = self._draw_on(figure, size=(13, 10))
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1))
        self._draw_layers(upper, layers, labels)
        axes = lower.subplots(
            2, 4, height_ratios=(3, 1), gridspec_kw={"hspace": 0.02}, squeeze=False
        )
        self.ax_ = {}
        for column, name in enumerate(_PANELS):
            self.ax_[name], self.ax_[f"{name}_ratio"] = axes[:, column]
            getattr(self, f"_draw_{name}")(labels)
        self.ax_["longitudinal"].legend(frameon=False)
        return self

    # -- layers --------------------------------------------------------------------------------

    def _draw_layers(self, figure, layers, labels):
        from matplotlib.colors import LogNorm

        axes = figure.subplots(2, len(layers), subplot_kw={"projection": "polar"}, squeeze=False)
        means = [part[:, 1:].mean(axis=0, dtype=np.float64) for part in (self.real, self.generated)]
        shown = np.concatenate([
            mean[self.geometry.layers[layer]] for mean in means for layer in layers
        ])  # fmt: skip
        most = max(shown.max(), 1e-6)
        norm = LogNorm(max(shown[shown > 0.0].min(initial=most), 1e-5 * most) / 1.01, most)
        for row, mean, label in zip(axes, means, labels, strict=True):
            for ax, layer in zip(row, layers, strict=True):
                edges, parts = self.geometry.radial_edges[layer], self.geometry.n_angles[layer]
                angles = np.linspace(-np.pi, np.pi, (60 if parts == 1 else parts) + 1)
                energy = mean[self.geometry.layers[layer]].reshape(parts, -1).T
                energy = np.repeat(energy, (len(angles) - 1) // parts, axis=1)
                mesh = ax.pcolormesh(
                    angles, edges, np.maximum(energy, norm.vmin), norm=norm, cmap="viridis"
                )
                ax.grid(visible=False)
                ax.set(xticks=[], yticks=[edges[-1]], yticklabels=[f"{edges[-1]:.3g} mm"])
                ax.tick_params(axis="y", labelsize=7)
                ax.set_title(f"{label}, layer {self.geometry.layer_names[layer]}", fontsize=10)
        figure.colorbar(mesh, ax=axes, label="mean energy of a voxel (MeV)", shrink=0.8)
        self.polar_ax_ = axes

    # -- histograms ----------------------------------------------------------------------------

    def _draw_longitudinal(self, labels):
        energies = [
            np.stack([part[:, 1:][:, where].sum(axis=1) for where in self.geometry.layers], axis=1)
            for part in (self.real, self.generated)
        ]
        edges = np.arange(self.geometry.n_layers + 1) - 0.5
        self._compare("longitudinal", edges, [_mean_and_error(e) for e in energies], labels)
        self.ax_["longitudinal"].set_ylabel("mean energy of a layer (MeV)")
        self.ax_["longitudinal_ratio"].set_xlabel("layer")

    def _draw_radial(self, labels):
        edges, spread = _common_rings(self.geometry)
        energies = [part[:, 1:] @ spread.astype(part.dtype) for part in (self.real, self.generated)]
        self._compare("radial", edges, [_mean_and_error(e) for e in energies], labels)
        self.ax_["radial"].set_ylabel("mean energy by radius (MeV / mm)")
        self.ax_["radial_ratio"].set_xlabel("radius (mm)")

    def _draw_response(self, labels):
        response = [
            shower_response(part, geometry=self.geometry, threshold=0.0)
            for part in (self.real, self.generated)
        ]
        power = separation_power(*response, bins=RESPONSE_BINS)
        counts = [_shares(r, RESPONSE_BINS, len(r)) for r in response]
        self._compare("response", RESPONSE_BINS, counts, labels)
        self.ax_["response"].set_title(f"separation power {power:.2g}", fontsize=9)
        self.ax_["response"].set_ylabel("share of showers")
        self.ax_["response_ratio"].set_xlabel("total over incident energy")

    def _draw_spectrum(self, labels):
        lit = [part[:, 1:][part[:, 1:] > 0.0] for part in (self.real, self.generated)]
        both = np.concatenate(lit) if any(map(len, lit)) else np.ones(1)
        edges = np.geomspace(both.min() / 1.001, both.max() * 1.001, _N_SPECTRUM + 1)
        counts = [
            _shares(energy, edges, len(part))
            for energy, part in zip(lit, (self.real, self.generated), strict=True)
        ]
        self._compare("spectrum", edges, counts, labels)
        self.ax_["spectrum"].set_ylabel("voxels of a shower")
        for name in ("spectrum", "spectrum_ratio"):
            self.ax_[name].set_xscale("log")
        self.ax_["spectrum_ratio"].set_xlabel("energy of a voxel (MeV)")

    def _compare(self, name, edges, values, labels):
        """Draw two histograms, and their ratio with its error."""
        ax, ratio_ax = self.ax_[name], self.ax_[f"{name}_ratio"]
        (real, real_error), (generated, error) = values
        ax.stairs(real, edges, fill=True, color="C0", alpha=0.35, label=labels[0])
        ax.stairs(generated, edges, color="C1", linewidth=1.5, label=labels[1])
        if name in _LOGARITHMIC and max(real.max(), generated.max()) > 0.0:
            ax.set_yscale("log")
        ax.tick_params(labelbottom=False)
        ratio = np.divide(generated, real, where=real > 0.0, out=np.full(len(real), np.nan))
        relative = np.sqrt(_square_ratio(error, generated) + _square_ratio(real_error, real))
        ratio[relative > _MOST_ERROR] = np.nan  # says nothing, and hides what does
        ratio_ax.axhline(1.0, color="C0", linewidth=1.0)
        ratio_ax.stairs(ratio, edges, color="C1", baseline=None)
        ratio_ax.errorbar(
            0.5 * (edges[:-1] + edges[1:]),
            ratio,
            ratio * relative,
            fmt="none",
            color="C1",
            linewidth=0.8,
        )
        ratio_ax.set(ylim=(0.5, 1.5), ylabel="ratio")
        ratio_ax.sharex(ax)


def _mean_and_error(energies):
    error = energies.std(axis=0, dtype=np.float64) / np.sqrt(len(energies))
    return energies.mean(axis=0, dtype=np.float64), error


def _shares(values, edges, n_showers):
    """Return a histogram over the number of showers, and its Poisson error."""
    counts, _ = np.histogram(values, edges)
    return counts / n_showers, np.sqrt(counts) / n_showers


def _square_ratio(error, value):
    return np.square(np.divide(error, value, where=value > 0.0, out=np.zeros(len(value))))


def _common_rings(geometry):
    """Return the edges of all layers' rings, and what of each voxel's energy lies in 1 mm of each."""
    edges = np.unique(np.concatenate(geometry.radial_edges))
    shares = []
    for own, parts in zip(geometry.radial_edges, geometry.n_angles, strict=True):
        own = np.asarray(own)
        overlap = np.minimum(own[1:, None], edges[1:]) - np.maximum(own[:-1, None], edges[:-1])
        density = (overlap > 0.0) / np.diff(own)[:, None]
        shares.append(np.tile(density, (parts, 1)))
    return edges, np.concatenate(shares)
