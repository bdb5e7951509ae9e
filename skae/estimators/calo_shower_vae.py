"""CaloShowerVAE: showers in a calorimeter as layers and latent coordinates, and showers drawn anew.

For groups that replace the simulation of showers by something a thousand times faster, compress
showers, or screen them.
"""

from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, estimator, parameter
from skae._sklearn import Interval, StrOptions
from skae.estimators._autoencoder import warn_if_overcomplete
from skae.estimators._boltzmann import check_sharpness, make_bits
from skae.estimators._poor_fit import faults_of_showers
from skae.estimators._qubits import check_topology, identity_of
from skae.estimators._samplers import check_sampler
from skae.estimators._shower_callbacks import (
    LearnFluctuations,
    SharpenBits,
    ShowerDistances,
    TwoStages,
    row_weights,
)
from skae.estimators._shower_data import (
    SCALES,
    check_voxel_shape,
    counting,
    incident_energies,
    scale_of_voxels,
    shower_geometry,
    validate_showers,
)
from skae.estimators._shower_vae import BaseShowerVAE
from skae.estimators._variational import BetaWarmUp
from skae.modules.showers.latents import GaussianLatents, Latents
from skae.modules.showers.layers import N_OF_LAYER, LayerModel, layers_of
from skae.modules.showers.likelihood import LEAST_WEIGHED_ENERGY, ShowerLoss
from skae.modules.showers.scales import EnergyScale, VoxelEnergy, VoxelScale, lit_moments
from skae.modules.showers.vae import ShowerAutoencoder
from skae.modules.showers.voxel_networks import VoxelDecoder, VoxelEncoder
from skae.physics.calorimeter import CaloGeometry, resolve_geometry
from skae.training.batches import Rows
from skae.training.optimisation import Restart
from skae.training.state import Run

# Groups of latents, each conditional on those before.
_N_GROUPS = 3

# The Boltzmann machine alone learns at so many times the rate of the whole.
_MACHINE_LR_FACTOR = 10.0

# Size of the embedded incident energy.
_N_ENERGY = 32

# Steps that max_epochs=None makes, fewest epochs, and most: beyond, voxels are learnt by heart.
_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 6000, 10, 40

# Showers that scales of layers are taken from.
_ROWS_OF_LAYERS = 8192

# Rank correlation of energies and voxels below which they have nothing to do with one another.
_UNRELATED = 0.1


