"""Samplers of dimod in the place of Gibbs sampling: their problems, their range, their temperature."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import entr, expit

from skae._extras import optional
from skae._warn import warn
from skae.exceptions import SamplerWarning
from skae.modules.showers.boltzmann import BoltzmannMachine

# Problems, and states of each, from which a temperature is estimated; rounds; how near is near enough;
# and the lowest and highest of which anything is known.
_N_PROBLEMS, _N_READS, _ROUNDS, _NEAR, _MOST = 4, 100, 4, 0.05, 1e3

# How far from 1 the inverse temperature of draws may be, beside four standard errors; fewest draws that
# tell, and share of the states that are to be expected of which fewer are few.
_OFF, _FEWEST, _FEW = 0.1, 50, 0.1


class Temperature(NamedTuple):
    """An inverse temperature, and its standard error."""

    beta: float
    error: float


def check_sampler(sampler: Any, beta: Any = "auto") -> None:
    """Refuse what is no sampler of dimod, and what is no inverse temperature."""
    is_number = isinstance(beta, int | float | np.number) and not isinstance(beta, bool)
    if not (is_number and 0.0 < beta < np.inf) and not (isinstance(beta, str) and beta == "auto"):
        raise ValueError(f"sampler_beta={beta!r} must be 'auto' or a positive number.")
    if sampler is None:
        return
    # a class has properties in the place of what an object of it has
    is_sampler = isinstance(getattr(sampler, "parameters", None), Mapping)
    if not is_sampler or not callable(getattr(sampler, "sample", None)):
        raise TypeError(
            f"sampler={sampler!r} is no sampler of dimod; use one, "
            "dwave.samplers.SimulatedAnnealingSampler() say, or None for block Gibbs sampling."
        )


class Problems:
    """Problems that a sampler is handed: energies of free units, partition 0 clamped to a code.

    The variables are the qubits that the units are, the interactions the couplings that are not zero.

    Parameters
    ----------
    sampler : dimod.Sampler
        What draws.
    machine : BoltzmannMachine
        Whose energies.
    qubits : sequence of length n_units
        What its units are.
    seed : int
        Seed of the first problem, for samplers that take one.
    arguments : dict
        Of ``sampler.sample``.
    """

    def __init__(
        self,
        sampler: Any,
        machine: BoltzmannMachine,
        qubits: Sequence[Hashable],
        seed: int,
        arguments: Mapping[str, Any],
    ):
        (self._dimod,) = optional("sampler", "calo", "dimod")
        bias = machine.bias.detach().double().cpu().numpy()
        couplings = machine.couplings.detach().double().cpu().numpy()
        n_code = machine.sizes[0]
        self.sampler, self.qubits = sampler, list(qubits[n_code:])
        self.bias, self.of_code = bias[n_code:], couplings[:n_code, n_code:]
        self.couplings = couplings[n_code:, n_code:]
        self._edges = np.nonzero(np.triu(self.couplings))
        self.arguments = dict(arguments)
        if "seed" in sampler.parameters:
            self.arguments.setdefault("seed", seed % 2**31)
        if "auto_scale" in sampler.parameters:  # the scale is what sets the temperature
            self.arguments.setdefault("auto_scale", False)

    def draw(self, codes: np.ndarray, scale: float) -> np.ndarray:
        """Draw free units for codes ``(n, n_code)``, from problems with ``scale`` times their energies.

        Rows with the same code are read out of one problem.
        """
        distinct, which, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        drawn = np.empty((len(codes), len(self.qubits)), dtype=np.float32)
        for i, (code, count) in enumerate(zip(distinct, counts, strict=True)):
            drawn[which.ravel() == i] = self._read(self._problem(code, scale), int(count))
        return drawn

    def largest_scale(self, codes: np.ndarray) -> float:
        """Return by what energies may be multiplied to stay within a device's range; inf without one."""
        h_range = _property(self.sampler, "h_range")
        j_range = _property(self.sampler, "extended_j_range") or _property(self.sampler, "j_range")
        largest = np.inf
        for code in np.unique(codes, axis=0) if h_range or j_range else []:
            problem = self._problem(code, 1.0).change_vartype("SPIN", inplace=False)
            for numbers, limits in ((problem.linear, h_range), (problem.quadratic, j_range)):
                if limits is not None and len(numbers):
                    values = np.fromiter(numbers.values(), dtype=np.float64)
                    for most, limit in ((values.max(), limits[1]), (-values.min(), -limits[0])):
                        largest = min(largest, limit / most) if most > 0.0 else largest
        return largest

    def temperature(self, codes: np.ndarray, states: np.ndarray) -> Temperature:
        r"""Estimate at which inverse temperature states were drawn, 1 being the machine's.

        That is the maximum of their pseudolikelihood, of each unit given the others (Besag, 1975).
        """
        field = self._field(codes, states)

        def slope(beta: float) -> float:
            return float((field * (states - expit(beta * field))).sum())

        if slope(-_MOST) <= 0.0 or slope(_MOST) >= 0.0:
            return Temperature(_MOST if slope(0.0) > 0.0 else -_MOST, 0.0)
        beta = brentq(slope, -_MOST, _MOST)
        chance = expit(beta * field)
        of_rows = (field * (states - chance)).sum(axis=1)
        curvature = (field**2 * chance * (1.0 - chance)).sum()
        return Temperature(beta, float(np.sqrt((of_rows**2).sum()) / curvature))

    def settle(self, codes: np.ndarray) -> float:
        """Find what energies are to be multiplied by for draws at an inverse temperature of 1."""
        distinct = np.unique(codes, axis=0)
        some = distinct[
            np.linspace(0, len(distinct) - 1, min(len(distinct), _N_PROBLEMS)).astype(int)
        ]
        some = np.repeat(some, _N_READS, axis=0)
        largest = self.largest_scale(distinct)
        scale = min(1.0, largest)
        for _ in range(_ROUNDS):
            beta, error = self.temperature(some, self.draw(some, scale))
            if abs(beta - 1.0) <= max(_NEAR, 2.0 * error) or not 0.0 < beta < _MOST:
                break
            wanted = min(scale / beta, largest)
            if wanted == scale:
                break
            scale = wanted
        return scale

    def warn_of_others(self, codes: np.ndarray, states: np.ndarray, scale: float) -> None:
        """Warn if states are drawn at another temperature than the machine's, or are few."""
        if len(states) < _FEWEST:
            return
        beta, error = self.temperature(codes, states)
        faults = []
        if abs(beta - 1.0) > _OFF + 4.0 * error:
            at = f"{beta:.3g}" if abs(beta) < _MOST else "infinity"
            faults.append(f"it draws at an inverse temperature of {at} rather than 1")
        _, which, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        for i in np.flatnonzero(counts >= _FEWEST):
            ours = which.ravel() == i
            chance = expit(self._field(codes[ours], states[ours]))
            # the entropy of all is at least that of each given the others
            entropy = (entr(chance) + entr(1.0 - chance)).sum(axis=1).mean()
            expected = min(float(counts[i]), np.exp(min(entropy, 50.0)))
            n_distinct = len(np.unique(states[ours], axis=0))
            if n_distinct < _FEW * expected:
                faults.append(f"of {counts[i]} states it returns {n_distinct} different ones")
                break
        if faults:
            warn(
                f"The sampler does not draw from the machine: {', and '.join(faults)}. Showers will be "
                f"wrong. Energies were multiplied by {scale:.3g}; see sampler_report. A sampler that "
                "sets its temperature by the problem needs to be told: "
                "sampler_arguments={'beta_range': (0.1, 1.0)} of simulated annealing.",
                SamplerWarning,
            )

    def energy(self, codes: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Return the machine's energies of states, but for those of the codes alone, ``(n,)``."""
        linear = self.bias + codes @ self.of_code
        return -((linear + 0.5 * states @ self.couplings) * states).sum(axis=1)

    def _field(self, codes: np.ndarray, states: np.ndarray) -> np.ndarray:
        return self.bias + codes @ self.of_code + states @ self.couplings

    def _problem(self, code: np.ndarray, scale: float) -> Any:
        linear = -scale * (self.bias + code @ self.of_code)
        quadratic = -scale * self.couplings[self._edges]
        return self._dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear, (*self._edges, quadratic), 0.0, "BINARY", variable_order=self.qubits
        )

    def _read(self, problem: Any, count: int) -> np.ndarray:
        result = self.sampler.sample(problem, num_reads=count, **self.arguments)
        if "seed" in self.sampler.parameters:
            self.arguments["seed"] = (self.arguments["seed"] + 1) % 2**31
        order = [result.variables.index(qubit) for qubit in self.qubits]
        states = np.repeat(result.record.sample, result.record.num_occurrences, axis=0)
        if len(states) < count:
            raise RuntimeError(
                f"sampler={self.sampler!r} returned {len(states)} states where {count} were asked for."
            )
        return (states[:count, order] > 0).astype(np.float32)  # −1 and 1, or 0 and 1


def _property(sampler: Any, name: str) -> Any:
    """Return a property of a sampler, or of what it hands its problems on to."""
    properties = getattr(sampler, "properties", {})
    if name in properties:
        return properties[name]
    found = (_property(child, name) for child in getattr(sampler, "children", []))
    return next((value for value in found if value is not None), None)
