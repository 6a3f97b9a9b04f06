"""Secrets of URLs are not shown, wherever a URL is printed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.auth import demo_key
from api.environment import SettingsError, from_environment
from bench import proc
from livestate.process.masking import masked
from tests.conftest import World
from tests.unit.cli.test_cli import run, start

SECRET = "hunter2"
URLS = [
    f"redis://me:{SECRET}@host:6379/0", f"redis://:{SECRET}@host", f"redis://:p@{SECRET}@host:1",
    f"redis://me:pa/{SECRET}@host:1", f"redis://me:12/{SECRET}@host", f"redis://me:a#{SECRET}@host",
    f"redis://me:a?{SECRET}@host", f"redis://me:a b {SECRET}@host:1", f"redis://me:{SECRET}",
    f"nats://{SECRET}@host:4222", f"nats://a:x@h1:4222,nats://b:{SECRET}@h2:4222",
    f"nats://a:x,{SECRET}@h1, nats://{SECRET}@h2", f"tls://me:{SECRET}@[::1]:4222",
    f"redis://host/0?password={SECRET}&db=1", f"unix://me:{SECRET}@/run/redis.sock",
    f"unix:///run/redis.sock?db=0&password={SECRET}", f"https://me:{SECRET}@idp/keys?x=1",
    f"https://idp/keys?x=1&access_token={SECRET}", f"https://idp/keys?api_key={SECRET}",
    f"https://me:pa/{SECRET}@idp/keys", f"REDIS://ME:{SECRET}@HOST",
    f"redis:/me:{SECRET}@host", f"redis ://me:{SECRET}@host", f"https:/me:{SECRET}@idp/keys",
]  # fmt: skip
# As people write what they connect to, and as libraries print it.
SHAPES = [
    f"me:{SECRET}@host",
    f"me:{SECRET}@10.0.0.1:6379/0",
    f"me:{SECRET}@[::1]:6379",
    f":{SECRET}@host:1",
    f"//me:{SECRET}@host/0",
    f"p@ss:w0{SECRET}@host:1",
    f"redis:me:{SECRET}@host:1",
    f"redis:\\/\\/me:{SECRET}@host",
    f"redis%3A%2F%2Fme%3A{SECRET}%40host%3A1",
    f"me%3A{SECRET}%40host",
    f"me:x@h1:4222,b:{SECRET}@h2:4222",
    f"me:{SECRET}@h1,nats://a:x@h2",
    f"nats://a@h1,me:{SECRET}@h2",
    f"redis+sentinel://me:{SECRET}@h1:26379,h2:26379/mymaster/0",
    f"redis-sentinel://:x@h1,h2:26379/0?sentinelPassword={SECRET}",
    f"redis+sentinel://h1/0?sentinel_kwargs=pw={SECRET}",
    f"rediss+cluster://me:{SECRET}@h1:1,h2:2",
    f"redis://me:x@h1:6379,me:{SECRET}@h2:6379",
    f"mongodb+srv://me:{SECRET}@host/db",
    f"postgres://host/db?sslpassword={SECRET}",
    f"amqp://me:{SECRET}@host/v",
    f"host=h user=me password={SECRET} dbname=x",
    f"host=h password='a {SECRET} x' port=1",
    f"Server=h;User Id=me;Password={SECRET};",
    f"https://idp/keys?pw={SECRET}&x=1",
    f"?passwd={SECRET}",
    f"?pass={SECRET}",
    f"secret={SECRET}",
    f"token={SECRET}",
    f"auth={SECRET}",
    f"&access_token={SECRET}",
    f"jwt={SECRET}",
    f"api_key={SECRET}",
    f"x-api-key: {SECRET}",
    f"<Redis(<ConnectionPool(<Connection(host=h,port=1,password={SECRET})>)>)>",
    f"{{'username': 'me', 'password': '{SECRET}', 'db': 0}}",
    f'{{"client_secret":"{SECRET}"}}',
    f"{{'password': b'{SECRET}'}}",
    f'"pass": {SECRET}}}',
    f"LIVESTATE_TOKEN={SECRET}",
    f"PASSWORD = {SECRET}",
    f"requirepass {SECRET}",
    f"masterauth {SECRET}",
    f"--password {SECRET}",
    f"--token={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}",
    f"Cookie: a=b; __Host-livestate={SECRET}",
    f"'Authorization': 'Bearer {SECRET}'",
]
TOKENS = [
    f"Bearer {SECRET}.{SECRET}.{SECRET}",
    f"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.{SECRET}",
    f"eyJhbGciOiJFZERTQSJ9.{SECRET}.x",
]
PLAIN = [
    "sip:bob@host", "sips:bob@host:5061", "<sip:bob@host>;tag=1",
    "from sip:+3902@10.0.0.1 to sip:b@c",
    "sip:a@b,sip:c@d", "mailto:noc@example.org", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@foo.example",
    "call 12: no answer from bob@example", '{"from":"bob@host","to":"amy@host"}', "To:bob@host",
    "token: the login has expired", "the Authorization header is not a Bearer token",
    "LIVESTATE_JWT_JWKS: no such file", "key=k12 code=486 reason=busy node=kam-mil-1 tokens=3",
    "bypass=yes author=me passed=7", "Basic authentication is not taken",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.", "12:30:05 3 calls @ 4 nodes",
    "https://homer.example/x:1/@user?callid=a%40b", "ES256 and EdDSA keys: 2",
    "redis://127.0.0.1:6379/0", "nats://127.0.0.1:4222", "rediss://[::1]:6379/0",
    "serving http://127.0.0.1:8080/live-calls, admin on http://127.0.0.1:9090",
    "https://homer.example/@user?callid=a%40b", "Error 111 connecting to 127.0.0.1:1.",
    "nats://host:4222: no answer from bob@example", "sip:bob@host", "",
    "file:/etc/livestate/jwks.json", "keys: /etc/livestate/jwks.json",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_secret_of_a_url_is_not_shown(url: str) -> None:
    for text in (url, f"NATS at {url}: refused", f"for url '{url}'", f"({url})"):
        assert SECRET not in masked(text)
        assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("shape", [*SHAPES, *TOKENS])
def test_a_secret_without_a_url_around_it_is_not_shown(shape: str) -> None:
    for text in (
        shape,
        f"at {shape}",
        f"({shape})",
        f"refused: [{shape}]\nTraceback",
        f"{shape}\n",
    ):
        assert SECRET not in masked(text)
        assert masked(masked(text)) == masked(text)


# Neither a delimiter of the shape around it nor a space: those end a secret. With a colon in it, a
# token alone would be a user and a password.
_INSIDE = st.text(st.sampled_from("aZ09_-.~+/!*$%@#?^|é"), max_size=8)
# An address of the web may have an "@" in its path: behind a host and a port it counts as that.
_LIKE_A_PORT = re.compile(r"\d{0,5}[/?#]")


@given(st.sampled_from([*URLS, *SHAPES]), _INSIDE, _INSIDE)
def test_whatever_stands_around_a_secret_it_is_not_shown(
    shape: str, before: str, after: str
) -> None:
    cut_off = "@" not in shape and "://me:" in shape  # where its host was is not known
    assume(not ((cut_off or shape.startswith("http")) and _LIKE_A_PORT.match(before)))
    assume(not (cut_off and "@" in before))
    assert SECRET not in masked(shape.replace(SECRET, f"{before}{SECRET}{after}", 1))


@given(st.text(st.sampled_from("ab:@/=?&\"' .,;%40%3asip***token=passwordeyJ.{}\n"), max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


# The one separator of a list of URLs before something that looks like a URL is ambiguous.
_PASSWORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"])).filter(
    lambda text: "://" not in text
)


@given(_PASSWORDS, st.sampled_from(["redis", "rediss", "nats", "tls"]))
def test_whatever_a_password_is_made_of_it_is_not_shown(password: str, scheme: str) -> None:
    shown = masked(f"{scheme}://me:{SECRET}{password}{SECRET}@host.example:1/0")
    assert shown == f"{scheme}://me:***@host.example:1/0"


@pytest.mark.parametrize("name", ["NATS_URL", "REDIS_URL"])
@pytest.mark.parametrize("value", [f"http://me:{SECRET}@h", f"me:{SECRET}@host:1", SECRET,
                                   f"redis://me:{SECRET}/x@host", f"nats://me:{SECRET}/x@host",
                                   f"redis://me:{SECRET}", f"nats://a@h,{SECRET}@h"])  # fmt: skip
def test_a_wrong_setting_is_reported_without_its_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment({f"LIVESTATE_{name}": value})
    assert SECRET not in str(wrong.value)
    assert f"LIVESTATE_{name}" in str(wrong.value)


LOGGING = f"""
import logging, warnings
from livestate.process import logs
logs.set_up("INFO", "%(message)s")
logging.info("at %s", {URLS[0]!r})
try:
    raise OSError("connecting to {URLS[0]} failed")
