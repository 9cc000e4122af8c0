"""Small changes ("mutants") of the package's source, made by cosmic-ray, and a seeded choice of them.

A mutant that a test suite does not notice is a fault that the suite would not notice either. cosmic-ray knows the
changes (`<` becomes `<=`, `+` becomes `-`, `True` becomes `False`, a number grows by one, a decorator goes, …); this
file leaves out those that cannot change what the program does, and chooses.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What is mutated: the parts whose faults lose a run or its results.
PACKAGES = ("engine", "models", "inference", "core", "config")


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: The file, relative to the repository, with ``/``.
        definition: The function or class that is changed, empty at the level of the module.
        operator: cosmic-ray's name of the change.
        occurrence: Which place of the file this operator changes, counted from 0.
        first, last: The lines of the file that the changed part spans, counted from 1.
        text: The first of these lines, without its indentation.
        column: Where in that line the changed part starts, counted from the line's first sign.
    """

    file: str
    definition: str
    operator: str
    occurrence: int
    first: int
    last: int
    text: str
    column: int

    def key(self) -> str:
        """What names the mutant in lists: it stays the same when lines above it come or go."""
        return f"{self.file} {self.definition} `{self.text}` {self.column} {self.operator}"

    def mutated(self, root: Path) -> str:
        """The text of the changed file."""
        import cosmic_ray.plugins
        from cosmic_ray.mutating import mutate_code

        source = (root / self.file).read_text(encoding="utf-8")
        changed = mutate_code(source, cosmic_ray.plugins.get_operator(self.operator)(), self.occurrence)
        if changed is None:
            raise ValueError(f"{self.file}: there is no place {self.occurrence} for {self.operator}")
        return changed


def source_files(root: Path, packages: Iterable[str] = PACKAGES) -> list[Path]:
    """The Python files of the packages, sorted."""
    return sorted(path for package in packages for path in (root / "uir" / package).rglob("*.py"))


def every_mutant(root: Path, path: Path) -> Iterator[Mutant]:
    """All mutants of one file that cosmic-ray knows, in the order of its operators."""
    import cosmic_ray.plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.ast.ast_query import ASTQuery

    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    nodes = list(ast_nodes(get_ast(source)))
    for name in cosmic_ray.plugins.operator_names():
        operator_class = cosmic_ray.plugins.get_operator(name)
        if operator_class.arguments():
            continue  # it needs names of variables, which only a person can choose
        operator = operator_class()
        places = ((node, start, end) for node in nodes for start, end in operator.mutation_positions(node))
        for occurrence, (node, start, end) in enumerate(places):
            line = lines[start[0] - 1]
            yield Mutant(
                file=path.relative_to(root).as_posix(),
                definition=ASTQuery(node).get_definition_name() or "",
                operator=name,
                occurrence=occurrence,
                first=start[0],
                last=end[0],
                text=line.strip(),
                column=start[1] - (len(line) - len(line.lstrip())),
            )


class _Behaviour(ast.NodeTransformer):
    """Takes away what a right program never uses: annotations, imports for type checkers, and `zip(strict=...)`."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        names = [part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)]
        return None if names == ["TYPE_CHECKING"] else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "zip":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        return node


def behaviour(source: str) -> str | None:
    """The program without its annotations, as a text to compare; None if it is no Python at all."""
    try:
        return ast.dump(_Behaviour().visit(ast.parse(source)))
    except SyntaxError:
        return None


def _rank(seed: int, *parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, (seed, *parts))).encode()).hexdigest()


def choose(root: Path, files: Iterable[Path], count: int, seed: int) -> list[Mutant]:
    """A seeded sample: at most one mutant of a place, every place as likely as every other.

    The choice follows from hashes of the changed lines' texts, so that it hardly changes when other lines do. Mutants
    that leave the program's behaviour alone (changes of annotations) or are no Python are passed over.
    """
    places: dict[tuple[str, str, str, int], list[Mutant]] = {}
    for path in files:
        for mutant in every_mutant(root, path):
            places.setdefault((mutant.file, mutant.definition, mutant.text, mutant.column), []).append(mutant)
    chosen: list[Mutant] = []
    originals: dict[str, str | None] = {}
    for place in sorted(places, key=lambda place: _rank(seed, *place)):
        mutant = min(places[place], key=lambda mutant: _rank(seed, *place, mutant.operator, mutant.occurrence))
        if mutant.file not in originals:
            originals[mutant.file] = behaviour((root / mutant.file).read_text(encoding="utf-8"))
        if behaviour(mutant.mutated(root)) in (None, originals[mutant.file]):
            continue
        chosen.append(mutant)
        if len(chosen) == count:
            break
    return chosen
