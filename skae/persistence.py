"""Fitted estimators on disk: one safetensors file, from which nothing is run when it is read."""

import importlib
import os
import platform
import re
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils._metadata_requests import SIMPLE_METHODS

import skae.estimators
import skae.transformers
from skae._calorimeter import CaloGeometry
from skae._saving import (
    ClassTable,
    Kind,
    Reader,
    RecordKind,
    UnsavableError,
    Writer,
    read_object,
    write_object,
)
from skae._saving.kinds import decoded
from skae._version import __version__
from skae.training.files import write_atomically
from skae.training.hardware import resolve_device
from skae.training.net import TrainingNet, table_of_nets
from skae.training.packing import from_bytes, to_bytes
from skae.transformers._power_law import PowerLaw
from skae.transformers._pulse_train import PulseTrain

__all__ = ["load", "save"]

# Of the layout of the file; raised when an older skae could not read it.
_FORMAT = 1

_LIBRARIES = ("numpy", "scikit-learn", "skorch")

# Of scikit-learn what is found around skae's estimators in a Pipeline. Those whose fitted attributes are
# more than numbers, arrays and one another (trees, neighbours, splines) are not among them.
_OF_SCIKIT_LEARN = {
    "compose": ("ColumnTransformer", "TransformedTargetRegressor", "make_column_selector"),
    "decomposition": ("FastICA", "IncrementalPCA", "NMF", "PCA", "TruncatedSVD"),
    "feature_selection": ("VarianceThreshold",),
    "impute": ("MissingIndicator", "SimpleImputer"),
    "linear_model": ("LinearRegression", "LogisticRegression", "Ridge"),
    "pipeline": ("FeatureUnion", "Pipeline"),
    "preprocessing": (
        "Binarizer", "FunctionTransformer", "MaxAbsScaler", "MinMaxScaler", "Normalizer",
        "PolynomialFeatures", "PowerTransformer", "QuantileTransformer", "RobustScaler",
        "StandardScaler",
    ),
}  # fmt: skip

# scikit-learn's callbacks belong to a run, and are set on an estimator anew.
_OF_A_RUN = frozenset({"_skl_callbacks", "_skl_callbacks_to_teardown"})

# What to do about parameters that cannot be saved.
_REMEDIES = {
    "callbacks": "The fit is over: save it after set_params(callbacks=None).",
    "memory": "Save it after set_params(memory=None).",
    "noise": "Save it after set_params(noise=None), or use a NoiseInjector.",
    "optimizer": "torch's own optimizers can be saved.",
    "sampler": "Save it after set_params(sampler=None), and set the sampler again after loading.",
}


