"""The smallest estimator that there is: what a new one has to say, and nothing else."""

from typing import Any

from torch import Tensor, nn

from skae._parameters import COUNT, estimator, parameter
from skae.estimators._autoencoder import BaseAutoencoder
from skae.modules.autoencoder import Autoencoder
from skae.modules.losses import SquaredError
from skae.training.batches import Rows


@estimator
class LinearAutoencoder(BaseAutoencoder):
    """Linear autoencoder: principal components, found the long way.

    Parameters
    ----------
    n_components : int, default=2
        Numbers a row is encoded in.

    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}
    """

    n_components: Any = parameter(default=2, allowed=COUNT, shapes=True, kw_only=False)
    lr: Any = 1e-2
    _loss_power = 2

    def _check_parameters(self, n_samples: int) -> None:
        """Nothing that the constraints do not say."""

    def _build_network(self, rows: Rows) -> tuple[nn.Module, nn.Module]:
        self.n_components_, d = self.n_components, rows.x.shape[1]
        encoder, decoder = nn.Linear(d, self.n_components), nn.Linear(self.n_components, d)
        module = Autoencoder(encoder, decoder, d)
        module.fit_statistics(rows.x, rows.weight)
        return module, SquaredError()

    def score_samples(self, X):
        """Return minus the mean squared error of each row."""

        def score(x: Tensor) -> Tensor:
            return -self.net_.criterion_(self.module_(x), x)

        return self._apply(score, self._validate_rows(X)) * self.scale_**2
