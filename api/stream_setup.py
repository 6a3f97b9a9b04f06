"""Builds what serves streams and snapshots, for every role; a part of the composition roots."""

from __future__ import annotations

from collections.abc import Callable

from api.auth.verifier import Verifier
from api.settings import Settings
from api.stream.filtered_views import Filters
from api.stream.registry import StreamHub, StreamRegistry
from api.stream.snapshots import SnapshotHub, Snapshots
from livestate.process.clock import now_ms


def make_streams(
    settings: Settings, hub: StreamHub, verifier: Verifier, not_ready: Callable[[], str | None]
) -> StreamRegistry:
    """The open streams, within the limits of the settings."""
    return StreamRegistry(
        hub,
        verifier,
        settings.stream_seconds,
        settings.max_streams,
        settings.max_streams_per_user,
        settings.max_streams_per_address,
        ready=lambda: not_ready() is None,
        filters=Filters(settings.max_filters, settings.max_filters_per_user),
    )


def make_snapshots(settings: Settings, hub: SnapshotHub) -> Snapshots:
    """The JSON documents, within the limits of the settings."""
    return Snapshots(
        hub,
        now_ms,
        most=settings.max_snapshots,
        most_per_user=settings.max_snapshots_per_user,
    )
