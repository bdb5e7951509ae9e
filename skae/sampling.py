"""Draws from a fitted model, or from the last step of a Pipeline, in the units of its data."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

__all__ = ["sample"]


def sample(model, *args, **kwargs):
    """Draw rows from a generative model or from a Pipeline that ends in one.

    A scikit-learn Pipeline has no ``sample``. This one calls that of the last step, and brings the
    draw back through the ``inverse_transform`` of the steps before it, last first.

    Parameters
    ----------
    model : estimator, Pipeline or search
        Fitted; of a search like GridSearchCV its ``best_estimator_`` is taken.
    *args, **kwargs
        What the last step's ``sample`` takes: the number of rows, ``random_state``, …

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        Rows in the units of what the Pipeline was fitted to.

    Raises
    ------
    TypeError
        If the model cannot draw, or a step before it cannot bring a draw back.

    Examples
    --------
    >>> import skae
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skae.datasets import make_spectra
    >>> X, _ = make_spectra(100, random_state=0)
    >>> model = make_pipeline(StandardScaler(), skae.SpectraVAE(max_epochs=5)).fit(X)
    >>> skae.sample(model, 3, random_state=0).shape
    (3, 500)
    """
    *before, last = steps_of(model)
    if not callable(getattr(last, "sample", None)):
        raise TypeError(
            f"{type(last).__name__} has no sample(); use a model that can draw, SpectraVAE say."
        )
    for step in before:
        is_one_way = isinstance(step, FunctionTransformer) and step.func and not step.inverse_func
        if is_one_way or not hasattr(step, "inverse_transform"):
            raise TypeError(
                f"{type(step).__name__} has no inverse_transform, so a draw cannot be brought back "
                "through it; sample from the last step alone, or use a transformer that has one."
            )
    X = last.sample(*args, **kwargs)
    for step in reversed(before):
        X = step.inverse_transform(X)
    return X


def steps_of(model: Any) -> list[Any]:
    """Return the steps of a Pipeline, those of Pipelines and of searches inside it included."""
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        return [model]
    return [
        inner
        for _, step in model.steps
        if step is not None and not (isinstance(step, str) and step == "passthrough")
        for inner in steps_of(step)
    ]
