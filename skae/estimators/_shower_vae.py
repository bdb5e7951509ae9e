"""Base of shower models: checks of showers, then encode, decode, sample and score."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skae._sklearn import _check_feature_names_in
from skae._warn import warn
from skae.estimators._autoencoder import BaseAutoencoder
from skae.estimators._data import (
    TrainingData,
    check_count,
    in_units,
    make_corruption,
    to_host,
)
from skae.estimators._shower_data import brightest_voxel, validate_showers
from skae.estimators._shower_sampler import SamplerMixin
from skae.exceptions import ClippingWarning, ExtrapolationWarning
from skae.training.batches import PLAIN, Units
from skae.training.inference import bounded_rows
from skae.training.seeding import draw_seed

# Share of the training energies' logarithmic range by which one may be beyond it before anybody is
# warned: where thousands are drawn from a range, its ends are not among them.
_MARGIN = 0.02

# Factor by which totals of layers may be beyond those in training, likewise.
_OFF_BY = 1.25


class BaseShowerVAE(SamplerMixin, BaseAutoencoder):
    """An estimator whose module is a variational autoencoder of showers."""

    def _validate_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "net_")
        return validate_showers(self, X, reset=False)

    # -- fitting -------------------------------------------------------------------------------

    def _widen_range(self, X: np.ndarray) -> None:
        """Take note of what a further fit, or chunk, has that those before had not."""
        low, high = self.energy_range_
        self.energy_range_ = (min(low, float(X[:, 0].min())), max(high, float(X[:, 0].max())))
        voxels, brightest = self.module_.voxels, brightest_voxel(X)
        most = float(voxels.most) * self.scale_
        if voxels.bounded and brightest > most * (1.0 + 1e-6):
            warn(
                f"X has voxels up to {brightest:.9g}, above the largest one of the first fit, "
                f"{most:.9g}, which bounds what is drawn. Let the first chunk hold the "
                "brightest showers, or use bounded=False.",
                ClippingWarning,
            )

    def _count_validation_rows(self, n_samples: int) -> int:
        n_validation = super()._count_validation_rows(n_samples)
        if n_validation == 1:
            raise ValueError(
                f"early_stopping=True holds out 1 of n_samples={n_samples} showers, and a distance needs "
                "two or more; use a larger validation_fraction, more showers, or early_stopping=False."
            )
        return n_validation

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        super()._learn_units(data._replace(X=data.X[:, 1:]), around=lambda mean: np.zeros(()))
        self._spread_ = np.append(
            0.0, self._spread_
        )  # for the incident energy, which is not scaled
        return self._in_units(data)

    @property
    def _units(self) -> Units:
        # of the incident energy the network takes the logarithm, in whatever unit
        n_voxels = self.n_features_in_ - 1
        return Units(self.center_, np.concatenate([[1.0], np.full(n_voxels, self.scale_)]))

    def _corruption(self, X: np.ndarray) -> Callable[[Tensor, torch.Generator], Tensor]:
        noise = make_corruption(self.noise, X[:, 1:])

        def corrupt_voxels(batch: Tensor, generator: torch.Generator) -> Tensor:
            voxels = noise(batch[:, 1:], generator).clamp_min(0.0)
            # lit by noise, voxels would count as hits, and the decoder learn from layers that never are
            voxels = torch.where(batch[:, 1:] > 0.0, voxels, 0.0)
            return torch.cat([batch[:, :1], voxels], dim=1)

        return in_units(corrupt_voxels, self._units)

    # -- using it ------------------------------------------------------------------------------

    def transform(self, X):
        """Encode showers.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_voxels)
            Incident energy, and the voxels as the training data had them.

        Returns
        -------
        latent : ndarray of shape (n_samples, 1 + 2 * n_layers + n_components)
            Incident energy as it is, the energy and the number of hits of each layer, and latent
            coordinates, in the dtype of X (computed in float32).
        """
        X = self._validate_rows(X)
        return self._apply_beside(X[:, 0], self._tensor_transform, X)

    def inverse_transform(self, X):
        """Decode latent coordinates to the mean of each voxel.

        A mean is no shower: it has no dark voxels among lit ones, and no fluctuations. For showers see
        :meth:`sample` and :meth:`reconstruct`.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + 2 * n_layers + n_components)
            Incident energy, energies and hits of layers, and latent coordinates, as :meth:`transform`
            returns them.

        Returns
        -------
        showers : ndarray of shape (n_samples, 1 + n_voxels)
            Incident energy as it is, and voxels, in the dtype of X (computed in float32).
        """
        latent = self._check_latent(X)
        self._check_energies(latent[:, 0])
        units = self._units_of("inverse_transform")
        return self._apply_beside(latent[:, 0], self._tensor_inverse_transform, latent, *units)

    def _tensor_transform(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :1], super()._tensor_transform(x)], dim=1)

    def _tensor_inverse_transform(self, z: Tensor) -> Tensor:
        return torch.cat([z[:, :1], super()._tensor_inverse_transform(z)], dim=1)

    def sample(self, incident_energy, *, layer_energies=None, noise=True, random_state=None):
        """Draw showers.

        The energies of layers are drawn first, and the numbers of their hits; then voxels that add up to
        them.

        Parameters
        ----------
        incident_energy : float or array-like of shape (n_samples,)
            Of each shower, in the unit of column 0 in training. Energies outside of ``energy_range_``
            give a warning: the model has seen none.
        layer_energies : array-like of shape (n_samples, n_layers), default=None
            Energy of each layer, in the unit of the incident energy, where it is known: dark layers
            hold 0. Totals far from those in training give a warning. None draws them.
        noise : bool, default=True
            Draw hits and their energies. False returns the mean of each voxel, given layers and latents.
        random_state : int, RandomState instance or None, default=None
            An integer makes the result reproducible, unless ``sampler`` takes no seed; None takes one
            draw from NumPy's global state.

        Returns
        -------
        X : ndarray of shape (n_samples, 1 + n_voxels)
            Incident energy as it was given, and voxels as the training data had them.
        """
        check_is_fitted(self, "net_")
        energy = self._as_energies(incident_energy)
        known = None
        if layer_energies is not None:
            known = self._as_layer_energies(layer_energies, len(energy))
            energy = np.broadcast_to(energy, len(known))
            self._check_totals(energy, known)
        self._check_energies(energy)
        seed, bits = draw_seed(random_state), None
        if self.sampler is not None:
            bits = self._draw_bits(energy, seed)
        return self._draw(energy, seed, noise, layers=known, latents=bits)

    def _draw(
        self,
        energy: np.ndarray,
        seed: int,
        noise: bool = True,
        layers: np.ndarray | None = None,
        latents: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw showers of energies, where these are known with energies of layers, and with latents."""
        module, k = self.module_, self.n_components_
        generator = torch.Generator(self.device_).manual_seed(seed)
        n_known = 0 if layers is None else layers.shape[1]
        given = [part for part in (energy[:, None], layers, latents) if part is not None]

        def draw(given: Tensor) -> Tensor:
            energy, known, z = given[:, 0], given[:, 1 : 1 + n_known], given[:, 1 + n_known :]
            of_layers = module.layers.sample(energy, generator, known if n_known else None)
            if not z.shape[1]:
                z = module.latents.sample(energy, k, generator, n_steps=self.gibbs_steps)
            voxels = module.decode_voxels(z, energy, of_layers)
            drawn = voxels.mean()
            if noise:
                drawn = module.observe(voxels, energy, of_layers, generator)
            return torch.cat([given[:, :1], drawn], dim=1)

        return self._apply_beside(energy, draw, np.column_stack(given), PLAIN, self._units)

    def reconstruct(self, X, *, random_state=None):
        """Draw showers whose latent coordinates are those of given ones, within their errors.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_voxels)
            Showers.
        random_state : int, RandomState instance or None, default=None
            For the latents, which are drawn from the posterior, and for the voxels.

        Returns
        -------
        showers : ndarray of shape (n_samples, 1 + n_voxels)
            Incident energy as it is, and voxels as the training data had them.
        """
        X = self._validate_rows(X)
        generator = torch.Generator(self.device_).manual_seed(draw_seed(random_state))

        def draw(x: Tensor) -> Tensor:
            return torch.cat([x[:, :1], self.module_.reconstruct(x, generator)], dim=1)

        return self._apply_beside(X[:, 0], draw, X, gives=self._units)

    def log_partition(self, incident_energy):
        """Return ln Z of the prior of the latents, which :meth:`score_samples` takes off.

        With ``prior="rbm"`` by annealed importance sampling, the same random numbers for all energies.

        Parameters
        ----------
        incident_energy : float or array-like of shape (n_samples,)
            In the unit of column 0 in training.

        Returns
        -------
        value : ndarray of shape (n_samples,)
            Logarithms; zeros with ``prior="gaussian"``.
        error : ndarray of shape (n_samples,)
            Their standard errors.
        """
        check_is_fitted(self, "net_")
        energy = self._as_energies(incident_energy)
        self._check_energies(energy)
        latents = self.module_.latents

        return self._apply(
            lambda energy: latents.log_normaliser(energy[:, 0]), energy[:, None], PLAIN
        )

    def score_samples(self, X, *, n_draws=16):
        """Score showers, in nats; a low score marks an anomaly.

        The score is the log density of the layers' hits and logarithmic energies, given the incident
        energy, and the ELBO of voxels given these. The latter is that of a simpler model than showers
        are drawn from: voxels are hit independently, with chances that the layers' energies and hits set
        but do not pin, and noise is Gaussian, of n hits in a layer for n − 1, as their sum is known. The
        total is drawn beside the layers, too, and counts. Either part has every constant, and the ELBO
        holds for voxels in the units of X. All rows share the same draws, in every call.

        Parameters
        ----------
        X : array-like of shape (n_samples, 1 + n_voxels)
            Showers.
        n_draws : int, default=16
            Draws from the posterior over which the bound is averaged.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Sums of both, in nats.
        """
        check_count("n_draws", n_draws)
        X = self._validate_rows(X)
        module = self.module_
        return self._apply(lambda x: module.bound(x, int(n_draws)), X)

    def _chunks(self) -> dict[str, int]:
        # as many as whole showers leave room for, whatever comes in
        return {"chunk_rows": bounded_rows(4096, (self.n_features_in_,))}

    def _as_energies(self, incident_energy: Any) -> np.ndarray:
        energy = check_array(
            np.atleast_1d(to_host(incident_energy)),
            ensure_2d=False,
            dtype=[np.float64, np.float32],
            input_name="incident_energy",
        )
        if energy.ndim == 2 and energy.shape[1] == 1:
            energy = energy[:, 0]
        if energy.ndim != 1:
            raise ValueError(
                f"incident_energy has shape {energy.shape}; give a number or one for each shower."
            )
        return energy

    def _as_layer_energies(self, layer_energies: Any, n_samples: int) -> np.ndarray:
        energies = check_array(
            to_host(layer_energies),
            dtype=[np.float64, np.float32],
            input_name="layer_energies",
        )
        n_layers = self.geometry_.n_layers
        if energies.shape[1] != n_layers or n_samples not in (1, len(energies)):
            raise ValueError(
                f"layer_energies has shape {energies.shape}; give one row for each of {n_samples} "
                f"incident energies, and an energy for each of {n_layers} layers."
            )
        if (energies < 0.0).any():
            raise ValueError(
                f"{(energies < 0.0).sum()} of layer_energies are negative, the lowest is "
                f"{energies.min():g}; a dark layer holds 0."
            )
        return energies

    def _check_totals(self, energy: np.ndarray, layers: np.ndarray) -> None:
        """Warn of energies of layers that no shower of this energy has: of another unit, say."""
        low, high = np.exp(self.module_.layers.total_range.double().cpu().numpy())
        there = energy > 0.0
        ratio = layers.sum(axis=1, dtype=np.float64)[there] / energy[there]
        outside = (ratio < low / _OFF_BY) | (ratio > high * _OFF_BY)
        if outside.any():
            warn(
                f"The layer_energies of {outside.sum()} of {len(layers)} showers add up to as much as "
                f"{ratio[outside][0]:.3g} of the incident energy, and to {low:.3g} to {high:.3g} in "
                "training: what is drawn there is a guess. Give both in one unit.",
                ExtrapolationWarning,
            )

    def _check_energies(self, energy: np.ndarray) -> None:
        if (energy < 0.0).any():
            raise ValueError(
                f"{(energy < 0.0).sum()} incident energies are negative, the lowest is {energy.min():g}."
            )
        low, high = self.energy_range_
        margin = _MARGIN * np.log(high / low) if low > 0.0 else _MARGIN
        outside = (energy < low * np.exp(-margin) * (1.0 - 1e-6)) | (
            energy > high * np.exp(margin) * (1.0 + 1e-6)
        )
        if outside.any():
            warn(
                f"{outside.sum()} of {len(energy)} incident energies are outside of those in training, "
                f"{low:.6g} to {high:.6g}: what is drawn there is a guess.",
                ExtrapolationWarning,
            )

    def _apply_beside(
        self,
        energy: np.ndarray,
        function: Any,
        X: np.ndarray,
        takes: Units | None = None,
        gives: Units = PLAIN,
    ) -> np.ndarray:
        """Apply a function of tensors to rows; what it has in column 0 are the energies."""
        result = self._apply(function, X, takes, gives)
        result[:, 0] = energy  # as it was, in its own precision
        return result

    def get_feature_names_out(self, input_features=None):
        """Return the names of what :meth:`transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None takes those seen in fit.

        Returns
        -------
        names : ndarray of str
            That of the incident energy, "E_inc" where it has none, "E_layer_0", …, "hits_layer_0", …
            with the names of the geometry's layers, then "caloshowervae0", ….
        """
        check_is_fitted(self, "net_")
        names = _check_feature_names_in(self, input_features, generate_names=False)
        energy = "E_inc" if names is None else names[0]
        layers = self.geometry_.layer_names
        of_layers = [f"{what}_layer_{name}" for what in ("E", "hits") for name in layers]
        latents = super().get_feature_names_out()[: self.n_components_]
        return np.array([energy, *of_layers, *latents], dtype=object)

    @property
    def _n_features_out(self):
        return 1 + 2 * self.geometry_.n_layers + self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
