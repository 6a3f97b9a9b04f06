"""NATS URLs in settings and options: several servers, logins, and what is refused."""

from __future__ import annotations

import pytest

from api.environment import SettingsError, from_environment
from livestate.nats.failure import KINDS, trouble
from livestate.nats.url import is_inbox, parse


def test_several_servers_share_the_login_that_one_of_them_has() -> None:
    one, two, three = parse("nats://a:4222, nats://me:p%2C%40w@b,tls://[::1]:7000/")
    assert (one.address, two.address) == ("nats://a:4222", "nats://b:4222")
    assert three.address == "tls://[::1]:7000"
    for url in (one, two, three):
        assert (url.user, url.password, url.token) == ("me", "p,@w", "")


def test_a_user_without_a_password_is_a_token() -> None:
    (url,) = parse("nats://s3cret@host")
    assert (url.token, url.user, url.secrets) == ("s3cret", "", ("s3cret",))
    assert "s3cret" not in repr(url) + url.address


@pytest.mark.parametrize("text", [
    "", "host", "host:4222", "http://host", "nats://", "nats://host:0", "nats://host:x",
    "nats://host:70000", "nats://ho st", "nats://a,b", "nats://a,,nats://b", "nats://a,http://b",
    "nats://u:pw/x@host", "nats://u:pw@", "nats://a\nb", "nats://[::1", "nats://host/path",
])  # fmt: skip
def test_what_is_no_nats_url_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(ValueError) as wrong:
        parse(text)
    assert "nats://host:port" in str(wrong.value)
    assert "pw" not in str(wrong.value)
    if text:
        with pytest.raises(SettingsError):
            from_environment({"LIVESTATE_NATS_URL": text})


@pytest.mark.parametrize(("text", "right"), [
    ("_INBOX", True), ("_INBOX.livestate", True), ("a-b.c_d", True),
    ("", False), ("_INBOX.", False), (".x", False), ("a..b", False), ("a.*", False),
    ("a.>", False), ("a b", False), ("ä", False),
])  # fmt: skip
def test_an_inbox_prefix_is_a_plain_subject(text: str, right: bool) -> None:
    assert is_inbox(text) is right


@pytest.mark.parametrize(("said", "kind"), [
    ("User Authentication Expired", "credentials_expired"),
    ("Account Authentication Expired", "credentials_expired"),
    ("User Authentication Revoked", "credentials_revoked"),
    ("Authorization Violation", "authorization"),
    ("Authentication Timeout", "authentication_timeout"),
    ("maximum connections exceeded", "limit"), ("maximum subscriptions exceeded", "limit"),
    ("maximum account active connections exceeded", "limit"),
    ("Maximum Payload Violation", "limit"), ("Stale Connection", "silent"),
    ("Secure Connection - TLS Required", "tls"),
    ("Permissions Violation for Subscription to \"call.events.>\"", "permission"),
])  # fmt: skip
def test_each_server_error_has_a_kind_and_advice(said: str, kind: str) -> None:
    reason = trouble(said)
    assert (reason.kind, bool(reason.mend)) == (kind, True)
    assert reason.kind in KINDS


def test_a_reason_shows_no_secret_no_control_character_and_no_novel() -> None:
    reason = trouble("no s3cret for\x1b[31m you " + "x" * 5000, ["s3cret"])
    assert "s3cret" not in reason.text
    assert reason.text.isprintable()
    assert len(reason.text) <= 300
    for error in (ValueError("boom"), OSError(), TimeoutError(), KeyError("a"), RecursionError()):
        assert trouble(error).kind in KINDS
        assert trouble(error).text
