"""How much hits must fluctuate where what they hold is scaled to the energy of their layer."""

from collections.abc import Callable

from torch import Tensor

# Steps in which spreads are widened, and the most that they are multiplied by.
_N_STEPS, _MOST = 3, 2.0


def widening(spread: Tensor, held: Tensor, sums: Callable[[Tensor], Tensor]) -> Tensor:
    r"""Return what spreads of hits are multiplied by so that they are right behind the scaling.

    It takes from each relative deviation :math:`r_i` the mean one of the layer, weighted by shares of its
    energy: of variances :math:`t_i` are left :math:`(1 - 2 f_i) t_i + \sum_j f_j^2 t_j`. A hit that holds
    half of a layer would fluctuate by half as much as it should.

    Parameters
    ----------
    spread : Tensor of shape (m,)
        Relative spreads that hits are to have.
    held : Tensor of shape (m,)
        What they hold, on average.
    sums : callable
        Maps a number of each hit to the sum over its layer.
    """
    wanted, share = spread.square(), held / sums(held)
    variance = wanted
    for _ in range(_N_STEPS):
        left = (1.0 - 2.0 * share) * variance + sums(share.square() * variance)
        variance = variance * (wanted / left.clamp_min(1e-30))
        variance = variance.clamp(wanted, _MOST**2 * wanted)
    # where nothing is wanted, or a hit is alone in its layer, nothing is left to be widened
    return (variance / wanted.clamp_min(1e-30)).sqrt().clamp_min(1.0)