def save(estimator, path):
    """Save an estimator, or a Pipeline of estimators, as one file.

    The file is a safetensors file: tensors, and JSON that says how they belong together. Unlike a pickle
    it holds no code, so :func:`load` may be given one from anybody. All of a network's training is in it:
    fitted further after loading, with ``warm_start=True`` or ``partial_fit``, an estimator goes the way
    that it would have gone.

    What skae knows can be saved: its own estimators and transformers, alone or in scikit-learn's
    Pipeline, FeatureUnion, ColumnTransformer and TransformedTargetRegressor, beside its common scalers
    and decompositions. Functions cannot, but for those of NumPy that work on elements
    (``FunctionTransformer(np.log1p)``); nor callbacks.

    Parameters
    ----------
    estimator : estimator
        Fitted or not. Of a search like GridSearchCV save the ``best_estimator_``.
    path : path-like
        Name of the file. A file of that name is replaced when the new one is whole on the disk, and not
        before.

    Raises
    ------
    TypeError
        If something in the estimator cannot be saved; the message says what, where, and what to do.
    OSError
        If the file cannot be written; one of that name is still as it was.

    See Also
    --------
    load : Read it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skae
    >>> from sklearn.pipeline import make_pipeline
    >>> from skae.datasets import make_jets
    >>> X = make_jets(200, random_state=0)
    >>> model = make_pipeline(skae.BoxCoxTransformer(), skae.JetAutoencoder(max_epochs=2)).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skae.save(model, Path(folder) / "jets.safetensors")
    ...     same = skae.load(Path(folder) / "jets.safetensors")
    >>> bool((same.transform(X) == model.transform(X)).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        is_class = isinstance(estimator, type)
        name = (estimator if is_class else type(estimator)).__name__
        what = f"the class {name}; make one, and fit it" if is_class else f"a {name}"
        raise TypeError(f"skae.save takes an estimator or a Pipeline, not {what}.")
    if hasattr(estimator, "best_estimator_"):
        raise TypeError(
            f"skae.save does not save a {type(estimator).__name__}; save its best_estimator_."
        )
    try:
        content = write_object(estimator, _table(_EstimatorKind()))
    except UnsavableError as error:
        raise TypeError(f"{error} {_remedy(error.where)}") from error
    saved = {"format": _FORMAT, "versions": _versions(), "estimator": content}
    write_atomically(Path(os.fspath(path)), to_bytes(saved))


def load(path, *, device=None):
    """Load what :func:`save` has written.

    Nothing in the file is run: it names classes that skae knows, numbers and text. A file that was
    damaged is refused; one that was made to harm is refused, or gives an estimator that is wrong.

    Parameters
    ----------
    path : path-like
        The file.
    device : str or torch.device, default=None
        Where networks are put, ``"cpu"`` or ``"cuda:1"`` say; ``"auto"`` is the best device there is.
        None takes what the estimator's own ``device`` parameter means on this machine, and the CPU if
        that device is not there.

    Returns
    -------
    estimator : estimator
        As it was saved.

    Raises
    ------
    ValueError
        If the file is not one of :func:`save`, is damaged, or was written by a version of skae whose
        files this one cannot read; or if the device is not there.
    OSError
        If the file cannot be read.

    Warns
    -----
    InconsistentVersionWarning
        Of :mod:`sklearn.exceptions`: if there are estimators of scikit-learn's in the file that another
        version of scikit-learn has fitted.

    See Also
    --------
    save : Write it; with an example.

    Examples
    --------
    >>> import skae
    >>> skae.load("jets.safetensors")
    Traceback (most recent call last):
    ...
    FileNotFoundError: [Errno 2] No such file or directory: 'jets.safetensors'
    """
    kind = _EstimatorKind(None if device is None else resolve_device(device))
    path = os.fspath(path)
    content = Path(path).read_bytes()
    try:
        saved = from_bytes(content)
        version = str(_versions_of(saved)["scikit-learn"])
        estimator = read_object(saved["estimator"], _table(kind))
        if not isinstance(estimator, BaseEstimator):
            raise ValueError(f"it holds a {type(estimator).__name__} and no estimator")
    except Exception as error:  # whatever a damaged file, or a malicious one, brings about
        raise ValueError(f"{path} cannot be loaded: {_described(error)}.") from error
    if version != sklearn.__version__:
        for name in dict.fromkeys(kind.of_scikit_learn):
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=name,
                    current_sklearn_version=sklearn.__version__,
                    original_sklearn_version=version,
                ),
                stacklevel=2,
            )
    return estimator


class _EstimatorKind(Kind):
    """Estimators: their parameters and fitted attributes.

    Parameters
    ----------
    device : torch.device or None
        Where networks are put; None takes what each estimator's ``device`` means here.

    Attributes
    ----------
    of_scikit_learn : list of str
        Classes of scikit-learn's that were met on reading.
    """

    def __init__(self, device: torch.device | None = None):
        self.device = device
        self.of_scikit_learn: list[str] = []

    def take_apart(self, value: Any, writer: Writer, where: str) -> dict[str, Any]:
        """Return parameters and fitted attributes, and what metadata are asked for."""
        attributes = {k: v for k, v in vars(value).items() if k not in _OF_A_RUN}
        request = attributes.pop("_metadata_request", None)
        if attributes.get("memory") is not None:  # joblib's caches are pickles
            raise UnsavableError(f"{where}.memory", "a cache of pickles")
        return {
            "attributes": writer.attributes(attributes, where),
            "requests": None if request is None else request._serialize(),
        }

    def put_together(self, cls: type, entry: dict[str, Any], reader: Reader) -> Any:
        """Put an estimator together; it has all its parameters, and a net that is a net."""
        estimator = cls.__new__(cls)
        attributes = dict(decoded(entry["attributes"], cls, reader))
        if issubclass(cls, BaseEstimator) and (
            missing := {*cls._get_param_names()} - {*attributes}
        ):
            raise ValueError(f"{cls.__name__} lacks {', '.join(sorted(missing))}")
        if attributes.get("memory") is not None:
            raise ValueError(f"{cls.__name__} has a memory, which is never saved")
        vars(estimator).update(attributes)
        if "net_" in attributes:
            if type(estimator.net_) is not TrainingNet:
                raise ValueError(f"{cls.__name__} has a net that is none")
            estimator.net_.to(self._device_for(estimator))
        if entry["requests"] is not None:
            _ask_for_metadata(estimator, entry["requests"])
        if cls.__module__.startswith("sklearn."):
            self.of_scikit_learn.append(cls.__name__)
        return estimator

    def _device_for(self, estimator: Any) -> torch.device:
        if self.device is not None:
            return self.device
        try:
            return resolve_device(estimator.device)
        except ValueError:  # what was trained on a GPU is of use where there is none
            return torch.device("cpu")


def _ask_for_metadata(estimator: Any, requests: dict[str, dict[str, Any]]) -> None:
    """Ask for what ``set_fit_request`` and the like were given, whether routing is enabled or not."""
    request = estimator._get_metadata_request()
    for method, aliases in requests.items():
        if method not in SIMPLE_METHODS:
            raise ValueError(f"{method!r} is no method that is handed metadata")
        for name, alias in aliases.items():
            getattr(request, method).add_request(param=name, alias=alias)
    estimator._metadata_request = request


def _table(kind: _EstimatorKind) -> ClassTable:
    """Return all classes that a file may name."""
    table = (
        table_of_nets()
        .add("skae", _public(skae.estimators) + _public(skae.transformers), kind)
        .add("skae", (CaloGeometry, PowerLaw, PulseTrain), RecordKind())
    )
    for file, names in _OF_SCIKIT_LEARN.items():
        home = importlib.import_module(f"sklearn.{file}")
        table.add("sklearn", [getattr(home, name) for name in names], kind)
    return table


def _public(room: Any) -> list[type]:
    return [getattr(room, name) for name in room.__all__]


def _versions() -> dict[str, str]:
    return {
        "skae": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{library: metadata.version(library) for library in _LIBRARIES},
    }


def _versions_of(saved: Any) -> dict[str, str]:
    """Return the versions in a file, if it is one that this skae can read."""
    if not isinstance(saved, dict) or not isinstance(saved.get("versions"), dict):
        raise ValueError("it was not written by skae.save")
    if saved.get("format") != _FORMAT:
        its_version = saved["versions"].get("skae")
        raise ValueError(
            f"it was written by skae {its_version} in the format {saved.get('format')}, and this is "
            f"skae {__version__}, which reads the format {_FORMAT}; update skae"
        )
    return saved["versions"]


def _remedy(where: str) -> str:
    """Say what to do about what cannot be saved, and stands there."""
    for parameter, remedy in _REMEDIES.items():
        if re.search(rf"\.{parameter}\b", where):
            return remedy
    return f"(Of scikit-learn it knows {', '.join(sum(_OF_SCIKIT_LEARN.values(), ()))}.)"


def _described(error: Exception) -> str:
    text = str(error).rstrip(".")
    return (
        text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}".strip()
    )
