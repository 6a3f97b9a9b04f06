"""All settings, with defaults and descriptions; ``docs/settings.md`` is made from it.

Read by the composition root and the commands only (import-linter enforces this); other modules
receive arguments. ``api/environment.py`` reads the environment.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from api.login_settings import LoginSettings
from api.setting_types import (
    Address,
    Bind,
    Countries,
    Country,
    Hints,
    Inbox,
    NatsUrl,
    OtlpUrl,
    Pairs,
    Prefix,
    Proxies,
    RedisUrl,
    Subject,
    Token,
    TraceUrl,
    count,
    number,
    one_of,
)
from livestate.redis.connection import Access

PREFIX: Final = "LIVESTATE_"


class Settings(LoginSettings):
    """One frozen value. Each variable is ``LIVESTATE_`` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    role: Annotated[str, one_of("all", "engine", "edge")] = Field(
        "all",
        description="`all`: one process does everything. `engine`: folds events, writes Redis and "
        "publishes to edges; serves no client. `edge`: serves clients from an engine's frames "
        "(docs/scale.md).",
    )
    bind: Bind = Field(
        "127.0.0.1:8080",
        description="Address of the page and the API, or a unix socket: "
        "`unix:/run/livestate/http.sock`, for its owner and group. Put a TLS proxy in front "
        "(docs/proxies.md).",
    )
    admin_bind: Address = Field(
        "127.0.0.1:9090",
        description="Address of `/healthz`, `/readyz`, `/statusz` and `/metrics`. From outside the "
        "loopback (a kubelet, a Prometheus on another machine) the last two require "
        "`LIVESTATE_ADMIN_TOKEN`.",
    )
    admin_token: Token | None = Field(
        None,
        description="Bearer token that `/statusz` and `/metrics` require from clients outside the "
        "loopback. Unset, they are refused there.",
    )
    nats_url: NatsUrl = Field(
        "nats://127.0.0.1:4222",
        description="NATS server that delivers `call.events.>`; for a cluster, several separated "
        "by commas. `tls://` requires TLS. Passwords are percent-encoded.",
    )
    nats_creds: str | None = Field(
        None,
        description="NATS credentials file (user JWT and seed), read again for each connection. "
        "Its user needs the rights of `livestate` in deploy/nats.conf.",
    )
    nats_subject: Subject = Field(
        "call.events.>",
        description="Subject of events. With `nodes.*.call.events.>` nats-server itself adds the "
        "node to the subject (deploy/nats-vouched.conf), and a message that names another node is "
        "rejected; CDRs are then read from `nodes.*.cdr.raw`.",
    )
    pairs: Pairs = Field(
        "",
        description="Nodes that replicate each other's dialogs (DMQ), separated by spaces, groups "
        "by commas: `kam-1 kam-2, kam-3 kam-4`. A node may report calls of its own group only. "
        "Unset, any node may report any other node's calls, but with `nodes.*.call.events.>` none "
        "may.",
    )
    nats_inbox: Inbox = Field(
        "_INBOX.livestate",
        description="Prefix of reply subjects. A NATS user that may subscribe only to its own "
        "prefix cannot read replies to others.",
    )
    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis or Valkey that holds `active_calls`: `redis://`, `rediss://` (TLS), "
        "`unix://`, `redis+sentinel://host,host/group/0` or `redis+cluster://host,host` (with TLS "
        "`rediss+…`). User and password are percent-encoded. See [redis.md](redis.md).",
    )
    redis_password: str | None = Field(
        None,
        description="Password of the Redis user, as it is; it takes the place of one in the URL.",
    )
    redis_sentinel_password: str | None = Field(
        None, description="Password of the Sentinels, as it is, where they have one of their own."
    )
    redis_ca_file: str | None = Field(
        None,
        description="CA certificates (PEM) that sign the certificate of a Redis with TLS. Unset: "
        "those of the system. This file and the next two are read again when they change.",
    )
    redis_cert_file: str | None = Field(
        None, description="Client certificate (PEM) for a Redis that demands one."
    )
    redis_key_file: str | None = Field(
        None, description="Key of the client certificate (PEM); unset if it is in the same file."
    )
    redis_prefix: Prefix = Field(
        "",
        description="Prefix of all keys, for several services in one Redis: with `milan:` the key "
        "is `milan:active_calls`. Instances of one service have the same.",
    )
    tick_ms: Annotated[float, number(5, 1000, "milliseconds")] = Field(
        100.0,
        description="Longest delay of a change, to share a frame with others, while the service is "
        "not overloaded.",
    )
    heartbeat_seconds: Annotated[float, number(0.1, 4, "seconds")] = Field(
        4.0,
        description="Interval of a stream's heartbeats; a page that receives none for 9 s reports "
        "it.",
    )
    stream_seconds: Annotated[float, number(1, 86_400, "seconds")] = Field(
        3600.0,
        description="Approximate lifetime of a stream; the page reconnects by itself. Regular "
        "reconnects make a restart nothing special.",
    )
    drain_seconds: Annotated[float, number(0, 30, "seconds")] = Field(
        2.0, description="Time for streams to say goodbye after SIGTERM."
    )
    direct: Annotated[str, one_of("yes", "no")] = Field(
        "yes",
        description="Whether frames are written directly to connections (five times cheaper). `no` "
        "writes them through ASGI, to compare.",
    )
    max_streams: Annotated[int, count(1, 1_000_000)] = Field(20_000, description="Streams at once.")
    max_streams_per_user: Annotated[int, count(1, 1_000_000)] = Field(
        100, description="Streams at once per `sub`."
    )
    max_streams_per_address: Annotated[int, count(1, 1_000_000)] = Field(
        1_000,
        description="Streams at once per client address (IPv6: per /64). The default allows a "
        "large company behind one NAT, and is a twentieth of all streams.",
    )
    max_filters: Annotated[int, count(1, 10_000)] = Field(
        64,
        description="Different filters (`state`, `trunk`) in use at once; each receives every "
        "change of every call.",
    )
    max_filters_per_user: Annotated[int, count(1, 10_000)] = Field(
        8, description="Different filters at once per `sub`."
    )
    max_snapshots: Annotated[int, count(1, 1_000)] = Field(
        4,
        description="JSON snapshots of 1,000 calls or more in transfer at once; one of 50,000 "
        "calls has 20 MB.",
    )
    max_snapshots_per_user: Annotated[int, count(1, 1_000)] = Field(
        2, description="JSON snapshots of 1,000 calls or more at once per `sub`."
    )
    snapshot_megabytes: Annotated[int, count(8, 100_000)] = Field(
        128,
        description="Memory for stream snapshots that clients are still reading, in MB. Beyond it, "
        "new clients share an existing one or are told to reconnect.",
    )
    trusted_proxies: Proxies = Field(
        "127.0.0.1,::1",
        description="Proxies whose `X-Forwarded-For` is trusted: addresses or blocks, separated by "
        "commas. Their own requests are not counted per address.",
    )
    node_stale_seconds: Annotated[float, number(0.5, 10, "seconds")] = Field(
        6.0,
        description="Silence of a SIP node after which the view is stale; heartbeats arrive every "
        "2 s.",
    )
    reap_seconds: Annotated[float, number(1, 86_400, "seconds")] = Field(
        120.0,
        description="Calls that no node confirms (the node is silent, or does not send the list "
        "that would repair a loss) become unconfirmed after 15 s and end as `lost` this much "
        "later.",
    )
    max_calls: Annotated[int, count(1, 10_000_000)] = Field(
        200_000,
        description="Live calls at once; further calls are rejected. A call takes about 3 kB of "
        "memory at most: one with very long texts counts as several.",
    )
    max_companies: Annotated[int, count(1, 1_000_000)] = Field(
        20_000,
        description="Companies with calls at once; calls of further companies are rejected. Of "
        "companies without calls the 1,000 most active are kept.",
    )
    max_companies_per_node: Annotated[int, count(1, 1_000_000)] = Field(
        10_000, description="Companies at once that one SIP node was the first to name."
    )
    ended_seconds: Annotated[float, number(1, 86_400, "seconds")] = Field(
        300.0,
        description="How long an ended call is kept, for late events and for clients that resume.",
    )
    ended_calls: Annotated[int, count(100, 10_000_000)] = Field(
        100_000, description="Largest number of ended calls that are kept."
    )
    redis_flush_ms: Annotated[float, number(5, 10_000, "milliseconds")] = Field(
        100.0, description="Interval of writes to Redis."
    )
    ready_seconds: Annotated[float, number(0, 60, "seconds")] = Field(
        5.0,
        description="How long a start waits for Redis and for the nodes' lists, and shows no "
        "calls. After that it shows calls that no list has named as unconfirmed, and keeps asking "
        "Redis.",
    )
    trace_url: TraceUrl | None = Field(
        None,
        description="URL of a call's SIP messages, for the link on the page, such as "
        "`https://homer.example/search?callid={call_id}&from={begin}&to={end}`. The Call-ID is "
        "percent-encoded; times are in ms, with a minute to spare. Only roles that see all calls "
        "receive it.",
    )
    cdr_url: TraceUrl | None = Field(
        None,
        description="URL of a call's CDR in another tool, for the link on the page; like "
        "`LIVESTATE_TRACE_URL`.",
    )
    trunks: str | None = Field(
        None,
        description="CSV file (UTF-8) of the trunks: `trunk,capacity,name,country` a line, all but "
        "the first may be empty. Capacity is in simultaneous calls: the trunks panel warns at 80 % "
        "and raises an alarm at 95 %. Read again when it changes; a bad line is logged with its "
        "number and reason, and ignored.",
    )
    country: Country | None = Field(
        None,
        description="Country of numbers that are written without a country code, such as `IT` (ISO "
        "3166-1), for the destinations on the page. Without it they belong to no country.",
    )
    hints: Hints = Field(
        "",
        description="Rules of the hints of fraud, from how many calls of a caller in five minutes "
        "on, such as `attempts=100,short=0` (0: never): see [operator.md](operator.md). What is "
        "not written keeps its default.",
    )
    risk_countries: Countries = Field(
        "",
        description="Countries with a high risk of fraud (IRSF), such as `CU,LV,SO` (ISO 3166-1): "
        "a hint names callers that call one. Without a list there is no such hint.",
    )
    alarms: str | None = Field(
        None,
        description="TOML file of the alarm rules, with a table each (`[asr]` and `warning = 40`, "
        "`alarm = 25`): see [operator.md](operator.md#alarms). What is not written keeps its "
        "default. Read again when it changes; a bad value is logged and ignored.",
    )
    alarm_webhook: OtlpUrl | None = Field(
        None,
        description="URL that receives a POST with JSON when an alarm is raised, changes its "
        "level, is acknowledged or over: see [operator.md](operator.md#alarms). Needs "
        "`LIVESTATE_ALARM_WEBHOOK_SECRET`.",
    )
    alarm_webhook_secret: Token | None = Field(
        None,
        description="Secret that signs what the webhook receives (HMAC-SHA256), of at least 16 "
        "characters.",
    )
    otlp_url: OtlpUrl | None = Field(
        None,
        description="OpenTelemetry collector that receives traces by OTLP/HTTP with JSON, such as "
        "`http://collector:4318/v1/traces`: spans of a message's fold and of its delivery to the "
        "sinks. They name nodes and subjects, no caller and no company. Unset, nothing is traced.",
    )
    otlp_every: Annotated[int, count(1, 1_000_000)] = Field(
        1_000, description="One message in so many is traced."
    )
    log_level: Annotated[str, one_of("DEBUG", "INFO", "WARNING", "ERROR")] = Field(
        "INFO", description="Level of the log on standard error."
    )
    log_format: Annotated[str, one_of("text", "json")] = Field(
        "text",
        description="`json`: one JSON object per line, with `time`, `level`, `logger`, `message`, "
        "`event` (the message's fixed text) and, for an error, `exception`.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: ``api/environment.py`` passes what the environment holds."""
        return (init_settings,)

    def redis_access(self) -> Access:
        """What a connection to Redis is made of."""
        return Access(
            self.redis_url,
            password=self.redis_password,
            sentinel_password=self.redis_sentinel_password,
            ca_file=self.redis_ca_file,
            cert_file=self.redis_cert_file,
            key_file=self.redis_key_file,
            prefix=self.redis_prefix,
        )


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def table() -> str:
    """All settings as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_plain(field.default)}`"
        rows.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
