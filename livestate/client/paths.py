"""The service's paths; ``make docs`` writes them for the JavaScript client."""

from __future__ import annotations

from typing import Final

STREAM_PATH: Final = "/api/v1/live/calls"  # one call is below it, by its key
SNAPSHOT_PATH: Final = f"{STREAM_PATH}/snapshot"
CLIENTS_PATH: Final = "/api/v1/live/clients"  # which are slow: for administrators
TRUNKS_PATH: Final = "/api/v1/live/trunks"
ENDED_PATH: Final = "/api/v1/live/ended"
COMPANIES_PATH: Final = "/api/v1/live/companies"  # roles that see all calls, as the nodes
NODES_PATH: Final = "/api/v1/live/nodes"
DESTINATIONS_PATH: Final = "/api/v1/live/destinations"
HINTS_PATH: Final = "/api/v1/live/hints"
ALARMS_PATH: Final = "/api/v1/live/alarms"  # one alarm is below it, by its id
HISTORY_PATH: Final = "/api/v1/live/history"
