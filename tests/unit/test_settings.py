"""Settings: everything wrong is said at once, unknown names are noticed, secrets are not shown."""

from __future__ import annotations

import pytest

from api.environment import SettingsError, from_environment
from api.settings import Settings, table, variable
from livestate.process.masking import masked


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings, warnings = from_environment({})
    assert warnings == []
    assert settings == Settings()
    assert (settings.bind, settings.admin_bind) == ("127.0.0.1:8080", "127.0.0.1:9090")


def test_an_unknown_name_suggests_the_nearest_one() -> None:
    _, warnings = from_environment({"LIVESTATE_NATS_ULR": "x", "PATH": "/bin"})
    assert warnings == ["LIVESTATE_NATS_ULR is no setting; did you mean LIVESTATE_NATS_URL?"]


def test_all_wrong_values_are_reported_with_advice() -> None:
    with pytest.raises(SettingsError) as wrong:
        from_environment({"LIVESTATE_BIND": "8080", "LIVESTATE_NATS_URL": "http://x",
                          "LIVESTATE_TICK_MS": "fast", "LIVESTATE_LOG_LEVEL": "loud"})  # fmt: skip
    assert len(wrong.value.problems) == 4
    assert "127.0.0.1:8080" in str(wrong.value)
    assert "nats://" in str(wrong.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e9", "", " "])
def test_a_tick_is_a_sensible_number(value: str) -> None:
    if value == "":
        assert from_environment({"LIVESTATE_TICK_MS": value})[0].tick_ms == Settings().tick_ms
        return
    with pytest.raises(SettingsError):
        from_environment({"LIVESTATE_TICK_MS": value})


def test_a_password_is_not_shown() -> None:
    assert masked("redis://me:secret@host:1/0") == "redis://me:***@host:1/0"
    with pytest.raises(SettingsError) as wrong:
        from_environment({"LIVESTATE_REDIS_URL": "http://me:secret@host"})
    assert "secret" not in str(wrong.value)


def test_every_setting_is_documented() -> None:
    documented = table()
    for name in Settings.model_fields:
        assert f"`{variable(name)}`" in documented
