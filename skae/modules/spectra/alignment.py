"""Where models of shifted curves begin: rows aligned by their lines, with one of them as a template.

Alignment has many local optima. So some rows are tried as templates, on rows whose lines tell most: first
without continua, by one curve, which can but shift and stretch; then as they are, by all curves.
"""

import math

import torch
from torch import Tensor

from skae.modules.moments import Rows
from skae.modules.spectra.factor_analysis import Posterior, pairs_of, symmetric
from skae.modules.spectra.rest_frame import RestFrame
from skae.modules.spectra.shifted import (
    Nodes,
    Seen,
    ShiftedModel,
    ShiftedSums,
    log_likelihood,
    posterior_of,
    shift_of,
    steps_of,
)

# Rows that are looked at; rows that are aligned, templates, and passes over these rows, of each kind.
_MOST_LOOKED_AT, _MOST_ROWS, _N_TEMPLATES, _N_PASSES = 2000, 400, 12, 4

# Degree of the polynomial that is taken off as the continuum, and fewest pixels for each of its terms.
_DEGREE, _PIXELS_OF_TERM = 14, 10


def some_rows(rows: Rows, weight: Rows | None) -> Tensor:
    """Return rows that count, in even steps, in double precision."""
    step = -(-len(rows) // _MOST_LOOKED_AT)
    places = range(0, len(rows), step)
    some = torch.cat([rows[place : place + 1] for place in places]).double()
    if weight is None:
        return some
    count = torch.cat([weight[place : place + 1] for place in places]) > 0.0
    return some[count] if bool(count.any()) else some


def first_model(frame: RestFrame, rows: Seen, scatter: Tensor, n_curves: int) -> ShiftedModel:
    """Return a model of rows ``(n, d)`` to begin with.

    Draws from torch's global random state.
    """
    lines = Seen(rows.left_by(continuum(rows)), rows.weight, rows.constant)
    told = (lines.weight * lines.x.square()).sum(dim=1)
    half = told.argsort(descending=True)[: max(min(len(told), _MOST_ROWS), len(told) // 2)]
    chosen = half[torch.randperm(len(half))[:_MOST_ROWS].to(half.device)]
    rows, lines = rows.only(chosen), lines.only(chosen)
    best, highest = None, -math.inf
    for template in torch.randperm(len(chosen))[:_N_TEMPLATES].tolist():
        shift = _aligned(frame, lines, template, scatter)
        factors = _leading_factors(_at_rest(frame, rows.left_by(_mean_row(rows)), shift), n_curves)
        model = _climb(_of_factors(frame, rows, shift, factors, scatter), rows)
        if (likelihood := float(_found(model, rows)[1].mean())) > highest:
            best, highest = model, likelihood
    assert best is not None
    return best


def continuum(rows: Seen) -> Tensor:
    """Return a polynomial through each row, by least squares, ``(n, d)``."""
    n_pixels = rows.x.shape[1]
    n_terms = max(1, min(_DEGREE + 1, n_pixels // _PIXELS_OF_TERM))
    angle = torch.linspace(-1.0, 1.0, n_pixels).to(rows.x).acos()
    terms = torch.stack([torch.cos(n * angle) for n in range(n_terms)])  # Chebyshev's
    first, second = pairs_of(n_terms)
    squares = symmetric(rows.weight @ (terms[first] * terms[second]).T, n_terms)
    diagonal = squares.diagonal(dim1=1, dim2=2)
    diagonal += 1e-6 * diagonal.amax(dim=1, keepdim=True) + 1e-12
    products = (rows.weight * rows.x) @ terms.T
    return torch.linalg.solve(squares, products) @ terms


def _aligned(frame: RestFrame, lines: Seen, template: int, scatter: Tensor) -> Tensor:
    """Return shifts by which lines agree with those of one of the rows, ``(n,)``."""
    # the template may lie at either end
    wide = RestFrame(frame.log_wavelengths, 2.0 * frame.reach)
    middle = torch.full_like(lines.constant[:1], frame.reach)
    curve = _at_rest(wide, lines.x[template : template + 1], middle)[0]
    model = ShiftedModel(wide, torch.stack([curve, torch.zeros_like(curve)], dim=1), scatter)
    model = _climb(model, lines)
    shift = _found(model, lines)[0]
    # the part of the range, as long as it may be, that holds most rows
    starts = torch.linspace(0.0, frame.reach, 1 + 4 * len(frame.nodes())).to(shift)
    within = (shift >= starts[:, None]) & (shift <= starts[:, None] + frame.reach)
    held = within.sum(dim=1)
    return (shift - starts[held == held.max()].mean()).clamp(0.0, frame.reach)


def _found(model: ShiftedModel, rows: Seen) -> tuple[Tensor, Tensor]:
    """Return shifts and log-likelihoods of rows, each ``(n,)``."""
    nodes, parts = Nodes(model), rows.parts(model.k)
    known = [posterior_of(model, part, nodes) for part in parts]
    shifts = torch.cat([shift_of(each.t, model.frame.reach)[0] for each in known])
    return shifts, torch.cat([log_likelihood(each) for each in known])


def _climb(model: ShiftedModel, rows: Seen) -> ShiftedModel:
    """Return a likelier model, by some passes of expectation-maximisation."""
    for _ in range(_N_PASSES):
        sums, nodes = ShiftedSums(model.frame, model.k, model.curves), Nodes(model)
        for part in rows.parts(model.k):
            known = posterior_of(model, part, nodes)
            shift = shift_of(known.t, model.frame.reach)[0]
            sums.add(part, shift, known.factors, torch.ones_like(shift))
        model = ShiftedModel(model.frame, sums.better(steps_of(model.curves))[0], model.scatter)
    return model


def _of_factors(
    frame: RestFrame, rows: Seen, shift: Tensor, factors: Tensor, scatter: Tensor
) -> ShiftedModel:
    """Return the model that is likeliest if rows have these shifts and factors ``(n, k)``."""
    n, k = factors.shape
    # somewhat uncertain: of fewer rows than factors these would have no inverse covariance
    doubt = 1e-3 * torch.eye(k).to(factors)
    known = Posterior(factors, doubt.expand(n, k, k), factors.new_zeros(n))
    sums = ShiftedSums(frame, k, rows.x)
    sums.add(rows, shift, known, torch.ones_like(shift))
    anything = rows.x.square().mean().expand(k + 1)
    return ShiftedModel(frame, sums.better(anything)[0], scatter)


def _at_rest(frame: RestFrame, x: Tensor, shift: Tensor) -> Tensor:
    """Return the pixels of rows that are closest to the knots, ``(n, n_knots)``, 0 beyond the ends."""
    places, order = frame.log_wavelengths.sort()
    wanted = frame.knots + shift[:, None]
    between = torch.searchsorted(0.5 * (places[1:] + places[:-1]), wanted)
    inside = (wanted >= places[0] - frame.step) & (wanted <= places[-1] + frame.step)
    return torch.where(inside, x[:, order].gather(1, between), 0.0)


def _leading_factors(rest: Tensor, n: int) -> Tensor:
    """Return the principal components of rows, each of mean square 1, ``(n_rows, n)``."""
    # a rank may be missing, not a column
    factors = torch.linalg.svd(rest, full_matrices=False).U[:, :n]
    factors = torch.nn.functional.pad(factors, (0, n - factors.shape[1]))
    noise = 1e-3 * torch.randn(factors.shape, dtype=torch.float64).to(factors)
    return factors * len(rest) ** 0.5 + noise


def _mean_row(rows: Seen) -> Tensor:
    """Return the mean of each pixel that was seen, ``(d,)``."""
    return (rows.weight * rows.x).sum(dim=0) / rows.weight.sum(dim=0).clamp_min(1e-300)
