"""JetAutoencoder: reconstructed particle-physics objects in a few numbers, and back.

For compressing or screening jets at a trigger, and for anomaly scores.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from skae._parameters import COUNT, NOT_NEGATIVE, SHARE, estimator, parameter
from skae._sklearn import HasMethods, StrOptions
from skae.estimators._autoencoder import BaseAutoencoder, warn_if_overcomplete
from skae.estimators._columns import column_indices, weigh_columns
from skae.estimators._data import TrainingData, blocks
from skae.estimators._poor_fit import explained_by_pca, faults_of_angle
from skae.estimators._resume import describe
from skae.estimators._tensor_steps import as_tensor_step
from skae.estimators._trimming import rows_far_off_axes
from skae.modules.autoencoder import Autoencoder, LinearPath
from skae.modules.blocks import BLOCKS, conv_decoder, conv_encoder, dense_stack
from skae.modules.losses import SquaredError, in_double
from skae.training.batches import PLAIN, Rows, Units
from skae.training.net import TrainingNet
from skae.transformers._messages import name_column

# A column of which less comes back is lost; because of its units, if its share of all variance is small.
_LOST, _SMALL = 0.5, 1e-4

# Share of the variance by which a network may fall behind principal components.
_BEHIND_PCA = 0.1


@estimator
class JetAutoencoder(BaseAutoencoder):
    r"""Autoencoder for jets and other reconstructed objects.

    An encoder :math:`z = f(x)` maps each row to ``n_components`` numbers and a decoder
    :math:`\hat x = g(z)` maps them back; both are trained together to make
    :math:`\frac1d \sum_j (x_j - \hat x_j)^2` small. With ``activation="tanh"`` and the default sizes
    this is AE_3D_200, the network of 52,607 parameters proposed for ATLAS trigger jets [1]_.

    The error is in the units of X, so a column in MeV beside an angle takes all of it. ``metric`` says
    how columns count, and ``transformer`` what the networks see in their place: for four-momenta
    ``transformer=KinematicsTransformer(), metric="standardised"``. For anything else a
    :class:`~sklearn.preprocessing.StandardScaler` in front does.

    Parameters
    ----------
    n_components : int, default=3
        Numbers a row is encoded in.

    hidden_layer_sizes : int or sequence of int, default=(200, 100, 50)
        Widths of the encoder's hidden layers (channels for ``block="conv"``); the decoder mirrors
        them. Wider is more accurate and slower; ``()`` makes a linear autoencoder.

    activation : str, default="silu"
        Any elementwise activation of torch by name, in any case: "tanh", "relu", "leaky_relu", …

    block : {"dense", "residual", "conv"}, default="dense"
        "dense" chains linear layers. "residual" makes each a residual block, for networks of many
        layers. "conv" convolves along the columns, for those whose order means something.

    transformer : transformer, default=None
        A transformer with a way back, of which a copy is fitted to X: the networks see what it makes of
        a row, and what they write goes back through it before errors are taken. So errors are those of
        X, and features those that are easy to learn: in front of the estimator, in a Pipeline, errors
        would be those of the features. :class:`~skae.KinematicsTransformer` and others that
        :func:`skae.export.to_onnx` knows will do. Fitted to all rows at once, in memory.

    metric : {None, "standardised", "relative"}, default=None
        What of a column is made small: its error in the unit of X, over the column's spread, or over
        its own size, row by row. "relative" leaves angles and columns of both signs in their units.

    loss : {"squared_error", "huber", "trimmed"}, default="squared_error"
        What is made small of a row: its mean squared error; "huber" lets the worst tenth of each
        minibatch, whatever rows weigh, count by the root of theirs; "trimmed" leaves out rows whose
        squared distance from the principal axes of the others is more than 1.5 times that which 90 %
        keep within [2]_: anomalies that training data have, up to a tenth of rows and weight, are not
        learnt, and keep low scores. Scores are squared errors, whatever the loss.

    linear_path : bool, default=None
        Put a linear map, started at the principal components, beside encoder and decoder: training
        starts where PCA ends, and the networks learn only what it misses. Best where columns are
        nearly functions of one another, as those of four-momenta are. None does so with a
        ``transformer``, or a trimmed loss.

    batch_norm : bool, default=False
        Batch normalisation before each activation; helps wide inputs and large learning rates.

    dropout : float, default=0.0
        Probability to drop a hidden unit while training; against overfitting on few rows.

    angles : sequence of int or str, default=None
        Columns, by index or name, that are angles in radians. Their differences are taken around the
        circle, in the loss, in :meth:`score` and in :meth:`score_samples`.

    winding : float, default=0.0
        With ``angles``: turns over which one more coordinate of the data is wound up with each
        angle. A latent coordinate then holds t = φ + 2πk; φ comes back as t modulo 2π, to rounding, and
        the winding number k holds the further coordinate in steps. Reconstruction errors fall by
        orders of magnitude, at a price: two neighbouring rows may be turns apart in t, and
        :meth:`score_samples` no longer marks what is unusual in the coordinate that would
        otherwise be lost. Use it to compress, leave it 0 for anomalies and for looking at the
        latent space.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    n_components_ : int
        Number of latent coordinates.

    angles_ : tuple of int
        Indices of the angular columns.

    transformer_ : transformer or None
        The fitted transformer.

    trimmed_ : ndarray of bool of shape (n_samples,) or None
        Rows of the last fit that were left out, with ``loss="trimmed"``.

    See Also
    --------
    skae.KinematicsTransformer : Four-momenta to features a network likes, and back.
    sklearn.decomposition.PCA : The best linear autoencoder, in closed form.

    References
    ----------
    .. [1] E. Wulff, "Deep Autoencoders for Compression in High Energy Physics", Lund University
       (2020); E. Wallin, "Tests of Autoencoder Compression of Trigger Jets in the ATLAS
       Experiment", Lund University (2020).

    .. [2] P. J. Rousseeuw and K. Van Driessen, "A fast algorithm for the minimum covariance determinant
       estimator", Technometrics 41, 212 (1999), doi:10.1080/00401706.1999.10485670.

    Examples
    --------
    >>> from skae import JetAutoencoder, KinematicsTransformer
    >>> from skae.datasets import make_jets
    >>> X = make_jets(1000, random_state=0)  # E, pT (GeV), η, φ
    >>> model = JetAutoencoder(
    ...     3, angles=[3], transformer=KinematicsTransformer(), metric="standardised",
    ...     max_epochs=40, random_state=0,
    ... ).fit(X)
    >>> model.transform(X).shape
    (1000, 3)
    >>> model.inverse_transform(model.transform(X)).shape
    (1000, 4)
    """

    n_components: Any = parameter(default=3, allowed=COUNT, shapes=True, kw_only=False)
    hidden_layer_sizes: Any = parameter(
        default=(200, 100, 50), allowed=[COUNT, "array-like"], shapes=True
    )
    activation: Any = parameter(default="silu", allowed=str, shapes=True)
    block: Any = parameter(default="dense", allowed=StrOptions(set(BLOCKS)), shapes=True)
    transformer: Any = parameter(
        default=None, allowed=[HasMethods(["fit", "transform", "inverse_transform"]), None]
    )
    metric: Any = parameter(
        default=None, allowed=[StrOptions({"standardised", "relative"}), None], shapes=True
    )
    loss: Any = parameter(
        default="squared_error",
        allowed=StrOptions({"squared_error", "huber", "trimmed"}),
        shapes=True,
    )
    linear_path: Any = parameter(default=None, allowed=["boolean", None], shapes=True)
    batch_norm: Any = parameter(default=False, allowed="boolean", shapes=True)
    dropout: Any = parameter(default=0.0, allowed=SHARE, shapes=True)
    angles: Any = parameter(default=None, allowed=["array-like", None], shapes=True)
    winding: Any = parameter(default=0.0, allowed=NOT_NEGATIVE, shapes=True)
    weight_decay: Any = 1e-6

    # -- checks --------------------------------------------------------------------------------

    def _check_parameters(self, n_samples: int) -> None:
        if self.batch_norm and min(n_samples, self.batch_size) < 2:
            raise ValueError(
                "batch_norm=True needs at least 2 rows to take a variance over; got "
                f"{n_samples} to train on, with batch_size={self.batch_size}."
            )
        self._check_layers()
        warn_if_overcomplete(self.n_components, self.n_features_in_)
        if self.block == "conv" and not np.size(self.hidden_layer_sizes):
            raise ValueError("block='conv' needs at least one layer in hidden_layer_sizes.")
        self.angles_ = ()
        if self.angles is not None:
            names = getattr(self, "feature_names_in_", None)
            self.angles_ = column_indices(self.angles, self.n_features_in_, names)
        if self.winding > 0 and not 0 < len(self.angles_) <= min(
            self.n_components, self.n_features_in_ - 1
        ):
            raise ValueError(
                f"winding={self.winding} needs angles to wind around, at most n_components="
                f"{self.n_components} of them and at least one column that is none; "
                f"got angles={self.angles} of {self.n_features_in_} columns."
            )

        if self.winding > 0 and self.transformer is not None:
            raise ValueError(
                f"winding={self.winding} winds an angle of the columns that the networks see: put the "
                "transformer in front, in a Pipeline, instead."
            )

    # -- fitting -------------------------------------------------------------------------------

    def _learn_units(self, data: TrainingData, **options: Any) -> TrainingData:
        self.transformer_ = None
        if self.transformer is not None:
            self.transformer_ = clone(self.transformer).fit(self._named(data.X))
            as_tensor_step(self.transformer_)  # or an error that says which are known
        self.trimmed_ = None
        if self.loss == "trimmed":
            data = self._trimmed(data)
        # angles keep their zero, and what is transformed, or compared with its size
        has_zero = self.transformer_ is not None or self.metric == "relative"
        moved = np.full(self.n_features_in_, 0.0 if has_zero else 1.0)
        moved[list(self.angles_)] = 0.0
        learned = super()._learn_units(data, around=moved.__mul__)
        self._factors_ = self._least_ = None
        if self.metric is not None:
            known = self._spread_, self.scale_, self.angles_
            self._factors_, self._least_ = weigh_columns(self.metric, data.X, *known)
        return learned

    def _in_units(self, data: TrainingData) -> TrainingData:
        if describe(self.transformer) != describe(self.transformer_):
            raise ValueError(
                f"transformer={self.transformer!r}, but the network that is to be trained further was "
                f"built with {self.transformer_!r}; set it back, or fit afresh with warm_start=False."
            )
        self._check_transformable(data.X)
        return super()._in_units(self._trimmed(data) if self.loss == "trimmed" else data)

    def _trimmed(self, data: TrainingData) -> TrainingData:
        """Give rows that a trimmed loss leaves out no weight."""
        n_components, transformer = self.n_components, self.transformer_

        def features(rows: np.ndarray) -> np.ndarray:
            if transformer is not None:
                return np.asarray(transformer.transform(self._named(rows)))
            return np.delete(rows, self.angles_, axis=1)

        if transformer is None:  # an angle has no far end, and takes a component for itself
            n_components = max(0, n_components - len(self.angles_))
        self.trimmed_ = rows_far_off_axes(
            data.X,
            data.weight,
            n_components,
            features=features,
            alike=transformer is not None or self.metric is not None,
        )
        weight = np.ones(len(data.X)) if data.weight is None else data.weight
        return data._replace(weight=np.where(self.trimmed_, 0.0, weight))

    def _validate_rows(self, X: Any) -> np.ndarray:
        X = super()._validate_rows(X)
        self._check_transformable(X)
        return X

    def _check_transformable(self, X: np.ndarray) -> None:
        """Let the transformer refuse rows, or warn of them: as a function of tensors it does neither."""
        if self.transformer_ is not None:
            for _, rows in blocks(X):
                self.transformer_.transform(self._named(rows))

    def _decode(self, latent: np.ndarray) -> np.ndarray:
        if self.transformer_ is None:
            return super()._decode(latent)
        features = self._apply(partial(self.module_.decode, back=False), latent, PLAIN)
        # by the transformer itself, which may warn of what is beyond its training data
        rows = self.transformer_.inverse_transform(features.astype(np.float64))
        return np.asarray(rows).astype(latent.dtype, copy=False)

    def _named(self, X: np.ndarray) -> Any:
        """Return rows under the names that the columns had in training."""
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return X
        from pandas import DataFrame

        return DataFrame(X, columns=names)

    @property
    def _loss_power(self) -> int:  # type: ignore[override]
        return 2 if self.metric is None else 0

    @property
    def module_(self) -> nn.Module:
        """The trained torch module."""
        module = self.net_.module_
        if self.transformer_ is not None and module.way is None:
            module.way = as_tensor_step(self.transformer_)
        return module

    def _net_to_go_on_with(self, device: torch.device) -> TrainingNet:
        net = super()._net_to_go_on_with(device)
        _ = self.module_  # on its way
        return net

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        self.n_components_ = self.n_components
        n_features, n_components = rows.x.shape[1], self.n_components
        way = None
        if self.transformer_ is not None:
            way = as_tensor_step(self.transformer_)
            n_features = way.forward(rows.x[:1].double() * self.scale_).shape[1]
        n_rebuilt = n_features - (len(self.angles_) if self.winding > 0 else 0)
        sizes = np.atleast_1d(self.hidden_layer_sizes).tolist()
        options = {"batch_norm": self.batch_norm, "dropout": self.dropout}
        if self.block == "conv":
            encoder = conv_encoder(n_features, sizes, n_components, self.activation, **options)
            decoder = conv_decoder(n_rebuilt, sizes[::-1], n_components, self.activation, **options)
        else:
            options["residual"] = self.block == "residual"
            encoder = dense_stack([n_features, *sizes, n_components], self.activation, **options)
            decoder = dense_stack(
                [n_components, *sizes[::-1], n_rebuilt], self.activation, **options
            )
        has_path = self.linear_path
        if has_path is None:
            has_path = self.transformer_ is not None or self.loss == "trimmed"
        if has_path:
            encoder = LinearPath(encoder, n_features, n_components)
            decoder = LinearPath(decoder, n_components, n_rebuilt)
        angles, radian = self.angles_, 1.0 / self.scale_
        module = Autoencoder(
            encoder,
            decoder,
            n_features,
            angles=angles,
            radian=radian,
            winding=self.winding,
            unit=self.scale_,
        )
        module.way = way
        factors = least = None
        if self._factors_ is not None:
            factors = torch.tensor(self._factors_, dtype=torch.float32)
        if self._least_ is not None:
            least = torch.tensor(self._least_, dtype=torch.float32)
        module.fit_statistics(rows.x, rows.weight, None if self.transformer_ else factors)
        return module, SquaredError(angles, radian, factors, least, bend=self.loss == "huber")

    def _find_faults(self, X: np.ndarray, y: np.ndarray | None, is_short: bool) -> Iterator[str]:
        angles = list(self.angles_)
        for column in angles:
            name = _capital(name_column(self, column))
            yield from faults_of_angle(name, self._spread_[column], X[:, column])
        true = (X - self.center_) / self.scale_  # squares of X itself may be out of range
        error = self._apply(self.module_, X) - true
        error[:, angles] = np.angle(np.exp(1j * self.scale_ * error[:, angles])) / self.scale_
        factors = 1.0 if self._factors_ is None else self._factors_
        if self._least_ is not None:
            factors = factors / np.where(np.isinf(self._least_), 1.0, np.abs(true).mean(axis=0))
        true, error = true * factors, error * factors
        variance = (self._spread_ / self.scale_ * factors) ** 2
        error = np.square(error).mean(axis=0)
        share = 1.0 - error / np.where(variance > 0.0, variance, np.inf)
        lost = (share < _LOST) & (variance > 0.0) & (variance < _SMALL * variance.sum())
        if lost.any():
            first, largest = (int(np.argmax(mask)) for mask in (lost, variance))
            yield (
                f"{_capital(name_column(self, first))} is lost: only {max(0.0, share[first]):.1%} of its "
                f"variance comes back, one of {lost.sum()} such columns. Errors of all columns weigh "
                f"alike, and its spread, {self._spread_[first]:.3g}, vanishes beside "
                f"{self._spread_[largest]:.3g} in {name_column(self, largest)}: take "
                "metric='standardised', and transformer=KinematicsTransformer() for four-momenta."
            )
        total = 1.0 - error[variance > 0.0].sum() / variance.sum()
        least = explained_by_pca(true, self.n_components_)
        if total < least - _BEHIND_PCA:
            yield (
                f"{max(0.0, total):.1%} of the variance comes back, where as many principal components "
                f"bring {least:.1%}. Train for longer, with another lr, or set linear_path=True."
            )

    def score_samples(self, X):
        """Score each row by how well it is reconstructed; a low score marks an anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean squared reconstruction error of each row.
        """
        units = self._units_of("score_samples")
        return self._apply(self._tensor_score_samples, self._validate_rows(X), *units)

    def _units_of(self, method: str) -> tuple[Units, Units]:
        if method == "score_samples":
            return self._units, Units(0.0, self.scale_**2)
        return super()._units_of(method)

    @property
    def _exportable(self) -> tuple[str, ...]:
        return *super()._exportable, "score_samples"

    def _tensor_score_samples(self, x: Tensor) -> Tensor:
        criterion = SquaredError(self.angles_, 1.0 / self.scale_)
        return -criterion(in_double(self.module_(x)), in_double(x))


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]
