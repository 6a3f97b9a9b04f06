"""One small fault at a time in a module's source: what ``make mutants`` plants.

A mutation is one node of the syntax tree, changed: a comparison turned round, ``and`` for ``or``, a
number off by one, a condition that always or never holds, a statement that is left out. The classes
of mutation are those of the mutation-testing tools (mutmut, cosmic-ray).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv,
}  # fmt: skip
_PAIRS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change to one line of a module."""

    line: int
    what: str
    module: str  # its source, unchanged
    node: int  # the changed node's number in ``ast.walk``
    change: Callable[[ast.AST], None]

    @property
    def source(self) -> str:
        """The whole module with the change."""
        tree = ast.parse(self.module)
        self.change(list(ast.walk(tree))[self.node])
        return ast.unparse(ast.fix_missing_locations(tree))


def mutations(source: str) -> list[Mutation]:
    """Every mutation of a module, in the order of its lines. Type annotations, docstrings and
    module constants that are only documentation are left alone."""
    tree = ast.parse(source)
    skipped = _annotations(tree)
    found = [
        Mutation(node.lineno, what, source, number, change)
        for number, node in enumerate(ast.walk(tree))
        if isinstance(node, ast.stmt | ast.expr) and id(node) not in skipped
        for what, change in _changes(node)
    ]
    return sorted(found, key=lambda one: (one.line, one.what))


def _annotations(tree: ast.AST) -> set[int]:
    """Nodes that are no behaviour: annotations, assertions (``zip(strict=True)`` is one), type
    aliases, and decorators (of ``dataclass(frozen=True, slots=True)`` only mypy and memory take
    notice)."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            roots += node.decorator_list
        if isinstance(node, ast.AnnAssign):
            roots.append(node.annotation)
            if "TypeAlias" in ast.dump(node.annotation) and node.value is not None:
                roots.append(node.value)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            roots.append(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            roots.append(node.returns)
        elif isinstance(node, ast.Assert) or (
            isinstance(node, ast.keyword) and node.arg == "strict"
        ):
            roots.append(node)
    return {id(inner) for root in roots for inner in ast.walk(root)}


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if (other := _COMPARED.get(type(operator))) is not None:
                yield f"{type(operator).__name__} → {other.__name__}", _set_item("ops", at, other)
    elif isinstance(node, ast.BinOp) and (swap := _COMPUTED.get(type(node.op))) is not None:
        yield f"{type(node.op).__name__} → {swap.__name__}", _set("op", swap)
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} → {swapped.__name__}", _set("op", swapped)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", _negate
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} → {node.value + 1}", _add_one
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} → {not node.value}", _flip
    elif isinstance(node, ast.Name) and node.id in _PAIRS:
        yield f"{node.id} → {_PAIRS[node.id]}", _rename
    elif isinstance(node, ast.Return) and not _is_none(node.value):
        yield "returns None", _return_none
    elif isinstance(node, ast.Continue | ast.Break):
        yield f"no {type(node).__name__.lower()}", _leave_out
    elif _is_effect(node):
        yield "statement left out", _leave_out


def _is_none(value: ast.expr | None) -> bool:
    """What ``return None`` and a bare ``return`` return."""
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _is_effect(node: ast.AST) -> bool:
    """A call for its effect, or a change of an attribute or an item."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    targets = node.targets if isinstance(node, ast.Assign) else (
        [node.target] if isinstance(node, ast.AugAssign) else [])  # fmt: skip
    return any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)


def _set(name: str, operator: type[ast.AST]) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, name, operator())


def _set_item(name: str, at: int, operator: type[ast.AST]) -> Callable[[ast.AST], None]:
    return lambda node: getattr(node, name).__setitem__(at, operator())


def _negate(node: ast.AST) -> None:
    assert isinstance(node, ast.If | ast.IfExp | ast.While)
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _add_one(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    node.value += 1  # type: ignore[operator]


def _flip(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    node.value = not node.value


def _rename(node: ast.AST) -> None:
    assert isinstance(node, ast.Name)
    node.id = _PAIRS[node.id]


def _return_none(node: ast.AST) -> None:
    assert isinstance(node, ast.Return)
    node.value = ast.Constant(None)


def _leave_out(node: ast.AST) -> None:
    """The node becomes ``pass``, in place: its class and fields are replaced."""
    node.__class__ = ast.Pass  # type: ignore[assignment]
    for name in list(node._fields):
        node.__dict__.pop(name, None)
