"""Fitted estimators on disk: one file of skops, from which nothing is run when it is read."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skae._skops import (
    LEFT_OUT,
    NEVER_SAVED,
    check_loaded,
    checked,
    is_record,
    normalized,
    parts_of,
)
from skae._trusted import TRUSTED_TYPES
from skae._version import __version__
from skae.training.hardware import own_settings, resolve_device
from skae.training.net import TrainingNet
from skae.training.net_file import optimizer_state_kept
from skae.training.packing import FORMAT, check_format, read_whole, write_atomically

__all__ = ["load", "save"]

_LIBRARIES = ("numpy", "scikit-learn", "skops", "skorch")

# What to do about parameters that cannot be saved.
_REMEDIES = {
    "callbacks": "The fit is over: save it after set_params(callbacks=None).",
    "memory": "Save it after set_params(memory=None).",
    "noise": "Save it after set_params(noise=None), or use a NoiseInjector.",
    "optimizer": "torch's own optimizers can be saved.",
    "rbm_topology": "Save it after set_params(rbm_topology='pegasus'), say: only another fit needs it.",
    "sampler": "Save it after set_params(sampler=None), and set the sampler again after loading.",
}
# checkpoint is left out: a model is saved behind the fit that it was for
_REFUSED = {*NEVER_SAVED} - {"checkpoint"}
_ELSE = "A pickle can hold it; load only pickles that you trust."


def save(estimator, path, *, optimizer_state=False):
    """Save an estimator, or a Pipeline of estimators, as one file.

    The file is one of `skops <https://skops.readthedocs.io>`_. Unlike a pickle it holds no code: types by
    their names, numbers and text, and :func:`load` may be given one from anybody.

    skae's estimators and transformers can be saved, and nearly everything of scikit-learn's around them:
    Pipeline, ColumnTransformer, scalers, decompositions, linear models. Not trees and forests, whose
    indices compiled code follows unchecked; nor functions of your own, callbacks and caches. NumPy's
    functions can (``FunctionTransformer(np.log1p)``). ``checkpoint`` is left out, as a
    file should not say where to write: set it again to go on training with one.

    Parameters
    ----------
    estimator : estimator
        Fitted or not. Of a search like GridSearchCV save the ``best_estimator_``.
    path : path-like
        Name of the file. A file of that name is replaced when the new one is whole on the disk, and not
        before.
    optimizer_state : bool, default=False
        Whether the optimiser's moments are saved, which makes files up to three times as large. With them
        ``partial_fit``, or ``fit`` with ``warm_start=True``, goes on after loading as it would have.
        Without them it starts the moments afresh and warns.

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
    ...     skae.save(model, Path(folder) / "jets.skops")
    ...     same = skae.load(Path(folder) / "jets.skops")
    >>> bool((same.transform(X) == model.transform(X)).all())
    True
    """
    write_atomically(Path(os.fspath(path)), content_of(estimator, optimizer_state=optimizer_state))


@own_settings()
def load(path, *, device=None):
    """Load what :func:`save` has written.

    Nothing in the file is run. It may name the types that skops trusts and those of
    :data:`~skae.TRUSTED_TYPES`; its sizes are checked before anything is read. A file that was damaged is
    refused; one that was made to harm is refused, or gives an estimator that is wrong.

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
        As it was saved, with ``checkpoint=None``.

    Raises
    ------
    ValueError
        If the file is not one of :func:`save`, is damaged, or is of another format, in which case the
        message names both versions of skae; or if the device is not there.
    OSError
        If the file cannot be read, or is a pipe or a device.

    Warns
    -----
    VersionWarning
        If another version of skae has saved the file.
    InconsistentVersionWarning
        Of :mod:`sklearn.exceptions`: if there are estimators of scikit-learn's in the file that another
        version of scikit-learn has fitted.

    See Also
    --------
    save : Write it; with an example.

    Examples
    --------
    >>> import skae
    >>> skae.load("jets.skops")
    Traceback (most recent call last):
    ...
    FileNotFoundError: [Errno 2] No such file or directory: 'jets.skops'
    """
    device = None if device is None else resolve_device(device)
    path = os.fspath(path)
    return estimator_in(read_whole(path), path, device)


# -- writing ---------------------------------------------------------------------------------------


def content_of(estimator: BaseEstimator, *, optimizer_state: bool = False) -> bytes:
    """Return the content of the file.

    Raises
    ------
    TypeError
        If something in the estimator cannot be saved.
    """
    import skops.io

    if not isinstance(estimator, BaseEstimator):
        hint = "; make one, and fit it" if isinstance(estimator, type) else ""
        raise TypeError(
            f"skae.save takes an estimator or a Pipeline, not {_named(estimator)}{hint}."
        )
    if hasattr(estimator, "best_estimator_"):
        raise TypeError(
            f"skae.save does not save a {type(estimator).__name__}; save its best_estimator_."
        )
    name = type(estimator).__name__
    try:
        parts = list(parts_of(estimator, name))
    except TypeError as error:
        raise TypeError(f"{error}, which skae cannot save. {_ELSE}") from error
    _refuse_what_skops_would_change(parts)
    try:
        with _set_aside(parts), optimizer_state_kept(optimizer_state):
            content = skops.io.dumps(estimator)
    except TypeError as error:
        why = str(error).rstrip(".")
        raise TypeError(f"skae cannot save this {name}: {why}. {_ELSE}") from error
    untrusted = {*skops.io.get_untrusted_types(data=content)} - {*TRUSTED_TYPES}
    for where, value in parts:
        if untrusted & _names_of(value):
            raise TypeError(f"{where} is {_named(value)}, which skae cannot save. {_remedy(where)}")
    content = normalized(content, {"format": FORMAT, "versions": _versions()})
    try:
        if untrusted:
            raise ValueError(f"it holds {', '.join(sorted(untrusted))}")
        checked(content)  # what is written can be read
    except ValueError as error:
        raise TypeError(f"skae cannot save this {name}: {error}. {_ELSE}") from error
    return content


def _refuse_what_skops_would_change(parts: list[tuple[str, Any]]) -> None:
    """Refuse what skops saves by a name only, or in another form, before it does."""
    for where, value in parts:
        parameter = where.rpartition(".")[2]
        is_graph = parameter == "rbm_topology" and not isinstance(value, str)
        if value is not None and (parameter in _REFUSED or is_graph):
            raise TypeError(
                f"{where} is {_named(value)}, which skae cannot save. {_REMEDIES[parameter]}"
            )
        if isinstance(value, dict) and not _keeps_its_keys(value):
            raise TypeError(
                f"{where} has keys that are no text or numbers, which skae cannot save."
            )


@contextmanager
def _set_aside(parts: list[tuple[str, Any]]) -> Iterator[None]:
    """Free estimators of callbacks, checkpoints, what refers back to them, and caches, for a moment."""
    held = [part for _, part in parts if isinstance(part, BaseEstimator) or is_record(part)]
    before = [(vars(part), {**vars(part)}) for part in held]
    try:
        for attributes, _ in before:
            left_out = {name: attributes.pop(name) for name in LEFT_OUT if name in attributes}
            if "_metadata_request" in left_out:
                attributes["_metadata_request"] = left_out["_metadata_request"]._serialize()
            if "checkpoint" in attributes:
                attributes["checkpoint"] = None
        for record in filter(is_record, held):
            for name in {*vars(record)}:
                if isinstance(getattr(type(record), name, None), cached_property):
                    del vars(record)[name]
        yield
    finally:
        for attributes, values in before:
            attributes.update(values)


def _keeps_its_keys(value: dict[Any, Any]) -> bool:
    """Tell whether keys come back: JSON has text for them, of which True and False cannot be made."""
    kinds = (str, int, float, np.number)
    return all(isinstance(key, kinds) and not isinstance(key, bool) for key in value) and (
        len({str(key) for key in value}) == len(value)
    )


def _names_of(value: Any) -> set[str]:
    """Return by which names skops may call an object."""
    return {
        f"{thing.__module__}.{thing.__name__}"
        for thing in (value, type(value))
        if isinstance(getattr(thing, "__name__", None), str)
    }


def _named(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _remedy(where: str) -> str:
    """Say what to do about what cannot be saved, and stands there."""
    return next((text for name, text in _REMEDIES.items() if f".{name}" in where), _ELSE)


def _versions() -> dict[str, str]:
    return {
        "skae": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{library: metadata.version(library) for library in _LIBRARIES},
    }


# -- reading ---------------------------------------------------------------------------------------


def estimator_in(content: bytes, name: str, device: torch.device | None = None) -> BaseEstimator:
    """Return the estimator of a file's content; ``name`` says in an error what it is.

    Raises
    ------
    ValueError
        If it cannot be loaded.
    """
    import skops.io

    try:
        about = checked(content)
        check_format(about.get("format"), about["versions"].get("skae"))
        estimator = skops.io.loads(content, trusted=TRUSTED_TYPES)
        check_loaded(estimator)
        for _, part in parts_of(estimator, ""):
            if isinstance(getattr(part, "net_", None), TrainingNet):
                part.net_.to(_device_of(part) if device is None else device)
    except Warning:  # where warnings are errors
        raise
    except Exception as error:  # whatever a damaged file, or a malicious one, brings about
        raise ValueError(f"{name} cannot be loaded: {_described(error)}.") from error
    return estimator


def _device_of(estimator: Any) -> torch.device:
    try:
        return resolve_device(estimator.device)
    except ValueError:  # what was trained on a GPU is of use where there is none
        return torch.device("cpu")


def _described(error: Exception) -> str:
    text = str(error).rstrip(".")
    return (
        text if isinstance(error, ValueError) and text else f"{type(error).__name__} {text}".strip()
    )
