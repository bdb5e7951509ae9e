"""Names of columns: which component of which four-momentum each stands for."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["find_components", "shown", "unit_of"]

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
_NAME = re.compile(
    r"(?P<front>.*[._ /:-]|[a-z0-9]*jets?\d*|)"
    rf"(?:{'|'.join(f'(?P<{component}>{alias})' for component, alias in _ALIASES.items())})"
    r"(?P<back>|[._ ]?\d+|[._ ][\w. ]+?)"
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
    if all(list(names).count(name) == 1 for name in wanted):
        return _in_one_unit([list(names).index(name) for name in wanted], names)
    objects: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, name in enumerate(names):
        if (known := _component_of(name)) is not None:
            component, of = known
            objects[of][component].append(place)
    if not objects:
        return None
    components = [known[0] if (known := _component_of(name)) else name for name in wanted]
    complete = [
        one for one in objects.values() if all(len(one.get(c, ())) == 1 for c in components)
    ]
    if len(complete) != 1:
        present = set().union(*objects.values())
        missing = [name for name, c in zip(wanted, components, strict=True) if c not in present]
        lack = f"no {', '.join(missing)}" if missing else f"no single set of {', '.join(wanted)}"
        raise ValueError(f"its columns {shown(names, wanted)} name {lack}")
    return _in_one_unit([complete[0][component][0] for component in components], names)


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
    components = [known[0] if (known := _component_of(name)) else name for name in wanted]

    def likeness(name: str) -> tuple[float, bool]:
        plain = known[0] if (known := _component_of(name)) else name.lower()[:_LONGEST]
        ratios = [difflib.SequenceMatcher(None, plain, c.lower()).ratio() for c in components]
        return max(ratios, default=0.0), "jet" in name.lower()

    closest = sorted(names, key=likeness, reverse=True)[:5]
    return f"(the closest of {len(names)}: {', '.join(map(repr, closest))})"


def _in_one_unit(places: list[int], names: Sequence[str]) -> list[int]:
    unit_of([names[place] for place in places])
    return places


def _component_of(name: str) -> tuple[str, str] | None:
    """Return the component that a name stands for, and the object whose component it is."""
    match = _matched(name)
    if match is None:
        return None
    component = next(component for component in _ALIASES if match[component] is not None)
    return component, f"{match['front']} {match['back']}"


def _matched(name: str) -> re.Match | None:
    plain = re.sub(r"[${}^\\\\]", "", name).strip().lower()
    return _NAME.fullmatch(plain) if len(plain) <= _LONGEST else None
