"""Curves over rest wavelengths, as they are seen at a redshift: cubic B-splines of ln λ."""

import math

import torch
from torch import Tensor, nn

from skae.modules.spectra.smooth import solve_chain

#: knots that a place lies between, whose weights are not 0
N_PIECES = 4

# What is known of a step from knot to knot before rows are seen, in what steps are on average.
_PRIOR_WEIGHT = 0.05

# Least mean square of a curve's steps, of that of the roughest curve: one may be 0 to begin with.
_LEAST_STEP = 1e-4


class RestFrame(nn.Module):
    """A grid of knots over the logarithm of the rest wavelength, and where rows lie on it.

    A row of redshift z has a shift of ln(1 + z): its pixel of wavelength λ shows the rest wavelength
    λ/(1 + z). Knots are as close as the closest pixels, but no closer than a quarter of the typical step.

    Parameters
    ----------
    log_wavelengths : Tensor of shape (d,)
        Of the pixels, rising or falling.
    reach : float
        The largest shift; the smallest is 0.
    """

    def __init__(self, log_wavelengths: Tensor, reach: float):
        super().__init__()
        self.log_wavelengths = nn.Buffer(log_wavelengths.double())
        self.reach = reach
        steps = log_wavelengths.diff().abs()
        self.step = max(float(steps.min()), 0.25 * float(steps.median()))
        first, last = float(log_wavelengths.min()) - reach, float(log_wavelengths.max())
        self.first = first - 1e-6 * self.step
        # in threes: what a knot shares a pixel with is in its own three or the next
        self.n_knots = 3 * math.ceil(((last - self.first) / self.step + N_PIECES) / 3)

    def __len__(self) -> int:
        return len(self.log_wavelengths)

    @property
    def knots(self) -> Tensor:
        """Logarithms of the rest wavelengths around which the splines stand, ``(n_knots,)``."""
        places = torch.arange(self.n_knots).to(self.log_wavelengths)
        return self.first + self.step * (places - 1.0)

    def nodes(self) -> Tensor:
        """Return shifts a knot apart, at least three, ``(n_nodes,)``."""
        n = max(3, math.ceil(self.reach / self.step) + 1)
        return torch.linspace(0.0, self.reach, n).to(self.log_wavelengths)

    def places(self, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first of four knots of each pixel, and how far it is from the next but one.

        Both are ``(n, d)``, of shifts ``(n,)``.
        """
        place = (self.log_wavelengths - shift[:, None] - self.first) / self.step
        first = place.detach().floor().clamp(0, self.n_knots - N_PIECES)
        return first.long(), place - first

    def observed(self, rest: Tensor, shift: Tensor) -> Tensor:
        """Return rows ``(n, d)`` of curves of their own, ``(n, n_knots)``."""
        first, fraction = self.places(shift)
        return sum_of_pieces(rest, first, spline(fraction))

    def slopes(self, rest: Tensor, shift: Tensor) -> Tensor:
        """Return the derivative of :meth:`observed` by the shift."""
        first, fraction = self.places(shift)
        return sum_of_pieces(rest, first, slope_of_spline(fraction)) / -self.step

    def curves_of_rows(self, curves: Tensor, shift: Tensor) -> Tensor:
        """Return all curves ``(n_knots, m)`` as rows see them, ``(n, d, m)``."""
        first, fraction = self.places(shift)
        pieces = torch.arange(N_PIECES, device=first.device)
        seen = nn.functional.embedding_bag(
            (first[..., None] + pieces).flatten(0, 1),
            curves,
            per_sample_weights=spline(fraction).flatten(0, 1),
            mode="sum",
        )
        return seen.unflatten(0, first.shape)

    def told_of_knots(self, squares: Tensor, steps: Tensor) -> Tensor:
        """Return what rows, and the prior, say of values around each knot, ``(n_knots, m, m)``."""
        told = squares[0] + torch.diag_embed(2.0 * self._stiffness(steps))
        for apart in range(1, N_PIECES):
            told[:-apart] += squares[apart, :-apart]
            told[apart:] += squares[apart, :-apart]
        return told

    def _stiffness(self, steps: Tensor) -> Tensor:
        least = _LEAST_STEP * steps.max().clamp_min(1e-30)
        return _PRIOR_WEIGHT / torch.maximum(steps, least)

    def likeliest(self, squares: Tensor, products: Tensor, steps: Tensor) -> Tensor:
        """Return the curves ``(n_knots, m)`` for which rows are likeliest.

        Parameters
        ----------
        squares : Tensor of shape (N_PIECES, n_knots, m, m)
            What rows say of products of a knot's values and those of the knot so many places on.
        products : Tensor of shape (n_knots, m)
            What they say of values.
        steps : Tensor of shape (m,)
            Mean squares of the steps from knot to knot: a weak prior, for knots that rows say little of.
        """
        stiffness = self._stiffness(steps)
        m = products.shape[1]
        own, *beside = squares.unbind(0)
        n_links = torch.full_like(products, 2.0)
        n_links[0] = n_links[-1] = 1.0
        own = own + torch.diag_embed(n_links * stiffness)
        to_next = beside[0] - torch.diag_embed(stiffness)
        apart = [own, to_next, *beside[1:]]
        three = [part.unflatten(0, (-1, 3)) for part in apart]  # (n_knots / 3, 3, m, m)
        blocks = own.new_zeros(self.n_knots // 3, 3, m, 3, m)
        onwards = torch.zeros_like(blocks)
        for i in range(3):
            for j in range(3):
                low, off = min(i, j), abs(i - j)
                blocks[:, i, :, j] = three[off][:, low]
                if 3 + j - i < N_PIECES:
                    onwards[:, i, :, j] = three[3 + j - i][:, i]
        own, right = blocks.flatten(3, 4).flatten(1, 2), products.reshape(-1, 3 * m, 1)
        ridge = 1e-12 * own.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True)
        own.diagonal(dim1=1, dim2=2).add_(ridge)
        solved = solve_chain(own, onwards.flatten(3, 4).flatten(1, 2)[:-1], right)
        return solved.reshape(self.n_knots, m)


def spline(fraction: Tensor) -> Tensor:
    """Return weights of four knots, ``(..., 4)``, at a fraction of the way between the middle two."""
    t, u = fraction, 1.0 - fraction
    middle = (4.0 - 6.0 * t.square() + 3.0 * t**3, 4.0 - 6.0 * u.square() + 3.0 * u**3)
    return torch.stack([u**3, *middle, t**3], dim=-1) / 6.0


def slope_of_spline(fraction: Tensor) -> Tensor:
    """Return the derivatives of the weights by the fraction."""
    t, u = fraction, 1.0 - fraction
    middle = (3.0 * t.square() - 4.0 * t, 4.0 * u - 3.0 * u.square())
    return torch.stack([-u.square(), *middle, t.square()], dim=-1) / 2.0


def sum_of_pieces(rest: Tensor, first: Tensor, weight: Tensor) -> Tensor:
    """Return what rows ``(n, n_knots)`` are at places ``(n, d)``, by the weights of their knots."""
    parts = [rest.gather(1, first + piece) * weight[..., piece] for piece in range(N_PIECES)]
    return torch.stack(parts).sum(dim=0)
