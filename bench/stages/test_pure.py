"""The stages that wait for nothing: the same paths as the gate's, on tables that grow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import paths
from bench.day import Message
from bench.stages.conftest import Bench

Day = Callable[[int], list[Message]]

growing = pytest.mark.parametrize("calls", [1_000, 10_000, 50_000])


def test_parse(path: Bench, day: Day) -> None:
    path(paths.parse(day(1_000)))


@growing
def test_fold(path: Bench, day: Day, calls: int) -> None:
    path(paths.fold(day(calls)), calls=calls)


@growing
def test_since(path: Bench, day: Day, calls: int) -> None:
    path(paths.since(day(calls)), calls=calls)


@growing
def test_encode(path: Bench, day: Day, calls: int) -> None:
    path(paths.encode(day(calls)), calls=calls)


def test_compress(path: Bench, day: Day) -> None:
    path(paths.compress(day(1_000)))


def test_link(path: Bench, day: Day) -> None:
    path(paths.link(day(1_000)))


@growing
def test_snapshot(path: Bench, day: Day, calls: int) -> None:
    path(paths.snapshot(day(calls)), calls=calls)
