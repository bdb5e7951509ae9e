"""Columns predicted from those that are decoded before them, and from what a model says of a row.

Whole numbers of one column after the other are predicted, by a polynomial in the columns before it that
was fitted to the rows themselves, about their middle or about a model's prediction. Both sides, writing
and reading, walk through :func:`walk`. A prediction is rounded to a whole number; where it lies so near
to a half that another machine might round it to the other side, the value is an exception.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from skae.compression.streams import expected_bits

MODES = ("middle", "model", "polynomial", "polynomial about the model")

# What doubles of two machines may differ by, relative to their size, many times over.
_ROUNDING = 1e-11
_LEAST_DOUBT = 1e-9

# Variables, in spreads, beyond which polynomials do not follow them.
_FARTHEST = 4.0

# Rows that are predicted at once, and the columns up to which pairs of them are multiplied.
CHUNK_ROWS = 4096
_MOST_COLUMNS = (0, 200, 30)

# Where, in spreads, a parabola in one variable may go over into another.
_KNOTS = np.linspace(-2.0, 2.0, 9)

_RIDGE = 1e-5
_BITS_OF_EXCEPTION = 80.0


@dataclass(frozen=True)
class Chain:
    """How each column is predicted; all numbers are whole.

    Attributes
    ----------
    order : list of int
        In which columns are decoded.
    modes : list of int
        Of :data:`MODES`, for each column.
    degree : int
        Of the polynomials.
    middles, lows, highs : list of int
        Median and ends of each column, between which predictions are kept.
    widths, rests : list of int
        Spread of each column, and of what a model leaves of it.
    coefficients : list of ndarray
        For each column, in units of 2 to the power of ``scales``.
    scales : list of int
        Exponents.
    """

    order: list[int]
    modes: list[int]
    degree: int
    middles: list[int]
    lows: list[int]
    highs: list[int]
    widths: list[int]
    rests: list[int]
    coefficients: list[np.ndarray]
    scales: list[int]

    def n_terms(self, place: int, has_model: bool) -> int:
        """Return how many terms a polynomial has in the column at this place of the order."""
        of_column = 1 + has_model + (len(_KNOTS) if self.degree > 1 else 0)
        products = place * (place + 1) // 2 if self.degree > 1 else 0
        return 1 + place * of_column + products


@dataclass(frozen=True)
class Predicted:
    """What a model says of rows, in the units of whole numbers, and how far that may be off."""

    numbers: np.ndarray  # (n, d)
    doubts: np.ndarray  # (n, d)

    def part(self, rows: slice) -> "Predicted":
        """Return some of the rows."""
        return Predicted(self.numbers[rows], self.doubts[rows])


Give = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def walk(chain: Chain, n: int, predicted: Predicted | None, give: Give) -> None:
    """Go through the columns of n rows, in order.

    ``give`` is called with a column, the whole numbers predicted for it, and where these are in doubt. It
    returns what the column's whole numbers are, from which the next ones are predicted.
    """
    terms = _Terms(chain, n, predicted)
    for column in chain.order:
        mode = chain.modes[column]
        guess = np.full(n, float(chain.middles[column]))
        doubt = np.full(n, 0.0 if mode == 0 else _LEAST_DOUBT)
        if mode in (1, 3) and predicted is not None:
            guess, doubt = predicted.numbers[:, column], doubt + predicted.doubts[:, column]
        if mode >= 2:
            factors = np.ldexp(chain.coefficients[column].astype(np.float64), chain.scales[column])
            guess = guess + factors @ terms.table[: len(factors)]
            doubt = doubt + _ROUNDING * _FARTHEST**2 * np.abs(factors).sum()
            for term, of_term in terms.doubts.items():
                if term < len(factors):
                    doubt = doubt + abs(factors[term]) * of_term
        terms.add(column, give(column, *_rounded(chain, column, guess, doubt)))


def _rounded(
    chain: Chain, column: int, guess: np.ndarray, doubt: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of a column as whole numbers, and where it is in doubt which one."""
    doubt = doubt + _ROUNDING * np.abs(guess) if chain.modes[column] else -1.0
    guess = np.clip(guess, chain.lows[column], chain.highs[column])
    whole = np.rint(guess)
    return whole.astype(np.int64), 0.5 - np.abs(guess - whole) <= doubt


