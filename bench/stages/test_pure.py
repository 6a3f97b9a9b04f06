"""The stages that wait for nothing: the same paths as the gate's, on tables that grow."""

from __future__ import annotations

import pytest

from bench import hot_paths
from bench.stages.conftest import Bench, full
from bench.workload import Message

growing = pytest.mark.parametrize("calls", [1_000, 10_000, 50_000])


def day_of(calls: int) -> list[Message]:
    """Messages that leave so many live calls."""
    return full(calls)[0]


def test_parse(path: Bench) -> None:
    path(hot_paths.parse(day_of(1_000)))


@growing
def test_fold(path: Bench, calls: int) -> None:
    path(hot_paths.fold(day_of(calls)), calls=calls)


@growing
def test_since(path: Bench, calls: int) -> None:
    path(hot_paths.since(day_of(calls)), calls=calls)


@growing
def test_encode(path: Bench, calls: int) -> None:
    path(hot_paths.encode(day_of(calls)), calls=calls)


def test_compress(path: Bench) -> None:
    path(hot_paths.compress(day_of(1_000)))


def test_link(path: Bench) -> None:
    path(hot_paths.link(day_of(1_000)))


@growing
def test_snapshot(path: Bench, calls: int) -> None:
    path(hot_paths.snapshot(day_of(calls)), calls=calls)