except OSError:
    logging.exception("it failed at {URLS[9]}")
warnings.warn("{URLS[9]}")
raise SystemExit(ValueError("for url '{URLS[16]}'"))
"""


async def test_a_log_line_a_traceback_and_a_warning_are_masked() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOGGING, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert output.count(b"***") >= 5, output
    assert SECRET.encode() not in output.replace(LOGGING.encode(), b"")


async def test_no_command_prints_a_secret(tmp_path: Path) -> None:
    """Nothing listens there; a library is free to say what it likes of that."""
    wrong = {
        "NATS_URL": f"nats://me:{SECRET}@127.0.0.1:1",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1",
        "JWT_JWKS": f"http://me:{SECRET}@127.0.0.1:1/keys?token={SECRET}",
        "JWT_ISSUER": "https://login.example",
    }
    code, out = await run("doctor", cwd=tmp_path, **wrong)
    assert (code, SECRET in out) == (1, False), out
    assert out.count("***") >= 3
    code, out = await run("snapshot", "--url", f"http://a:{SECRET}@127.0.0.1:1", TOKEN="a.b.c")
    assert (code, SECRET in out, "***" in out) == (1, False, True), out
    lasting = [
        await start("serve", cwd=tmp_path, BIND="127.0.0.1:0", ADMIN_BIND="127.0.0.1:0",
                    LOG_LEVEL="DEBUG", **wrong),
        await start("simulate", "--calls", "1", cwd=tmp_path, NATS_URL=wrong["NATS_URL"]),
        await start("bridge", "--spool", str(tmp_path / "spool"),
                    BRIDGE_NATS_URL=wrong["NATS_URL"], BRIDGE_EVAPI="127.0.0.1:1"),
    ]  # fmt: skip
    await asyncio.sleep(4)
    for process in lasting:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert SECRET.encode() not in output
        assert b"Traceback" not in output


async def test_the_command_line_of_no_child_holds_a_secret(tmp_path: Path) -> None:
    demo = await start("demo", "--port", "0", cwd=tmp_path)
    assert demo.stdout is not None
    output = b""
    try:
        async with asyncio.timeout(30):
            while b"Ctrl-C" not in output:
                output += await demo.stdout.read(4096)
        token = output.split(b"/login#")[1].split()[0]
        for pid in proc.processes():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                assert token not in proc.command_line(pid)
    finally:
        demo.terminate()
        await demo.communicate()


async def test_tail_and_snapshot_take_the_login_from_a_file_or_the_environment(
    world: World, tmp_path: Path
) -> None:
    async with world.service() as service:
        await service.until_ready()
        kept = tmp_path / "token"
        kept.write_text(f"{service.token()}\n")
        at = ("snapshot", "--url", service.url)
        for arguments, settings in (
            (("--token-file", str(kept)), {}), ((), {"TOKEN_FILE": str(kept)}),
            ((), {"TOKEN": service.token()}),
        ):  # fmt: skip
            code, out = await run(*at, *arguments, cwd=tmp_path, **settings)
            assert (code, "live calls" in out) == (0, True), out
        kept.write_bytes(b"\xff\xfe" + service.token().encode("utf-16-le"))
        for wrong, settings in ((("--token-file", str(kept)), {}),
                                (("--token-file", str(tmp_path / "none")), {}),
                                (("--token-file", str(kept)), {"TOKEN": service.token()}),
                                ((), {"TOKEN": "  "})):  # fmt: skip
            code, out = await run(*at, *wrong, cwd=tmp_path, **settings)
            assert code != 0
            assert "Traceback" not in out
            assert service.token()[:30] not in out


def test_the_demo_key_is_for_its_owner_only(tmp_path: Path) -> None:
    demo_key.jwks(tmp_path / "keys")
    assert stat.S_IMODE(os.stat(tmp_path / "keys" / "demo-key.pem").st_mode) == 0o600
