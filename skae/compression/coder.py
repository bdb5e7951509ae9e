"""A model that predicts columns, and the whole numbers around it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from skae.compression.bounds import Column
from skae.compression.header import Header
from skae.compression.polynomials import Predicted
from skae.compression.prediction import (
    Model,
    choose_steps,
    decoder_alone,
    predict,
    to_latent_numbers,
    typical_sizes,
    usual_range,
)
from skae.compression.table import Table
from skae.persistence import content_of, estimator_in


@dataclass(frozen=True)
class Coder:
    """A model, and the whole numbers around it.

    Attributes
    ----------
    sizes : ndarray of shape (d,)
        Of values in the middles of columns.
    steps : ndarray of shape (n_components,)
        Of latent coordinates.
    typical : ndarray of shape (d,)
        A row that the model takes.
    ends : ndarray of shape (2, n_components)
        Between which latent coordinates are kept.
    content : bytes or None
        The model's file, where it is to be a part of the data.
    """

    model: Model
    columns: list[Column]
    sizes: np.ndarray
    steps: np.ndarray
    typical: np.ndarray
    ends: np.ndarray
    content: bytes | None

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return rows as whole numbers (n, n_components)."""
        return self.to_numbers(self.model.encode(rows, self.typical))

    def to_numbers(self, latent: np.ndarray) -> np.ndarray:
        """Return latent coordinates as whole numbers (n, n_components)."""
        return to_latent_numbers(np.clip(latent, self.ends[0], self.ends[1]), self.steps)

    def predict(self, latent: np.ndarray) -> Predicted:
        """Return what the model says of whole numbers (n, n_components)."""
        return predict(self.model, latent * self.steps, self.columns, self.sizes)


def writing_coder(
    table: Table,
    sample: np.ndarray,
    numbers: np.ndarray,
    columns: list[Column],
    estimator: Any,
    embed_model: bool,
) -> tuple[Coder, np.ndarray] | None:
    """Return a coder with steps for a sample of rows, and their latent coordinates in whole numbers.

    None where no row is finite.
    """
    check_is_fitted(estimator)
    content, decoder = None, estimator
    if embed_model:
        content = content_of(decoder_alone(estimator))
        decoder = estimator_in(content, "the model", torch.device("cpu"))
    model = Model(estimator, decoder, table.names if table.is_frame else None)
    rows = table.matrix(sample)
    typical = model.typical_row(rows)
    if typical is None:
        return None
    sizes = typical_sizes(columns, np.median(numbers, axis=0).astype(np.int64))
    latent = model.encode(rows, typical)
    ends = usual_range(latent)
    steps = choose_steps(model, np.clip(latent, ends[0], ends[1]), numbers, columns, sizes)
    coder = Coder(model, columns, sizes, steps, typical, ends, content)
    return coder, coder.to_numbers(latent)


def reading_coder(header: Header, model: Any) -> Coder | None:
    """Return the coder of a header; None where it was written without a model.

    Raises
    ------
    ValueError
        If the model is neither in it nor passed on.
    """
    if not len(header.latent_steps):
        return None
    if header.model is not None:
        model = estimator_in(header.model, "the model in it", torch.device("cpu"))
    elif model is None:
        raise ValueError("the model that it was compressed with is not in it: pass it on as model=")
    nothing = np.zeros(len(header.columns))  # of use for writing alone
    steps = header.latent_steps
    return Coder(Model(model, model, None), header.columns, nothing, steps, nothing, nothing, None)
