"""The mutations that ``make mutants`` plants are real changes, each of one place."""

from __future__ import annotations

from tests.mutants.operators import mutations

SOURCE = '''
def f(a: int, b: list[int] | None) -> int:
    """Not 1 mutation of a docstring."""
    if a < 2 and b is not None:
        b.append(a)
    assert len(list(zip([a], [a], strict=True))) == 1
    return max(a, 3)


def g(a: int) -> None:
    return None
'''


def test_each_mutation_changes_one_place_and_still_parses() -> None:
    found = {(one.line, one.what) for one in mutations(SOURCE)}
    assert found == {
        (4, "condition negated"), (4, "And → Or"), (4, "Lt → LtE"), (4, "2 → 3"),
        (4, "IsNot → Is"), (5, "statement left out"), (7, "returns None"), (7, "max → min"),
        (7, "3 → 4"),
    }  # fmt: skip
    assert all(compile(one.source, "m", "exec") for one in mutations(SOURCE))


def test_a_mutated_module_behaves_differently() -> None:
    results = set()
    for one in mutations(SOURCE):
        space: dict[str, object] = {}
        exec(one.source, space)
        taken: list[int] = []
        try:
            results.add((space["f"](2, taken), tuple(taken), space["f"](9, None)))  # type: ignore[operator]
        except AttributeError:
            results.add("raises")
    assert len(results) >= 6
