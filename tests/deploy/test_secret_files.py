"""Settings from files: as Compose, Kubernetes and systemd hand secrets over."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli import main
from api.environment import SettingsError, from_environment

SECRET = "correct-horse-battery"


def test_a_setting_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "nats_url"
    file.write_text(f"nats://livestate:{SECRET}@nats:4222\n")
    settings, warnings = from_environment({"LIVESTATE_NATS_URL_FILE": str(file)})
    assert settings.nats_url == f"nats://livestate:{SECRET}@nats:4222"
    assert warnings == []


@pytest.mark.parametrize("held", [b"", b"  \n", b"\xff\xfe", b"x" * 70_000, b"secret " * 9])
def test_a_bad_file_is_refused_and_not_shown(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / "value"
    file.write_bytes(held)
    for name in ("NATS_URL", "REDIS_URL", "ADMIN_TOKEN", "TICK_MS"):
        with pytest.raises(SettingsError) as wrong:
            from_environment({f"LIVESTATE_{name}_FILE": str(file)})
        assert f"LIVESTATE_{name}_FILE" in str(wrong.value)
        assert "secret" not in str(wrong.value)
        assert len(str(wrong.value)) < 500


def test_a_missing_file_and_both_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment({"LIVESTATE_REDIS_URL_FILE": str(tmp_path / "none")})
    assert "No such file" in str(wrong.value)
    file = tmp_path / "token"
    file.write_text(SECRET)
    with pytest.raises(SettingsError) as both:
        from_environment({"LIVESTATE_ADMIN_TOKEN": SECRET, "LIVESTATE_ADMIN_TOKEN_FILE": str(file)})
    assert "both set" in str(both.value)
    assert SECRET not in str(both.value)


@pytest.mark.parametrize("token", ["short", "has a space in the middle", "é" * 20, "tab\t" * 8])
def test_a_weak_admin_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment({"LIVESTATE_ADMIN_TOKEN": token})
    assert token not in str(wrong.value)


def check(**environment: str) -> str:
    """What ``livestate bridge --check`` says, with nothing to reach."""
    own = {"LIVESTATE_BRIDGE_EVAPI": "127.0.0.1:1"}
    result = CliRunner().invoke(main, ["bridge", "--check"], env=own | environment)
    return result.output


def test_a_bridge_reads_its_nats_url_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"nats://bridge:{SECRET}@127.0.0.1:3\n")
    name = "LIVESTATE_BRIDGE_NATS_URL"
    outcome = check(**{f"{name}_FILE": str(file)})
    assert "('127.0.0.1', 3)" in outcome
    assert SECRET not in outcome
    assert "('127.0.0.1', 2)" in check(**{name: "nats://127.0.0.1:2"})
    assert "both set" in check(**{name: "nats://x", f"{name}_FILE": str(file)})
    assert "No such file" in check(**{f"{name}_FILE": str(tmp_path / "none")})
