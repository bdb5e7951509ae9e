"""Values that step as most do to and from pixels that little is known of: a Gaussian random walk."""

import torch
from torch import Tensor

# Most that neighbours say of values, in what rows say of those of the typical pixel.
_MOST_STIFFNESS = 1e6


def rare_links(weight: Tensor) -> Tensor:
    """Return 1 for each step along the pixels, ``(d - 1,)``, that ends where rows tell little, else 0.

    That is less than half as much as of the typical pixel; ``weight`` ``(d,)`` says how much, in inverse
    squares.
    """
    rare = ~(weight > 0.5 * weight.median())
    return (rare[1:] | rare[:-1]).to(weight)


def stiffness_of(values: Tensor, weight: Tensor, links: Tensor) -> Tensor:
    """Return the inverse mean squares of the other steps, ``(m,)``; values and weights are ``(m, d)``."""
    steps = values.diff(dim=1)[:, links == 0.0]
    if not steps.shape[1]:
        return torch.zeros_like(values[:, 0])
    most = _MOST_STIFFNESS * weight.median(dim=1).values
    return torch.minimum(1.0 / steps.square().mean(dim=1).clamp_min(1e-300), most)


def prior_precision(stiffness: Tensor, links: Tensor) -> Tensor:
    """Return what neighbours tell of values that are free themselves, ``(d, m)``."""
    n_links = torch.nn.functional.pad(links, (1, 0)) + torch.nn.functional.pad(links, (0, 1))
    return n_links[:, None] * stiffness


def smooth_solution(squares: Tensor, products: Tensor, stiffness: Tensor, links: Tensor) -> Tensor:
    """Return the values ``(m, d)`` that are likeliest if steps along these links are Gaussian.

    They minimise the sum of :math:`v_j^T S_j v_j / 2 - p_j^T v_j` and of half the squared steps times
    their stiffness.
    """
    own = squares + torch.diag_embed(prior_precision(stiffness, links))
    to_next = -torch.diag_embed(links[:, None] * stiffness)
    return solve_chain(own, to_next, products[:, :, None])[:, :, 0].T


def solve_chain(own: Tensor, to_next: Tensor, right: Tensor) -> Tensor:
    """Solve a symmetric, positive definite system of blocks that see their neighbours alone.

    Every other block is eliminated, all at once, which leaves such a chain again (cyclic reduction).

    Parameters
    ----------
    own : Tensor of shape (n, m, m)
        Blocks on the diagonal.
    to_next : Tensor of shape (n - 1, m, m)
        Blocks at its right.
    right : Tensor of shape (n, m, 1)
        The right-hand side.

    Returns
    -------
    solution : Tensor of shape (n, m, 1)
    """
    if len(own) == 1:
        return torch.linalg.solve(own, right)
    m = own.shape[1]
    before, behind = to_next[::2].mT, to_next[1::2]
    if len(behind) < len(before):  # the last odd one has none behind
        behind = torch.cat([behind, torch.zeros_like(before[:1])])
    solved = torch.linalg.solve(own[1::2], torch.cat([before, behind, right[1::2]], dim=2))
    of_before, of_behind, of_right = solved.split([m, m, 1], dim=2)
    kept, rest = own[::2].clone(), right[::2].clone()
    # odd ones that have a neighbour in front, and behind
    n_left, n_right = len(before), len(kept) - 1
    kept[:n_left] -= before.mT @ of_before
    rest[:n_left] -= before.mT @ of_right
    kept[1:] -= behind[:n_right].mT @ of_behind[:n_right]
    rest[1:] -= behind[:n_right].mT @ of_right[:n_right]
    even = solve_chain(kept, -before[:n_right].mT @ of_behind[:n_right], rest)
    odd = of_right - of_before @ even[:n_left]
    odd[:n_right] -= of_behind[:n_right] @ even[1:]
    solution = torch.empty_like(right)
    solution[::2], solution[1::2] = even, odd
    return solution