@estimator
class CaloShowerVAE(BaseShowerVAE):
    r"""Variational autoencoder for calorimeter showers, conditional on the incident energy.

    Showers are drawn in two stages. A network draws the energy and the number of hits of each layer, one
    after the other; a decoder then says of each voxel, given these, the incident energy E and latent
    coordinates z, how probably it is hit, and what it holds then, with a spread:

    .. math::
        p(x | l, z, E) = \prod_v (1 - h_v)^{[x_v = 0]} \left(h_v\, N(x_v | m_v, s_v)\right)^{[x_v > 0]}

    Both maximise one evidence lower bound, with an encoder that gives the posterior of z in groups, each
    conditional on those before. Hits and energies are drawn by random numbers that neighbouring voxels
    have in common as far as those of training showers have, and such that layers hold what was drawn for
    them.

    Voxels are seen as they come, best as logarithms: put
    ``LogRatioTransformer("log1p", reference=0)`` before, in a Pipeline.

    Parameters
    ----------
    n_components : int, default=24
        Latent coordinates. Those that a shower has no use for cost nothing.
    voxel_shape : (int, int, int), default=None
        Layers, angles and radii of the voxels, the radius fastest, (45, 16, 9) for data set 2 of the
        CaloChallenge. None takes those of ``geometry``; where there is none, all voxels are one layer.
    geometry : str or CaloGeometry, default=None
        Where voxels are, layers divided alike or not: a name that
        :meth:`~skae.datasets.CaloGeometry.named` knows, or one's own. None makes one of ``voxel_shape``.
        Encoder and decoder work layer by layer, in harmonics of the angle.
    voxel_scale : {"auto", "log1p", "logit", "energy"}, default="auto"
        What the numbers of X are as energies: their logarithm log(1 + E), or the logit of what they have
        of the incident energy, as :class:`~skae.LogRatioTransformer` makes them, or energies. "auto"
        takes the scale on which voxels add up to about the incident energy.
    prior : {"gaussian", "rbm"}, default="gaussian"
        Prior of the latent coordinates: standard normal, or bits in three partitions of a Boltzmann
        machine whose fourth one is clamped to the bits of the incident energy, as published [1]_.
    rbm_topology : {"complete", "pegasus", "zephyr"} or networkx.Graph, default="complete"
        Which bits are coupled: all in different partitions, or as qubits of a quantum annealer are, as
        published [1]_. A name stands for the annealers' full-size graph, ``pegasus_graph(16)`` or
        ``zephyr_graph(12)`` of dwave-graphs, a graph for itself: the working graph of a device, which
        lacks some qubits. Units are the qubits ``qubits_``.
    sampler : dimod.Sampler, default=None
        What draws bits in :meth:`sample`, in the place of block Gibbs sampling: an annealer, or
        ``dwave.samplers.SimulatedAnnealingSampler()``. It is handed one problem for each distinct energy.
    sampler_arguments : dict, default=None
        Arguments of ``sampler.sample``, such as ``beta_range``.
    sampler_beta : float or "auto", default="auto"
        Inverse temperature at which the sampler draws from the energies that it is handed, which are
        divided by it, as far as its ``h_range`` and ``j_range`` allow. 1 hands them over as they are.
        "auto" draws a few hundred states first and takes the most likely one. Draws at another
        temperature, and few distinct ones, give a :class:`~skae.exceptions.SamplerWarning`.
    gibbs_steps : int, default=100
        Rounds of block Gibbs sampling from random bits to a draw.
    sharpness : (float, float), default=(1.0, 5.0)
        While training, bits are sigmoids of this sharpness, from the first epoch to the last. (5, 500) is
        published [1]_; showers come out less accurate with it.
    prior_epochs : int, default=None
        Epochs at the end that train the Boltzmann machine alone, encoder and decoder as they were in the
        best epoch [1]_ with ``early_stopping=True``, and in the last one without. It learns at ten times
        ``lr`` then, unless ``lr_schedule="constant"``. None is a quarter of ``max_epochs``.
    hidden_size : int, default=256
        Width of the dense layers.
    attention : bool, default=True
        Whether layers attend to the incident energy in the decoder.
    bounded : bool, default=True
        Whether no voxel that is drawn may hold more than the largest one in training, in the units of X,
        and no mean 5 % more. A layer then holds less than was drawn for it where one would exceed that.
    a, b : float, default=0.0
        Weights of deviations of lit voxels x from their mean: the square is multiplied by
        (exp(a (x − x̄)) + exp(−b (x − x̄))) / 2, x̄ the mean of all lit ones in a minibatch. a = 0.7,
        b = 0.2 are published [1]_ for voxels as log(1 + MeV); zeros make the loss a likelihood.
    energy_weight : bool, default=False
        Multiply these squares by ln E − 6 as well, not below zero and E in MeV, over its mean.
    beta : float, default=1.0
        Weight of the divergence in training; 1 is the bound.
    beta_warm_up : float, default=0.1
        Share of the epochs in which it rises to ``beta``.
    max_epochs : int, default=None
        Passes through the training data. None makes as many as 6000 steps take, but no fewer than 10
        and no more than 40, beyond which small samples are learnt by heart; ``n_iter_`` says how many.
        All that is spread over the epochs follows.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    n_components_ : int
        Number of latent coordinates.

    voxel_scale_ : str
        Scale on which voxels come.

    geometry_ : CaloGeometry
        Where voxels are taken to be.

    energy_range_ : (float, float)
        Smallest and largest incident energy in training.

    qubits_ : list
        With ``prior="rbm"``: nodes of the graph that the units are, those of the incident energy first;
        0, 1, 2, … of the complete one. They are the variables of the problems that ``sampler`` is handed.

    See Also
    --------
    skae.sample : Draw from a Pipeline that ends in this estimator.
    skae.LogRatioTransformer : Voxels on a scale that a network can learn.
    skae.metrics.frechet_physics_distance : How far generated showers are from real ones.

    Notes
    -----
    With ``early_stopping=True`` showers are held out, and ``history_`` has for each epoch the Fréchet
    distances of reconstructed and of generated showers from these, as ``reconstruction_fpd`` and
    ``sample_fpd``, and the kernel distances, as ``reconstruction_kpd`` and ``sample_kpd``. They are of at
    most 4096 showers as the network sees them, and the Fréchet ones are not extrapolated to infinitely
    many: for comparing epochs, not with other figures. Reconstructed showers have the layers of the given
    ones, and in none do neighbours have anything in common yet, which is found in the end. Early stopping
    goes by ``sample_fpd``: the best epoch is kept. With ``prior="rbm"`` all epochs are run, whatever
    ``n_iter_no_change``, and the best one of each stage is kept, of the first by ``reconstruction_fpd``.

    ``noise`` corrupts lit voxels, not below zero, and leaves dark ones and the incident energy alone.

    What the decoder writes for a ring of voxels with n hits in training is multiplied by the root of
    n / (n + 300,000), since rings that are rarely hit would be overfitted. With :meth:`partial_fit` only
    the first chunk is counted.

    The noise around the mean of lit voxels is taken from training showers in the end, by quantiles: where
    few particles make a voxel's energy it is far from Gaussian. So are the correlations of neighbours:
    covariances of a Gaussian field are moved, in 18 rounds, until generated hits and their energies are
    correlated as those in training. :meth:`score_samples` knows neither.

    Energies of layers that :meth:`transform` returns, and that :meth:`sample` takes, are in the unit of
    the incident energy.

    References
    ----------
    .. [1] J. Q. Toledo-Marín et al., "Conditioned quantum-assisted deep generative surrogate for
       particle-calorimeter interactions", npj Quantum Inf. (2025), arXiv:2410.22870.

    Examples
    --------
    >>> import skae
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae.datasets import make_showers
    >>> X = make_showers(100, random_state=0)
    >>> model = make_pipeline(
    ...     skae.LogRatioTransformer("log1p", reference=0),
    ...     skae.CaloShowerVAE(voxel_shape=(45, 16, 9), max_epochs=1, random_state=0),
    ... ).fit(X)
    >>> showers = skae.sample(model, [1e4, 1e5], random_state=0)  # MeV
    >>> showers.shape
    (2, 6481)
    """

    n_components: Any = parameter(default=24, allowed=COUNT, shapes=True, kw_only=False)
    voxel_shape: Any = parameter(default=None, allowed=["array-like", None], shapes=True)
    geometry: Any = parameter(default=None, allowed=[str, CaloGeometry, None], shapes=True)
    voxel_scale: Any = parameter(default="auto", allowed=StrOptions({"auto", *SCALES}), shapes=True)
    prior: Any = parameter(default="gaussian", allowed=StrOptions({"gaussian", "rbm"}), shapes=True)
    # check_topology says what is wrong with it
    rbm_topology: Any = parameter(default="complete", allowed="no_validation", shapes=True)
    # check_sampler says what is wrong with it
    sampler: Any = parameter(default=None, allowed="no_validation", of_fit=False)
    sampler_arguments: Any = parameter(default=None, allowed=[dict, None], of_fit=False)
    sampler_beta: Any = parameter(default="auto", allowed="no_validation", of_fit=False)
    gibbs_steps: Any = parameter(default=100, allowed=COUNT, of_fit=False)
    sharpness: Any = parameter(default=(1.0, 5.0), allowed="array-like")
    prior_epochs: Any = parameter(
        default=None, allowed=[Interval(Integral, 0, None, closed="left"), None]
    )
    hidden_size: Any = parameter(default=256, allowed=COUNT, shapes=True)
    attention: Any = parameter(default=True, allowed="boolean", shapes=True)
    bounded: Any = parameter(default=True, allowed="boolean", shapes=True)
    a: Any = parameter(default=0.0, allowed=NOT_NEGATIVE, shapes=True)
    b: Any = parameter(default=0.0, allowed=NOT_NEGATIVE, shapes=True)
    energy_weight: Any = parameter(default=False, allowed="boolean", shapes=True)
    beta: Any = parameter(default=1.0, allowed=POSITIVE, shapes=True)
    beta_warm_up: Any = parameter(default=0.1, allowed=SHARE)
    max_epochs: Any = parameter(
        default=None, allowed=[Interval(Integral, 1, None, closed="left"), None]
    )
    batch_size: Any = 64
    lr: Any = 2e-3
    _monitor = "sample_fpd"

    # -- checks --------------------------------------------------------------------------------

    def _validate_training_data(
        self, X: Any, y: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        X = validate_showers(self, X, reset=reset)
        if self.energy_weight and not X[:, 0].max() > LEAST_WEIGHED_ENERGY:
            raise ValueError(
                "energy_weight=True weighs showers by ln E - 6, which is 0 for all of these: no incident "
                f"energy is above {LEAST_WEIGHED_ENERGY:.0f}. Give energies in MeV, or use "
                "energy_weight=False."
            )
        if reset:
            scale = self.voxel_scale
            self.voxel_scale_ = scale_of_voxels(X) if scale == "auto" else scale
        else:
            self._widen_range(X)
        return X, None

    def _current_structure(self) -> dict[str, Any]:
        return {**super()._current_structure(), "rbm_topology": identity_of(self.rbm_topology)}

    def _count_epochs(self, n_samples: int) -> int:
        steps = -(-n_samples // self.batch_size)  # of an epoch
        return min(max(_FEWEST_EPOCHS, -(-_STEPS // steps)), _MOST_EPOCHS)

    def _check_parameters(self, n_samples: int) -> None:
        geometry = None if self.geometry is None else resolve_geometry(self.geometry)
        self.geometry_ = shower_geometry(geometry, self._grid_shape(), self.n_features_in_ - 1)
        check_sampler(self.sampler, self.sampler_beta)
        check_topology(self.rbm_topology)
        if self.prior == "gaussian":
            if self.sampler is not None:
                raise ValueError("sampler draws bits: it belongs to prior='rbm'.")
            warn_if_overcomplete(self.n_components, self.n_features_in_ - 1)
        check_sharpness(self.sharpness)
        if self._prior_epochs >= self._epochs:
            raise ValueError(
                f"prior_epochs={self.prior_epochs} leaves none of max_epochs={self._epochs} to train "
                "encoder and decoder."
            )

    @property
    def _settled_from(self) -> float:
        # until then reconstruction is trained for at the cost of the prior
        return self.beta_warm_up

    @property
    def _plans_epochs(self) -> bool:
        return self.beta_warm_up > 0.0 or self.prior == "rbm"

    @property
    def _prior_epochs(self) -> int:
        if self.prior == "gaussian":  # nothing of it is learnt
            return 0
        return self._epochs // 4 if self.prior_epochs is None else self.prior_epochs

    def _grid_shape(self) -> tuple[int, int, int] | None:
        geometry = None if self.geometry is None else resolve_geometry(self.geometry)
        return check_voxel_shape(self.voxel_shape, geometry, self.n_features_in_ - 1)

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        energy, total = X[:, 0], X[:, 1:].sum(axis=1, dtype=np.float64)
        dark = np.count_nonzero((energy == 0.0) & (total > 0.0))
        if dark:
            yield f"{dark} of {len(X)} showers have lit voxels but an incident energy of 0 in column 0."
        spans = energy.max() > 2.0 * np.quantile(energy, 0.01) and np.ptp(total) > 0.0
        if spans and spearmanr(energy, total).statistic < _UNRELATED:
            yield (
                "The voxels' total does not rise with column 0, which is taken as the incident energy: "
                "put the incident energy there, in front of the voxels."
            )
        drawn = self._draw(energy, 0)
        hits, of_drawn = (np.count_nonzero(rows[:, 1:], axis=1) for rows in (X, drawn))
        of_voxels = drawn[:, 1:].sum(axis=1, dtype=np.float64)
        yield from faults_of_showers("energy", of_voxels, total, energy)
        yield from faults_of_showers("hits", of_drawn, hits, energy)

    # -- building ------------------------------------------------------------------------------

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        self.n_components_ = self.n_components
        energy, weight = incident_energies(rows.x), row_weights(rows)
        lit = lit_moments(rows.x, weight)
        if weight is not None:  # what weighs nothing is not there
            energy, weight = energy[weight > 0.0], weight[weight > 0.0]
        self.energy_range_ = (float(energy.min()), float(energy.max()))
        k, hidden, shapes = self.n_components, self.hidden_size, self.geometry_.blocks
        voxels, energies = VoxelScale(lit, self.bounded), EnergyScale(energy, weight)
        voxel_energy = VoxelEnergy(self.voxel_scale_, self.scale_)
        layers = self._layer_model(rows, energies, voxel_energy)
        encoder = VoxelEncoder(shapes, N_OF_LAYER, _N_ENERGY, hidden)
        decoder = VoxelDecoder(k, shapes, N_OF_LAYER, _N_ENERGY, hidden, self.attention)
        group_sizes = [len(part) for part in np.array_split(range(k), min(k, _N_GROUPS))]
        latents: Latents = GaussianLatents()
        if self.prior == "rbm":
            latents, self.qubits_ = make_bits(
                self.rbm_topology, group_sizes, energy, weight, self.gibbs_steps
            )
        module = ShowerAutoencoder(
            encoder,
            decoder,
            latents,
            layers,
            shapes=shapes,
            group_sizes=group_sizes,
            energies=energies,
            voxels=voxels,
            voxel_energy=voxel_energy,
            n_hidden=hidden,
            n_energy=_N_ENERGY,
            beta=self.beta,
        )
        some = counting(rows.some(_ROWS_OF_LAYERS, "cpu"))
        with torch.no_grad():
            expected = module.expected(module.layers_of(some), some[:, 0]).mean(dim=0)
        decoder.start_at(voxels.outputs(lit) - expected, lit.rate * len(energy))
        return module, ShowerLoss(self.a, self.b, self.energy_weight, module)

    def _layer_model(
        self, rows: Rows, energies: EnergyScale, voxel_energy: VoxelEnergy
    ) -> LayerModel:
        some, geometry = counting(rows.some(_ROWS_OF_LAYERS, "cpu")), self.geometry_
        layers = layers_of(some, voxel_energy, geometry.blocks)
        energy = voxel_energy.of(some[:, 1:], some[:, 0])
        lit = energy[some[:, 1:] > 0.0]
        least = float(lit.min()) if len(lit) else 1.0
        volumes = [part.stop - part.start for part in geometry.layers]
        return LayerModel(energies, layers, some[:, 0], volumes, least)

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        run = super()._plan(epochs, X, validation)
        later = min(self._prior_epochs, epochs - 1)  # none in partial_fit
        callbacks = list(run.callbacks)
        if self.prior == "rbm":
            stages = TwoStages(epochs, later, validation is not None, self._settled_from)
            sharpen = SharpenBits(*self.sharpness, epochs - later, epochs)
            # weights that are put back come with an older sharpness, which is set behind them
            callbacks = [("skae_two_stages", stages), ("skae_sharpen_bits", sharpen)]
        if validation is not None:  # what decides reads what this records
            callbacks.insert(0, ("skae_distances", ShowerDistances(validation, self.geometry_)))
        warm_up = BetaWarmUp(self.beta_warm_up, epochs)
        # these at last, when the weights are those that are kept
        found = LearnFluctuations(afresh=epochs > 1)  # a chunk refines what was found
        callbacks += [("skae_beta_warm_up", warm_up), ("skae_fluctuations", found)]
        restart = Restart(1.0 - later / epochs, _MACHINE_LR_FACTOR) if later else None
        return replace(run, callbacks=callbacks, lr_restart=restart)
