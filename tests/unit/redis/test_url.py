"""Every form of a Redis URL that others use, and what is wrong with the rest."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from api.environment import SettingsError, from_environment
from livestate.redis.url import RedisUrl, parse

HOSTS = (("h1", 26379), ("h2", 5000))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("redis://h", RedisUrl("server", hosts=(("h", 6379),))),
        ("valkey://h:1/3", RedisUrl("server", hosts=(("h", 1),), db=3)),
        ("rediss://h/", RedisUrl("server", tls=True, hosts=(("h", 6379),))),
        ("redis://:pw@h?db=2", RedisUrl("server", hosts=(("h", 6379),), password="pw", db=2)),
        ("redis://default:p%2Fw%40@[::1]:7", RedisUrl("server", hosts=(("::1", 7),),
         username="default", password="p/w@")),
        ("unix:///run/r.sock", RedisUrl("unix", path="/run/r.sock")),
        ("unix://me:p%20w@/run/r.sock?db=1", RedisUrl("unix", path="/run/r.sock", username="me",
         password="p w", db=1)),
        ("redis+sentinel://h1,h2:5000/mymaster", RedisUrl("sentinel", hosts=HOSTS,
         master="mymaster")),
        ("redis+sentinel://me:pw@h1,h2:5000/mymaster/2?sentinel_password=s%3Ds",
         RedisUrl("sentinel", hosts=HOSTS, master="mymaster", db=2, username="me", password="pw",
                  sentinel_password="s=s")),
        ("rediss+sentinel://h1,h2:5000/2/mymaster", RedisUrl("sentinel", tls=True, hosts=HOSTS,
         master="mymaster", db=2)),
        ("redis+cluster://h1:26379,h2:5000", RedisUrl("cluster", hosts=HOSTS)),
        ("rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca", RedisUrl("server", tls=True,
         hosts=(("h", 6379),), verify=False, ca_file="/ca")),
    ],
)  # fmt: skip
def test_a_url_is_read(text: str, wanted: RedisUrl) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://me:hunter2@h", "starts with redis://"),
        ("redis:/h", "starts with redis://"),
        ("redis://", "names a host"),
        ("redis://me:hunter2/x@h:1", "percent-encoded"),
        ("redis://me:hunter2?x@h:1", "percent-encoded"),
        ("redis://me:hunter2#x@h:1", "percent-encoded"),
        ("redis://:hunter2,x@h1:1,h2:2", "one host"),
        ("redis://h:0", "names a host"),
        ("redis://h:70000", "names a host"),
        ("redis://h/livestate", "database number"),
        ("redis://h?db=x", "no other options"),
        ("redis://h?frobnicate=1", "no other options"),
        ("redis+sentinel://h1,h2", "name of the group"),
        ("redis+sentinel://h1/a/b", "name of the group"),
        ("redis+cluster://h1/3", "database 0 only"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix+sentinel:///run/redis.sock/x", "three slashes"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as wrong:
        parse(text)
    assert "hunter2" not in str(wrong.value)
    with pytest.raises(SettingsError) as refused:
        from_environment({"LIVESTATE_REDIS_URL": text})
    assert "hunter2" not in str(refused.value)


@given(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["redis", "rediss"]))
def test_it_reads_what_redis_py_reads(user: str, password: str, scheme: str) -> None:
    text = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@h:1/2"
    ours, theirs = parse(text), parse_url(text)
    assert (ours.username, ours.password) == (theirs["username"], theirs["password"])
    assert (ours.hosts, ours.db) == (((theirs["host"], theirs["port"]),), theirs["db"])


def test_a_prefix_that_would_break_the_hash_tag_or_a_rule_is_refused() -> None:
    for prefix in ("{a}", "a*", "a b", "é", "x" * 65, "[a]", "a?"):
        with pytest.raises(SettingsError, match="LIVESTATE_REDIS_PREFIX"):
            from_environment({"LIVESTATE_REDIS_PREFIX": prefix})
    settings, _ = from_environment({"LIVESTATE_REDIS_PREFIX": "prod/milan-1:"})
    assert settings.redis_access().prefix == "prod/milan-1:"
