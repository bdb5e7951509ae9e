"""Names of columns: which component of which four-momentum each stands for."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from skae.physics.kinematics import COORDINATES

__all__ = ["component_of", "find_components", "find_momentum", "shown", "unit_of"]

_ALIASES = {
    "E": r"e|en|energy",
    "m": r"m|mass",
    "pt": r"p_?t|transverse[ _]?momentum",
    "eta": r"eta|η|pseudorapidity",
    "phi": r"phi|φ|ϕ|azimuth",
    "px": r"p_?x",
    "py": r"p_?y",
    "pz": r"p_?z",
}
_LONGEST = 100  # a search in longer names might take long
_MOST_SHOWN = 12  # names that a message lists
# What the jets of an event are called, as letters alone: in NanoAOD and Delphes, and in PHYSLITE.
_JETS = re.compile(r"jets?|(?:analysis)?jets(?:auxdyn|aux)?")
_NAME = re.compile(
    r"(?P<front>.*[._ /:-]|[a-z0-9]*jets?\d*|)"
    rf"(?:{'|'.join(f'(?P<{component}>{alias})' for component, alias in _ALIASES.items())})"
    r"(?P<back>|[._ ]?\d+|j(?:et)?\d+|[._ ][\w. ]+?)"
    r"(?:[ _/]*[(\[]?(?:(?P<unit>[kmgt]?ev)(?:/c2?)?|rad|radians?)[)\]]?)?"
)


def find_components(wanted: Sequence[str], names: Sequence[str]) -> list[int] | None:
    r"""Return where each of the wanted components of a four-momentum stands among named columns.

    Names are matched as they are; else regardless of case, with aliases (``p_T``, ``energy``, ``mass``,
    ``η``), with an object's name in front or behind (``jet_pt``, ``Jet.PT``, ``pt_1``), which must be the
    same for all four, and units (``pt [GeV]``).

    Parameters
    ----------
    wanted : sequence of str
        Of E, m, pt, eta, phi, px, py, pz; or names as they stand in ``names``.
    names : sequence of str
        Names of all columns.

    Returns
    -------
    places : list of int, or None
        One place for each wanted component; None if not a single name is that of a component.

    Raises
    ------
    ValueError
        If some names are known, but do not give each wanted component exactly once, or state several
        units.
    """
    names = list(names)
    if all(names.count(name) == 1 for name in wanted):
        return _in_one_unit([names.index(name) for name in wanted], names)
    objects = _objects(names)
    if not objects:
        return None
    components = [component_of(name) or name for name in wanted]
    complete = [one for one in objects.values() if _has_once(one, components)]
    if len(complete) != 1:
        present = set().union(*objects.values())
        missing = [name for name, c in zip(wanted, components, strict=True) if c not in present]
        lack = f"no {', '.join(missing)}" if missing else f"no single set of {', '.join(wanted)}"
        raise ValueError(f"its columns {shown(names, missing or wanted)} name {lack}")
    return _in_one_unit([complete[0][component][0] for component in components], names)


def find_momentum(names: Sequence[str]) -> dict[str, int] | None:
    r"""Return which four of the named columns are a four-momentum, and where they stand.

    Names are matched as those of :func:`find_components` are. Of several objects the one that is called
    "jet" is meant ("Jet_pt" beside "Muon_pt"); of several sets of one object the first of
    ``COORDINATES``.

    Parameters
    ----------
    names : sequence of str
        Names of all columns.

    Returns
    -------
    places : dict of int by str, or None
        Where E, pt, eta and phi stand, say; None if not a single name is that of a component.

    Raises
    ------
    ValueError
        If some names are known, but are not those of exactly one four-momentum, or state several units.
    """
    names = list(names)
    for components in COORDINATES:
        if all(names.count(name) == 1 for name in components):
            return _placed(components, [names.index(name) for name in components], names)
    if not (objects := _objects(names)):
        return None
    complete = [
        (of, components)
        for of, one in objects.items()
        for components in COORDINATES
        if _has_once(one, components)
    ]
    found = dict(reversed(complete))  # the first set of each
    meant = [of for of in objects if _is_jet(of)] or list(objects)
    chosen = [of for of in meant if of in found]
    if len(chosen) == 1:
        components, one = found[chosen[0]], objects[chosen[0]]
        return _placed(components, [one[component][0] for component in components], names)
    if chosen:
        examples = [names[objects[of][found[of][0]][0]] for of in chosen]
        raise ValueError(f"its columns name several four-momenta: {shown(examples)}")
    present = set().union(*(objects[of] for of in meant))
    closest = max(COORDINATES, key=lambda components: len(present & set(components)))
    missing = [component for component in closest if component not in present]
    lack = f"no {', '.join(missing)}" if missing else f"no single set of {', '.join(closest)}"
    raise ValueError(f"its columns {shown(names, missing or closest)} name {lack}")


def _objects(names: list[str]) -> dict[tuple[str, str], dict[str, list[int]]]:
    """Return the places of components by the object whose they are."""
    objects: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, name in enumerate(names):
        if (known := _known(name)) is not None:
            component, of = known
            objects[of][component].append(place)
    return objects


def _has_once(one: dict[str, list[int]], components: Iterable[str]) -> bool:
    return all(len(one.get(component, ())) == 1 for component in components)


def _placed(components: Sequence[str], places: list[int], names: list[str]) -> dict[str, int]:
    return dict(zip(components, _in_one_unit(places, names), strict=True))


def _is_jet(of: tuple[str, str]) -> bool:
    front, back = of
    return not back and bool(_JETS.fullmatch(re.sub(r"[^a-z]", "", front.rpartition("/")[2])))


def unit_of(names: Sequence[str]) -> str | None:
    """Return the unit of energies that names state, "GeV" of "pt [GeV]" say, or None where none do.

    Raises
    ------
    ValueError
        If they state several: a four-momentum has one.
    """
    found = {match["unit"] for name in names if (match := _matched(name)) and match["unit"]}
    if len(found) > 1:
        raise ValueError(f"its columns {shown(names)} are in several units; bring them to one")
    return found.pop()[:-2].upper() + "eV" if found else None


def shown(names: Iterable[str], wanted: Sequence[str] = ()) -> str:
    """Return names for a message; of many the five that are most like the wanted ones."""
    names = list(names)
    if len(names) <= _MOST_SHOWN:
        return str(names)
    known = [(name.lower()[:_LONGEST], component_of(name)) for name in map(str, wanted)]

    def likeness(name: str) -> tuple[float, bool]:
        plain, component = name.lower()[:_LONGEST], component_of(name)
        ratios = [
            0.9 if c and component == c else difflib.SequenceMatcher(None, plain, w).ratio()
            for w, c in known
        ]
        return max(ratios, default=0.0), "jet" in plain

    closest = sorted(names, key=likeness, reverse=True)[:5]
    return f"(the closest of {len(names)}: {', '.join(map(repr, closest))})"


def _in_one_unit(places: list[int], names: Sequence[str]) -> list[int]:
    unit_of([names[place] for place in places])
    return places


def component_of(name: str, alone: bool = False) -> str | None:
    """Return the component of a four-momentum that a name stands for.

    ``alone``, nothing but a number may stand behind it: an error, "eta_err", is no component.
    """
    if (known := _known(name)) is None:
        return None
    component, (_, back) = known
    return component if not alone or re.fullmatch(r"\W?\d*", back.replace("_", "")) else None


def _known(name: str) -> tuple[str, tuple[str, str]] | None:
    """Return the component that a name stands for, and the object whose component it is."""
    match = _matched(name)
    if match is None:
        return None
    component = next(component for component in _ALIASES if match[component] is not None)
    return component, (match["front"], match["back"])


def _matched(name: str) -> re.Match | None:
    plain = re.sub(r"[${}^\\\\]", "", name).strip().lower()
    return _NAME.fullmatch(plain) if len(plain) <= _LONGEST else None
