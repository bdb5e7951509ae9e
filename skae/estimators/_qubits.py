"""Which qubits of a quantum annealer are the units of a Boltzmann machine, and which are coupled."""

import hashlib
import sys
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skae._extras import optional

#: rows of the largest graph that annealers of these families have
FULL_SIZE = {"pegasus": 16, "zephyr": 12}

#: names of what couples units; "complete" couples all partitions
TOPOLOGIES = ("complete", *FULL_SIZE)

# Of a graph without a known layout, so many times as many nodes as are needed are coloured.
_SPARE = 4


class Placement(NamedTuple):
    """Where the units of a machine are.

    Attributes
    ----------
    mask : Tensor of shape (n_units, n_units) or None
        Which units may be coupled; None for all of different partitions.
    qubits : list of length n_units
        Nodes of the graph that the units are, partition after partition.
    """

    mask: Tensor | None
    qubits: list[Hashable]


def is_graph(value: Any) -> bool:
    """Tell a graph of networkx, which need not be installed."""
    networkx = sys.modules.get("networkx")
    return networkx is not None and isinstance(value, networkx.Graph)


def check_topology(topology: Any) -> None:
    """Refuse what is no name and no graph."""
    if isinstance(topology, str) and topology in TOPOLOGIES:
        return
    if not is_graph(topology) or topology.is_directed():
        raise ValueError(
            f"rbm_topology={topology!r} must be one of {', '.join(map(repr, TOPOLOGIES))}, or a graph of "
            "networkx without directions, such as the working graph of an annealer."
        )
    if not topology.number_of_edges():
        raise ValueError("rbm_topology is a graph without edges: its units could not be coupled.")


def identity_of(topology: Any) -> str:
    """Return what tells a topology from others, in this process and in later ones."""
    if isinstance(topology, str):
        return topology
    edges = sorted(repr(sorted(edge, key=repr)) for edge in topology.edges())
    return hashlib.blake2b("\n".join(edges).encode(), digest_size=16).hexdigest()


def place_units(topology: Any, sizes: Sequence[int]) -> Placement:
    """Find units for partitions of these sizes in a graph, or in the full-size one of a name.

    The units of a partition are nodes of one colour: no two of them are coupled. Those near the middle
    of the graph are taken, and for partition 0 those with the most couplings to these, the most of all
    first.
    """
    if isinstance(topology, str) and topology == "complete":
        return Placement(None, list(range(sum(sizes))))
    graph = topology
    if isinstance(topology, str):
        (graphs,) = optional(f"rbm_topology={topology!r}", "calo", "dwave.graphs")
        graph = getattr(graphs, f"{topology}_graph")(FULL_SIZE[topology])
    nodes, colours = _coloured(graph, sum(sizes))
    of_colour: list[list[Any]] = [[] for _ in range(1 + max(colours.values()))]
    for node in nodes:
        of_colour[colours[node]].append(node)
    free, ours = [len(there) for there in of_colour], [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        ours[i] = int(np.argmax(free))
        free[ours[i]] -= sizes[i]
        if free[ours[i]] < 0:
            raise ValueError(
                f"rbm_topology has no room for partitions of {list(sizes)} units that are not coupled "
                f"among themselves: {[len(there) for there in of_colour]} qubits can have one colour. "
                "Use fewer n_components, a larger graph, or rbm_topology='complete'."
            )
    groups = []
    for i, size in enumerate(sizes[1:], 1):
        groups.append(of_colour[ours[i]][:size])
        of_colour[ours[i]] = of_colour[ours[i]][size:]
    latents = {node for group in groups for node in group}
    room = of_colour[ours[0]]
    code = sorted(room, key=lambda node: -len(latents.intersection(graph[node])))[: sizes[0]]
    qubits = [node for group in (code, *groups) for node in group]
    index = {node: i for i, node in enumerate(qubits)}
    mask = torch.zeros(len(qubits), len(qubits), dtype=torch.bool)
    for one, other in graph.edges():
        if one in index and other in index:
            mask[index[one], index[other]] = mask[index[other], index[one]] = True
    return Placement(mask, qubits)


def _coloured(graph: Any, n_needed: int) -> tuple[list[Any], dict[Any, int]]:
    """Return nodes, those nearest to the middle first, and colours that neighbours do not share."""
    family = graph.graph.get("family")
    if family in FULL_SIZE:
        (graphs,) = optional("rbm_topology", "calo", "dwave.graphs")
        place = getattr(graphs, f"{family}_layout")(graph)
        middle = np.mean(list(place.values()), axis=0)
        nodes = sorted(place, key=lambda node: float(np.abs(place[node] - middle).sum()))
        colour = getattr(graphs, f"{family}_four_color")
        return nodes, {node: colour(at) for node, at in _coordinates(graphs, graph, nodes)}
    (networkx,) = optional("rbm_topology", "calo", "networkx")
    nodes = _outwards(networkx, graph)[: _SPARE * n_needed]
    return nodes, networkx.greedy_color(graph.subgraph(nodes), "DSATUR")


def _coordinates(graphs: Any, graph: Any, nodes: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Give for each node its coordinates, which are its label or follow from it."""
    about = graph.graph
    family, labels = about["family"], about.get("labels")
    if labels == "coordinate":
        yield from zip(nodes, nodes, strict=True)
        return
    sizes = (about["rows"],) if family == "pegasus" else (about["rows"], about["tile"])
    convert = getattr(graphs, f"{family}_coordinates")(*sizes)
    known = {"int": f"linear_to_{family}", "nice": f"nice_to_{family}"}
    if labels not in known:
        raise ValueError(
            f"rbm_topology has labels={labels!r}; give a graph with integers for labels."
        )
    yield from ((node, getattr(convert, known[labels])(node)) for node in nodes)


def _outwards(networkx: Any, graph: Any) -> list[Any]:
    """Return the nodes of the largest connected part, from its middle outwards."""
    part = graph.subgraph(max(networkx.connected_components(graph), key=len))

    def from_(node: Any) -> list[Any]:
        return list(networkx.single_source_shortest_path_length(part, node))

    one = from_(next(iter(part)))[-1]
    path = networkx.shortest_path(part, one, from_(one)[-1])
    return from_(path[len(path) // 2])