class _Terms:
    """The terms of polynomials for n rows, as columns become known."""

    def __init__(self, chain: Chain, n: int, predicted: Predicted | None):
        self._chain, self._predicted = chain, predicted
        used = [place for place, column in enumerate(chain.order) if chain.modes[column] >= 2]
        self._last = max(used, default=-1)  # place of the last column that needs any
        self._place = 0
        self._variables: list[np.ndarray] = []
        n_terms = chain.n_terms(max(self._last, 0), predicted is not None)
        self.table = np.empty((n_terms, n))
        self.table[0] = 1.0
        self._filled = 1
        self.doubts: dict[int, np.ndarray] = {}  # by which terms may be off that models are part of

    def add(self, column: int, numbers: np.ndarray) -> None:
        """Add the terms of a column that is known."""
        self._place += 1
        if self._place > self._last:
            return
        chain = self._chain
        variable = _variable(numbers - chain.middles[column], chain.widths[column])
        self._variables.append(variable)
        self._append(variable)
        if self._predicted is not None:
            rest, width = numbers - self._predicted.numbers[:, column], chain.rests[column]
            doubt = self._predicted.doubts[:, column] / width
            self.doubts[self._filled] = np.minimum(doubt, 2.0 * _FARTHEST)
            self._append(_variable(rest, width))
        if chain.degree > 1:
            for other in self._variables:
                self._append(variable * other)
            for knot in _KNOTS:
                self._append(np.square(np.maximum(variable - knot, 0.0)) / 4.0)

    def _append(self, term: np.ndarray) -> None:
        self.table[self._filled] = term
        self._filled += 1


def _variable(distance: np.ndarray, width: int) -> np.ndarray:
    return np.clip(distance / width, -_FARTHEST, _FARTHEST)


# -- fitting ---------------------------------------------------------------------------------------


def fit_chain(
    numbers: np.ndarray, n_rows: int, predicted: Predicted | None, degree: int
) -> tuple[Chain, float]:
    """Return the chain of up to this degree that takes the fewest bits, coefficients counted, and these.

    Parameters
    ----------
    numbers : ndarray of shape (n, d)
        Whole numbers of a sample of ``n_rows``.
    predicted : Predicted or None
        What a model says of them.
    """
    degrees = [k for k in range(degree + 1) if fits_columns(k, numbers.shape[1])]
    chains = [_fit_chain(numbers, n_rows, predicted, k) for k in degrees]
    return min(chains, key=lambda pair: pair[1])


def _fit_chain(
    numbers: np.ndarray, n_rows: int, predicted: Predicted | None, degree: int
) -> tuple[Chain, float]:
    """Return a chain of polynomials of this degree, and how many bits it takes."""
    d = numbers.shape[1]
    middles = np.median(numbers, axis=0).astype(np.int64)
    widths = _spreads(numbers - middles)
    rests = _spreads(numbers - predicted.numbers) if predicted is not None else widths
    chain = Chain(
        order=_order(numbers, middles, widths, degree),
        modes=[0] * d,
        degree=degree,
        middles=middles.tolist(),
        lows=numbers.min(axis=0).tolist(),
        highs=numbers.max(axis=0).tolist(),
        widths=widths.tolist(),
        rests=rests.tolist(),
        coefficients=[np.zeros(0, np.int64)] * d,
        scales=[0] * d,
    )
    terms = _all_terms(chain, numbers, predicted) if degree else np.ones((1, len(numbers)))
    known, bits = terms @ terms.T, 0.0
    for place, column in enumerate(chain.order):
        m = chain.n_terms(place, predicted is not None) if degree else 1
        part = terms[:m], known[:m, :m]
        bits += _choose(chain, column, numbers[:, column], *part, predicted, n_rows)
    return chain, bits


def _choose(
    chain: Chain,
    column: int,
    numbers: np.ndarray,
    terms: np.ndarray,
    known: np.ndarray,
    predicted: Predicted | None,
    n_rows: int,
) -> float:
    """Set the mode of a column, and its coefficients; return how many bits it takes."""
    middle = np.full(len(numbers), float(chain.middles[column]))
    guesses = {0: middle}
    if predicted is not None:
        guesses[1] = predicted.numbers[:, column]
    fitted = {}
    if 1 < len(terms) < len(numbers) / 2:
        for mode, about in list(guesses.items()):
            coefficients, scale = _fit(terms, known, numbers - about, n_rows)
            guess = about + np.ldexp(coefficients.astype(np.float64), scale) @ terms
            guesses[mode + 2], fitted[mode + 2] = guess, (coefficients, scale)

    def size(mode: int) -> float:
        chain.modes[column] = mode
        doubt = predicted.doubts[:, column] if predicted is not None and mode in (1, 3) else 0.0
        whole, is_in_doubt = _rounded(chain, column, guesses[mode], doubt)
        bits = expected_bits(numbers - whole) + _BITS_OF_EXCEPTION * float(is_in_doubt.sum())
        of_fit = expected_bits(fitted[mode][0]) if mode in fitted else 0.0
        return bits * n_rows / len(numbers) + of_fit

    sizes = {mode: size(mode) for mode in guesses}
    mode = min(sizes, key=lambda mode: sizes[mode])
    chain.modes[column] = mode
    if mode in fitted:
        chain.coefficients[column], chain.scales[column] = fitted[mode]
    return sizes[mode]


