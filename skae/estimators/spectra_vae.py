"""SpectraVAE: spectra as a few latent coordinates with errors, and spectra drawn from them.

For continua and lines in counts or fluxes, and other curves on a grid whose noise is known or to be
learnt: compression, posteriors, simulation, and anomalies.
"""

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skae._parameters import COUNT, POSITIVE, SHARE, estimator, parameter
from skae._sklearn import StrOptions
from skae.estimators._autoencoder import warn_if_overcomplete
from skae.estimators._data import TrainingData
from skae.estimators._rows_with_errors import VAEWithErrors
from skae.estimators._sequences import SEQUENCE_DECODERS, check_downsampling, check_grid
from skae.estimators._spectra_networks import build_network, check_redshift
from skae.estimators._spectra_rows import SeenFluxes, check_noise
from skae.modules.spectra.likelihoods import LIKELIHOODS
from skae.modules.spectra.priors import PRIORS
from skae.modules.spectra.redshifted import RedshiftedFactors
from skae.training.batches import Rows
from skae.training.callbacks import Converged
from skae.training.expectation import ExpectationStep
from skae.training.state import Run

# Rows of linear models that are summed together, at least.
_ROWS_OF_SUMS = 512


@estimator
class SpectraVAE(VAEWithErrors):
    r"""Variational autoencoder for spectra and other curves.

    A row x is explained by a few latent coordinates z, standard normal before anything is observed.
    A decoder gives the mean of x, an encoder the posterior of z, a Gaussian with a standard deviation
    for each coordinate; both maximise the evidence lower bound (ELBO), in nats and in the units of X
    [1]_ [2]_,

    .. math:: E_{q(z|x)} \ln p(x|z) - \mathrm{KL}(q(z|x) \,\|\, p(z)) \le \ln p(x).

    Training starts where probabilistic PCA ends [3]_, which is known in closed form: without hidden
    layers and with Gaussian noise it is the optimum, and the ELBO is its exact likelihood. Hidden
    layers add what is not linear.

    Parameters
    ----------
    n_components : int, default=2
        Latent coordinates.

    hidden_layer_sizes : int or sequence of int, default=()
        Widths of the encoder's hidden layers; a dense decoder mirrors them. ``()`` makes both
        linear: best where spectra are sums of fixed shapes. Lines that shift or saturate need layers,
        (64, 64) say.

    activation : str, default="silu"
        Any elementwise activation of torch by name.

    likelihood : {"gaussian", "laplace", "poisson"}, default="gaussian"
        Distribution of the noise. "laplace" has heavy tails: outliers, cosmic rays say, pull less at the
        model. "poisson" is for counts that were neither scaled nor subtracted from; its noise follows
        from the mean.

    noise_sigma : float, array-like of shape (n_features,), "learn" or None, default=None
        Standard deviation of the noise, in the units of X: one number, one for each column as
        spectrographs give them, or a number to be learnt. For Laplace noise it is √2 times the scale.
        Where rows have errors it is what scatters beyond them, in squares. None learns it, but is 0
        in a linear Gaussian model with errors and with ``decoder="redshift"``, which so take these at
        their word; see ``misfit_errors``.

    beta : float, default=1.0
        Weight of the divergence in training [4]_; 1 is the bound. More makes for simpler latents and
        wider posteriors. Scores are those of beta = 1.

    beta_warm_up : float, default=0.0
        Share of the epochs in which the weight of the divergence rises to ``beta``: against latents
        that a decoder learns to ignore.

    prior : {"gaussian", "mixture"}, default="gaussian"
        Prior of the latent coordinates. "mixture" learns ``n_mixture`` Gaussians: for :meth:`sample`,
        where the data lie in groups, or have many exact zeros.

    n_mixture : int, default=20
        Gaussians of ``prior="mixture"``.

    decoder : {"dense", "redshift", "lstm", "multires"}, default="dense"
        "redshift" is for rows with errors whose lines shift: the first latent coordinate is the
        redshift, given which a row is a sum of ``n_components - 1`` curves over rest wavelengths, and a
        mean. It needs ``wavelengths``, and is fitted like a linear model. "lstm" reads the grid, and
        the latent as its initial state; it never sees the row, so it cannot do without the latent.
        "multires" does the same at several resolutions, coarse to fine: for thousands of columns. These
        two learn more slowly: give them ``lr=1e-2``, ``batch_size=64`` and some 1000 steps.

    latent_state : {"hidden", "cell"}, default="cell"
        State of the LSTM, or of the coarsest one, that the latent sets: the cell state measured better,
        as it is what an LSTM keeps.

    hidden_size : int, default=32
        Units of the LSTM; with "multires", of the finest level, even.

    downsampling : sequence of int, default=(8, 8, 8)
        Factors of ``decoder="multires"``, the coarsest first, as of :class:`MultiResRNNRegressor`.

    max_redshift : float, default=0.1
        Largest redshift z with ``decoder="redshift"``, where rows have 0 to ``max_redshift``, all alike
        before they are observed. The latent coordinate is normal before that: ln(1 + z) is
        ln(1 + max_redshift) times the probability below it. See :meth:`redshifts`.

    times, wavelengths : array-like of shape (n_features,), default=None
        Grid on which the rows lie, for decoders that read it: give one of the two, in any unit. None
        takes equal steps.

    init : {"pca", "random"}, default="pca"
        Where training starts: at probabilistic PCA, in whose factors the encoder then sees all rows and
        a dense decoder writes them, or at random weights on standardised columns. With
        :meth:`partial_fit` the factors are those of the first chunk: let it be some hundred rows that
        look like the others, or use "random".

    missing : {"error", "mask"}, default="error"
        What NaN in X means: an error, or numbers that were not observed, which neither the likelihood
        nor the posterior counts.

    error_columns : bool, default=False
        Whether the second half of X's columns holds the errors of the first, as
        :func:`skae.with_errors` makes it: for Pipelines and searches, whose steps hand on X alone.
        ``errors`` in :meth:`fit` is the other way to give them. Rows that come out have the first half.

    loading_errors : bool, default=True
        Whether posteriors of a linear Gaussian model with errors know that its loadings were found from
        finitely many rows; with ``decoder="redshift"`` bands know it. Without it, bands around bright
        rows are too narrow. Scores take the loadings as they are.

    misfit_errors : bool, default=True
        Whether posteriors and bands of a linear Gaussian model with errors, and of
        ``decoder="redshift"``, allow for what components cannot follow: a variance for each column,
        ``misfit_sigma_`` squared, which is learnt. Means and scores ignore it.

    smooth_loadings : bool, default=True
        Whether loadings of a linear Gaussian model with errors have a prior where little is known, in
        columns that rows say less than half as much about as about the typical one: there they change
        from column to column as they do elsewhere. Columns seen in few rows then follow their neighbours,
        and noise is not taken for a feature. Where columns are in no order, changes are large and the
        prior is weak. False gives maximum likelihood.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    n_components_ : int
        Number of latent coordinates.

    noise_sigma_ : ndarray of shape (n_features,)
        Standard deviation of the noise, given or learnt; beyond the errors where there are some. Not
        there with "poisson".

    misfit_sigma_ : ndarray of shape (n_features,)
        Standard deviation of rows around what the components follow, beyond errors and a ``noise_sigma``
        that was given. Only there with ``misfit_errors`` and a linear Gaussian model with errors.

    has_errors_ : bool
        Whether it was fitted to rows with errors; then all rows must have them.

    See Also
    --------
    skae.sample : Draw from a Pipeline that ends in this estimator.
    skae.plotting.LatentDisplay : Posteriors in the latent plane.
    skae.plotting.SpectrumDisplay : Rows with their reconstruction and its error.
    sklearn.decomposition.PCA : Its ``score`` is the likelihood of probabilistic PCA with learnt noise.

    References
    ----------
    .. [1] D. P. Kingma, M. Welling,
       "Auto-encoding variational Bayes", ICLR (2014), arXiv:1312.6114.
    .. [2] D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic backpropagation and approximate inference
       in deep generative models", ICML (2014), arXiv:1401.4082.
    .. [3] M. E. Tipping, C. M. Bishop, "Probabilistic principal component analysis", J. R. Stat. Soc. B
       61, 611 (1999).
    .. [4] I. Higgins et al.,
       "beta-VAE", ICLR (2017).

    Examples
    --------
    >>> from skae import SpectraVAE
    >>> from skae.datasets import make_spectra
    >>> X, fluxes = make_spectra(200, random_state=0)
    >>> vae = SpectraVAE(likelihood="poisson", max_epochs=10, random_state=0).fit(X)
    >>> mean, std = vae.posterior(X)
    >>> mean.shape, std.shape
    ((200, 2), (200, 2))
    >>> vae.sample(3, random_state=0).shape
    (3, 500)
    """

    n_components: Any = parameter(default=2, allowed=COUNT, shapes=True, kw_only=False)
    hidden_layer_sizes: Any = parameter(default=(), allowed=[COUNT, "array-like"], shapes=True)
    activation: Any = parameter(default="silu", allowed=str, shapes=True)
    likelihood: Any = parameter(
        default="gaussian", allowed=StrOptions(set(LIKELIHOODS)), shapes=True
    )
    noise_sigma: Any = parameter(
        default=None, allowed=[Real, "array-like", StrOptions({"learn"}), None], shapes=True
    )
    beta: Any = parameter(default=1.0, allowed=POSITIVE, shapes=True)
    beta_warm_up: Any = parameter(default=0.0, allowed=SHARE)
    prior: Any = parameter(default="gaussian", allowed=StrOptions(set(PRIORS)), shapes=True)
    n_mixture: Any = parameter(default=20, allowed=COUNT, shapes=True)
    decoder: Any = parameter(
        default="dense",
        allowed=StrOptions({"dense", "redshift", *SEQUENCE_DECODERS}),
        shapes=True,
    )
    latent_state: Any = parameter(
        default="cell", allowed=StrOptions({"hidden", "cell"}), shapes=True
    )
    hidden_size: Any = parameter(default=32, allowed=COUNT, shapes=True)
    downsampling: Any = parameter(default=(8, 8, 8), allowed="array-like", shapes=True)
    max_redshift: Any = parameter(default=0.1, allowed=POSITIVE, shapes=True)
    times: Any = parameter(default=None, allowed=["array-like", None], shapes=True)
    wavelengths: Any = parameter(default=None, allowed=["array-like", None], shapes=True)
    init: Any = parameter(default="pca", allowed=StrOptions({"pca", "random"}), shapes=True)
    missing: Any = parameter(default="error", allowed=StrOptions({"error", "mask"}), shapes=True)
    error_columns: Any = parameter(default=False, allowed="boolean", shapes=True)
    loading_errors: Any = parameter(default=True, allowed="boolean", shapes=True)
    misfit_errors: Any = parameter(default=True, allowed="boolean", shapes=True)
    smooth_loadings: Any = parameter(default=True, allowed="boolean", shapes=True)
    batch_size: Any = 128

    # -- checks --------------------------------------------------------------------------------

    def _check_parameters(self, n_samples: int) -> None:
        self._check_layers()
        self.grid_ = check_grid(self.times, self.wavelengths, self._n_fluxes)
        if self.decoder == "multires":
            check_downsampling(self.downsampling, self.hidden_size)
        if self.decoder == "redshift":
            check_redshift(self)
        if self.noise_sigma is not None and not self._noise_is_free:
            if not LIKELIHOODS[self.likelihood].has_noise:
                raise ValueError(
                    f"noise_sigma is not for likelihood={self.likelihood!r}: the noise of counts follows "
                    "from their mean. Leave it at None, or use likelihood='gaussian'."
                )
            check_noise(self.noise_sigma, self._n_fluxes, beside_errors=self.has_errors_)
        warn_if_overcomplete(self.n_components, self._n_fluxes)
        if (self.missing == "mask" or self._n_parts > 1) and self.noise is not None:
            raise ValueError(
                "noise cannot corrupt what was not observed, nor errors, nor exposures: use noise=None "
                "with missing='mask', with errors and with exposures."
            )

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        gaps = self.missing == "mask" or self._n_parts > 1
        seen = data
        if self._n_parts > 1:
            seen = data._replace(X=SeenFluxes(data.X, self._n_parts))
        counts = LIKELIHOODS[self.likelihood].takes_counts
        if not counts and self.decoder != "redshift":
            super()._learn_units(seen, gaps=gaps)
            return self._in_units(data)
        # what is taken off the columns would stay where lines shift
        super()._learn_units(seen, gaps=gaps, around=np.zeros_like)
        if counts:
            self.scale_ = 1.0  # counts stay counts
        return self._in_units(data)

    @property
    def _noise_is_free(self) -> bool:
        """Whether the noise, beyond errors where there are some, is learnt."""
        if self.noise_sigma is None:
            return not self._has_no_gradient
        return isinstance(self.noise_sigma, str)

    @property
    def _is_linear(self) -> bool:
        """Whether the likelihood of rows is known, and its optimum found without gradients."""
        return (
            self.likelihood == self.prior == "gaussian"
            and self.decoder == "dense"
            and not np.size(self.hidden_layer_sizes)
            and self.beta == 1.0
        )

    @property
    def _has_no_gradient(self) -> bool:
        """Whether it is fitted by expectation-maximisation."""
        return self.has_errors_ and (self._is_linear or self.decoder == "redshift")

    def _plan(self, epochs: int, X: np.ndarray, validation: Rows | None) -> Run:
        run = super()._plan(epochs, X, validation)
        if not self._has_no_gradient:
            return run
        converged = ("skae_converged", Converged(self._em_tolerance))
        callbacks = [*run.callbacks, converged]
        run = replace(run, step=ExpectationStep, callbacks=callbacks, lr_schedule="constant")
        if self._is_linear:  # sums are the same
            run = replace(run, batch_size=max(run.batch_size, _ROWS_OF_SUMS))
        return run

    # -- building ------------------------------------------------------------------------------

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        self.n_components_ = self.n_components
        noise = None
        if not self._noise_is_free:
            options = {"beside_errors": self.has_errors_}
            given = 0.0 if self.noise_sigma is None else self.noise_sigma
            noise = check_noise(given, self._n_fluxes, self.scale_, **options)
            noise = torch.tensor(noise / self.scale_)
        likelihood = LIKELIHOODS[self.likelihood](
            noise,
            unit=self.scale_,
            has_gaps=self.missing == "mask",
            n_parts=self._n_parts,
        )
        return build_network(self, rows, likelihood)

    @available_if(lambda self: self.decoder == "redshift")
    def redshifts(self, X, return_std=False, errors=None):
        """Return the redshift of each row, of which only ``1 + z`` up to a common factor can be known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Return the standard deviation as well. It assumes that the curves are exact.
        errors : array-like of shape (n_samples, n_features), default=None
            Errors of X, as in :meth:`fit`.

        Returns
        -------
        redshift : ndarray of shape (n_samples,)
            From 0 to ``max_redshift``, up to a factor in ``1 + z`` that all rows share.
        std : ndarray of shape (n_samples,)
            Standard deviation of the posterior; only with ``return_std=True``.
        """
        mean, width = (each[:, 0].astype(np.float64) for each in self.posterior(X, errors))
        reach = self.module_.frame.reach
        redshift = np.expm1(reach * ndtr(mean))
        if not return_std:
            return redshift
        slope = reach * np.exp(-0.5 * mean**2) / np.sqrt(2.0 * np.pi)
        return redshift, (1.0 + redshift) * slope * width

    @property
    def _rows_at_once(self) -> int | None:
        # many numbers are made of each: all gates of an LSTM, at every place, or all redshifts
        decoder = getattr(self.module_, "decoder", None)
        if isinstance(self.module_, RedshiftedFactors):
            return 256
        return 64 if isinstance(decoder, tuple(SEQUENCE_DECODERS.values())) else None

    # -- what a fit leaves ---------------------------------------------------------------------

    @property
    def noise_sigma_(self) -> np.ndarray:
        """Standard deviation of the noise, ``(n_features,)``, in the units of X."""
        check_is_fitted(self, "net_")
        likelihood = self.module_.likelihood
        if not likelihood.has_noise:
            raise AttributeError("Counts have no noise_sigma_: their noise follows from the mean.")
        noise = likelihood.noise.detach().cpu().numpy().astype(np.float64) * likelihood.unit
        return np.broadcast_to(noise, (self._n_fluxes,)).copy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        likelihood = LIKELIHOODS.get(self.likelihood)
        tags.input_tags.positive_only = likelihood is not None and likelihood.takes_counts
        tags.input_tags.allow_nan = self.missing == "mask" or self.error_columns
        return tags
