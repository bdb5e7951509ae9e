"""The smallest estimator that there is: what a new one has to say, and nothing else."""

from numbers import Integral

from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from skae.estimators._autoencoder import BaseAutoencoder
from skae.estimators._docstrings import document_shared_parameters
from skae.modules import Autoencoder, SquaredError
from skae.training import Rows


@document_shared_parameters
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

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }

    _structural_parameters = (*BaseAutoencoder._structural_parameters, "n_components")

    def __init__(
        self,
        n_components=2,
        *,
        max_epochs=100,
        batch_size=256,
        lr=1e-2,
        optimizer="adamw",
        weight_decay=0.0,
        lr_schedule="one_cycle",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        noise=None,
        device="auto",
        precision="float32",
        compile=False,
        checkpoint=None,
        callbacks=None,
        verbose=0,
        warm_start=False,
        random_state=None,
    ):
        super().__init__(
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            weight_decay=weight_decay,
            lr_schedule=lr_schedule,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            noise=noise,
            device=device,
            precision=precision,
            compile=compile,
            checkpoint=checkpoint,
            callbacks=callbacks,
            verbose=verbose,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.n_components = n_components

    def _check_parameters(self, n_samples: int) -> None:
        """Nothing that the constraints do not say."""

    def _build_module(self, rows: Rows) -> nn.Module:
        self.n_components_, d = self.n_components, rows.x.shape[1]
        encoder, decoder = nn.Linear(d, self.n_components), nn.Linear(self.n_components, d)
        module = Autoencoder(encoder, decoder, d)
        module.fit_statistics(rows.x, rows.weight)
        return module

    def _build_criterion(self) -> nn.Module:
        return SquaredError()

    def score_samples(self, X):
        """Return minus the mean squared reconstruction error of each row, ``(n,)``."""
        return self._apply(self._score, self._validate_rows(X))

    def _score(self, x: Tensor) -> Tensor:
        return -self.net_.criterion_(self.module_(x), x)