def _fit(
    terms: np.ndarray, known: np.ndarray, target: np.ndarray, n_rows: int
) -> tuple[np.ndarray, int]:
    """Fit a target (n,) by terms (m, n), whose products are ``known`` (m, m), outliers or not.

    Coefficients are rounded as coarsely as pays: they cost bytes themselves.
    """
    m, n = terms.shape
    ridge = _RIDGE * n * np.eye(m)
    low, high = np.quantile(target, [0.01, 0.99])
    factors = np.linalg.solve(known + ridge, terms @ np.clip(target, low, high))
    rest = target - factors @ terms
    roots = 1.0 / np.sqrt(1.0 + np.square(rest / (2.0 * _scale(rest))))
    weighted = terms * roots  # a product with itself takes half the time
    factors = np.linalg.solve(weighted @ weighted.T + ridge, weighted @ (roots * target))
    fineness = np.clip(np.sqrt(n_rows / (12.0 * m)), 0.5, 16.0)
    step = _scale(target - factors @ terms) / (fineness * np.sqrt(m))
    exponent = int(np.floor(np.log2(step)))
    whole = np.rint(np.ldexp(factors, -exponent))
    return np.clip(whole, -(2**40), 2**40).astype(np.int64), exponent


def _scale(rest: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(rest)) + 0.3)


def _all_terms(chain: Chain, numbers: np.ndarray, predicted: Predicted | None) -> np.ndarray:
    """Return the terms (m, n) of the last column in the order; those of others are the first of them."""
    everything = Chain(**{**vars(chain), "modes": [2] * len(chain.order)})
    terms = _Terms(everything, len(numbers), predicted)
    for column in chain.order:
        terms.add(column, numbers[:, column])
    return terms.table


def _spreads(distances: np.ndarray) -> np.ndarray:
    """Return a spread of each column (n, d), as a whole number of 1 or more."""
    low, high = np.quantile(distances, [0.05, 0.95], axis=0)
    return np.ceil(np.clip((high - low) / 3.3, 1.0, 2.0**53)).astype(np.int64)


def _order(numbers: np.ndarray, middles: np.ndarray, widths: np.ndarray, degree: int) -> list[int]:
    """Return the order that leaves the column to the end which is best predicted from the others.

    Then the one before it, and so on, each from those that are left.
    """
    n, d = numbers.shape
    left, last = list(range(d)), []
    if degree == 0 or n < 2 * d:
        return left
    variables = np.clip((numbers - middles) / widths, -_FARTHEST, _FARTHEST)
    first, second = np.triu_indices(d)
    terms = [np.ones((n, 1)), variables]
    if degree > 1 and n > 2 * len(first):
        terms.append(variables[:, first] * variables[:, second])
    matrix = np.column_stack(terms)
    known = matrix.T @ matrix / n + _RIDGE * np.eye(matrix.shape[1])
    products = matrix.T @ variables / n
    squares = np.square(variables).mean(axis=0)
    floor = 1.0 / (12.0 * np.square(widths))  # of what rounding to cells leaves

    def gain(column: int) -> float:
        is_other = np.zeros(d, bool)
        is_other[[k for k in left if k != column]] = True
        is_used = np.concatenate([[True], is_other, is_other[first] & is_other[second]])
        is_used = np.flatnonzero(is_used[: len(known)])
        target = products[is_used, column]
        explained = target @ np.linalg.solve(known[np.ix_(is_used, is_used)], target)
        alone = squares[column] - products[0, column] ** 2
        return float(
            np.log(
                (alone + floor[column]) / (max(squares[column] - explained, 0.0) + floor[column])
            )
        )

    while len(left) > 1:
        last.append(max(left, key=gain))
        left.remove(last[-1])
    return left + last[::-1]


def fits_columns(degree: int, d: int) -> bool:
    """Tell whether polynomials of d columns are few enough terms."""
    return degree == 0 or d <= _MOST_COLUMNS[degree]


def chunks(n: int) -> Iterator[slice]:
    """Yield the rows that are predicted at once."""
    for start in range(0, n, CHUNK_ROWS):
        yield slice(start, min(n, start + CHUNK_ROWS))
