"""A stream through a client of PyPI: ``python follow.py CLIENT URL TOKEN``, in a venv that has it.

Prints one line an event: name, last event id, data, with tabs between.
"""

import asyncio
import sys
import time


def report(*fields: str) -> None:
    print(*fields, sep="\t", flush=True)


def httpx_sse(url: str, token: str) -> None:
    import httpx
    import httpx_sse

    last = ""
    with httpx.Client(timeout=20) as client:
        while True:
            try:
                with httpx_sse.connect_sse(client, "GET", url, headers=head(token, last)) as source:
                    report("#open")
                    for event in source.iter_sse():
                        last = event.id
                        report(event.event, event.id, event.data)
                report("#end")
            except httpx.HTTPError as error:
                report("#error", "", repr(error))
            time.sleep(0.3)


def sseclient_py(url: str, token: str) -> None:
    import requests
    import sseclient

    last = ""
    while True:
        try:
            response = requests.get(url, headers=head(token, last), stream=True, timeout=20)
            report("#open")
            for event in sseclient.SSEClient(response).events():
                last = event.id or last
                report(event.event, event.id or "", event.data)
            report("#end")
        except requests.RequestException as error:
            report("#error", "", repr(error))
        time.sleep(0.3)


def launchdarkly(url: str, token: str) -> None:
    """It reconnects by itself."""
    from ld_eventsource import SSEClient
    from ld_eventsource.actions import Event, Fault, Start
    from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy

    client = SSEClient(
        ConnectStrategy.http(url, headers=head(token)),
        error_strategy=ErrorStrategy.always_continue(),
        retry_delay_strategy=RetryDelayStrategy.default(max_delay=2),
    )
    for action in client.all:
        if isinstance(action, Start):
            report("#open")
        elif isinstance(action, Fault):
            report("#error" if action.error else "#end", "", repr(action.error))
        elif isinstance(action, Event):
            report(action.event, action.last_event_id or "", action.data)


async def aiohttp_sse_client(url: str, token: str) -> None:
    """It reconnects by itself after an orderly end, but not after an error."""
    import aiohttp
    from aiohttp_sse_client.client import EventSource

    last = ""
    while True:
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_read=20)
            async with EventSource(
                url, headers=head(token, last), timeout=timeout, on_open=lambda: report("#open"),
                on_error=lambda: report("#end"),
            ) as source:  # fmt: skip
                async for event in source:
                    last = event.last_event_id
                    report(event.type, event.last_event_id, event.data)
        except (aiohttp.ClientError, ConnectionError, ValueError) as error:
            report("#error", "", repr(error))
        await asyncio.sleep(0.3)


def head(token: str, last: str = "") -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"}
    return {**headers, "Last-Event-ID": last} if last else headers


if __name__ == "__main__":
    client, url, token = sys.argv[1:]
    if client == "aiohttp-sse-client":
        asyncio.run(aiohttp_sse_client(url, token))
    else:
        {
            "httpx-sse": httpx_sse,
            "sseclient-py": sseclient_py,
            "launchdarkly-eventsource": launchdarkly,
        }[client](url, token)
