"""compress and decompress: a table in few bytes, every value within a bound.

The content, behind its first bytes: a header (JSON, bounds, how columns are predicted), the model, if one
is in it, blocks of rows, and a digest of all this. Each block ends with a digest of the whole numbers of
its columns, so that a prediction that differs from the one when it was written is noticed.
"""

import numpy as np

from skae.compression.blocks import read_block
from skae.compression.coder import reading_coder
from skae.compression.header import Header
from skae.compression.streams import Reader, zstd
from skae.compression.table import BLOCK_ROWS, joined
from skae.compression.writing import DIGEST_BYTES, FRONT, Writing, digest

__all__ = ["compress", "decompress"]


@np.errstate(all="ignore")
def compress(
    model,
    X,
    *,
    tolerance=None,
    relative=None,
    absolute=None,
    degree=2,
    embed_model=True,
):
    r"""Compress a table so that every value comes back within a bound.

    A value becomes a whole number, that of its cell, twice the bound wide. Stored is the distance of
    this number from a prediction: by polynomials in columns that are decoded before it, which are
    fitted to X, by a model that decodes a few latent coordinates, which are stored along, or by both,
    whichever takes the fewest bytes. Distances go through zstd. Predictions decide how many bytes there
    are, and nothing else: what comes back is the cell's value, whatever was predicted, and each is
    checked. NaN, infinities, zeros under a relative bound and whatever else has no cell come back bit
    for bit.

    Parameters
    ----------
    model : estimator, Pipeline or None
        Fitted, with ``transform`` and ``inverse_transform``: a :class:`~skae.JetAutoencoder`, PCA, or a
        Pipeline that ends in one. Rows that it refuses are stored without its help. It is left out where
        the result is shorter without it, its own bytes counted.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Booleans, integers, or floats of 16, 32 or 64 bits; columns of a DataFrame may differ.
    tolerance : float or dict, default=None
        Largest error, relative for energies, momenta and masses, absolute for angles and for what has
        either sign. A dict has one for each column, by name or number; 0 means exactly. Of which kind it
        is, the first of these says that applies:

        - integers come back exactly, and so do floats that are all whole numbers, unless a dict names
          them;
        - angles of a JetAutoencoder are absolute, if it is the model, or its first step;
        - columns with names of E, m, pt, px, py or pz ("jet_pt", say) are relative, those of eta or phi
          absolute;
        - a column is relative if its finite values, but for zeros, have all one sign;
        - any other is absolute.
    relative, absolute : float or dict, default=None
        Largest error of this kind, \|x̂ − x\| ≤ ``relative``·\|x\| or \|x̂ − x\| ≤ ``absolute``, where
        `tolerance` is not to choose. Of `tolerance`, `relative` and `absolute` one may be a number, for
        all columns that dicts do not name.
    degree : {0, 1, 2}, default=2
        Of the polynomials in other columns, at most: linear, or with products of two columns and
        piecewise parabolas. 0 for none; so it is for more than 200 columns, and 1 for more than 30.
    embed_model : bool, default=True
        Whether what the model needs to decode is a part of the result. If not, :func:`decompress` needs
        the model.

    Returns
    -------
    data : bytes
        What :func:`decompress` takes; safe to be read from anybody, as files of :func:`skae.save` are.

    Raises
    ------
    ImportError
        If there is no zstd: ``pip install skae[compress]``. Python 3.14 brings its own.
    TypeError
        If a column holds no numbers, or the model is none, has no way back, or cannot be saved.
    ValueError
        If a column has no bound or two, or the model takes no row of X.

    See Also
    --------
    decompress : The way back.

    Notes
    -----
    Models are computed in float64 on both sides. A value whose prediction could be another where
    rounding is different, by up to 1e-11, is stored as it is. If predictions are others nevertheless,
    :func:`decompress` raises an error. What comes back may differ in its last digit from machine to
    machine.

    Examples
    --------
    >>> import numpy as np
    >>> import skae
    >>> from skae.datasets import make_jets
    >>> X = make_jets(1000, random_state=0)  # E, pT (GeV), η, φ
    >>> data = skae.compress(None, X, tolerance=1e-3)  # relative for E and pT, which are positive
    >>> X.nbytes, len(data) < 6000
    (32000, True)
    >>> back = skae.decompress(data)
    >>> bool((np.abs(back[:, :2] / X[:, :2] - 1) <= 1e-3).all())
    True
    """
    zstd()  # or an error
    if not (type(degree) is int and 0 <= degree <= 2):
        raise ValueError(f"degree={degree!r} must be 0, 1 or 2.")
    if model is not None and not hasattr(model, "fit"):
        raise TypeError(
            f"the model is a {type(model).__name__}, and no estimator: skae.compress(model, X, …), or "
            "skae.compress(None, X, …) without one."
        )
    bounds = {"tolerance": tolerance, "relative": relative, "absolute": absolute}
    return Writing.of(model, X, degree, **bounds).shortest(model, embed_model)


@np.errstate(all="ignore")
def decompress(data, model=None):
    """Bring a table back that :func:`compress` has made small.

    Nothing in the data is run, and they may be from anybody: what :func:`skae.load` says of files is true
    of a model in them.

    Parameters
    ----------
    data : bytes
        What compress has returned.
    model : estimator or Pipeline, default=None
        The model, if the data were compressed with ``embed_model=False``.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, n_features)
        The table, its columns with their names and dtypes. The index of a DataFrame is not kept.

    Raises
    ------
    ImportError
        If there is no zstd: ``pip install skae[compress]``.
    ValueError
        If the data are not what compress returned, or the model is missing or another.

    See Also
    --------
    compress : With an example.

    Examples
    --------
    >>> import skae
    >>> data = skae.compress(None, [[1, 2], [3, 4]], tolerance=0)
    >>> skae.decompress(data)
    array([[1, 2],
           [3, 4]])
    """
    zstd()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"decompress takes bytes, not a {type(data).__name__}.")
    data = bytes(data)
    content = data[:-DIGEST_BYTES]
    if not data.startswith(FRONT):
        raise ValueError("The data were not written by skae.compress.")
    if digest(content) != data[-DIGEST_BYTES:]:
        raise ValueError("The data were changed or cut off: they do not match their digest.")
    try:
        reader = Reader(content, len(FRONT))
        header = Header.read(reader)
        coder = reading_coder(header, model)
        blocks = []
        for start in range(0, header.n_rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, header.n_rows - start)
            blocks.append(read_block(reader, header, n, coder.predict if coder else None))
        reader.end()
    except (ImportError, MemoryError, Warning):
        raise
    except Exception as error:  # whatever malicious data bring about
        text = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"The data cannot be decompressed: {text}.") from error
    return joined(blocks, [c.dtype for c in header.columns], header.names, header.is_frame)
