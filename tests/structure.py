"""How the code is built, in numbers: what a plain fit goes through, and how large things are.

python tests/structure.py
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import networkx as nx
import numpy as np

import skae

ROOM = Path(skae.__file__).parent

_BRANCHES = (
    ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case,
)  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def path_of(call: Callable[[], object]) -> tuple[set[str], set[tuple[str, str]], int]:
    """Return the files and functions of skae that a call enters, and its moves between files."""
    files, functions, moves, stack = set(), set(), 0, []

    def watch(frame, event, _):
        nonlocal moves
        code = frame.f_code
        if not code.co_filename.startswith(str(ROOM)):
            return
        if event == "call":
            files.add(code.co_filename)
            functions.add((code.co_filename, code.co_qualname))
            moves += bool(stack) and stack[-1] != code.co_filename
            stack.append(code.co_filename)
        elif event == "return":
            stack.pop()

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files, functions, moves


def a_plain_fit() -> tuple[set[str], set[tuple[str, str]], int]:
    """Return the path of one epoch of one batch, behind the constructor, which is generated."""
    X = np.random.default_rng(0).normal(size=(100, 4))
    # once for what is imported, and cached, at first
    first, second = (skae.JetAutoencoder(max_epochs=1, random_state=0) for _ in range(2))
    first.fit(X)
    return path_of(lambda: second.fit(X))


def sources() -> dict[str, str]:
    """Return the source of each module of skae, by its dotted name."""
    found = {}
    for path in sorted(ROOM.rglob("*.py")):
        parts = path.relative_to(ROOM.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return found


def functions() -> Iterator[tuple[str, int, int]]:
    """Return name, lines and cyclomatic complexity (McCabe, 1976) of each function."""
    for module, source in sources().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, _FUNCTIONS):
                yield f"{module}.{node.name}", _lines(node), _complexity(node)


def _lines(function: ast.FunctionDef) -> int:
    """Count the lines of a function, but for its docstring."""
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def _complexity(function: ast.FunctionDef) -> int:
    """Count the ways through a function; those of functions inside it are theirs."""
    count, nodes = 1, list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        if isinstance(node, _FUNCTIONS):
            continue
        count += isinstance(node, _BRANCHES)
        count += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        nodes += ast.iter_child_nodes(node)
    return count


def imports() -> dict[str, set[str]]:
    """Return which modules of skae each one imports, for type checkers too, at its top."""
    known = sources()
    found: dict[str, set[str]] = {name: set() for name in known}
    for module, source in known.items():
        for node in _at_the_top(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                continue
            found[module] |= {name for name in names if name in known} - {module}
    return found


def _at_the_top(tree: ast.AST) -> Iterator[ast.AST]:
    """Go through a module's nodes but those inside of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, _FUNCTIONS):
            yield node
            yield from _at_the_top(node)


def circles() -> list[set[str]]:
    """Return the groups of modules that import one another; a package is what its file imports."""
    graph = nx.from_dict_of_lists(imports(), nx.DiGraph)
    return [group for group in nx.strongly_connected_components(graph) if len(group) > 1]


def main() -> None:
    """Print the numbers."""
    files, entered, moves = a_plain_fit()
    print(f"a plain fit: {len(files)} files, {len(entered)} functions, {moves} moves between files")
    lines = {name: source.count("\n") for name, source in sources().items()}
    longest = max(lines, key=lines.get)
    print(f"skae: {sum(lines.values())} lines, the longest file {longest} {lines[longest]}")
    table = list(functions())
    mean = np.mean([complexity for *_, complexity in table])
    worst = max(table, key=lambda row: row[2])
    print(f"complexity: mean {mean:.2f}, at most {worst[2]} ({worst[0]})")
    long = max(table, key=lambda row: row[1])
    print(f"longest function: {long[1]} lines ({long[0]})")
    print(f"circles of imports: {len(circles())} {circles() or ''}")


if __name__ == "__main__":
    main()
