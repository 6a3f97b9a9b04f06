"""Reads the settings from the environment, or from files that the environment names.

Used by the commands only. pydantic-settings reads ``LIVESTATE_NAME``; this module adds
``LIVESTATE_NAME_FILE`` (as systemd credentials, Compose and Kubernetes provide secrets), reports
every wrong value at once without showing secrets, and suggests the nearest name for unknown ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from api.settings import PREFIX, Settings, variable
from livestate.process.masking import masked

FILE_SUFFIX: Final = "_FILE"
MAX_FILE_BYTES: Final = 64 * 1024
BRIDGE_PREFIX: Final = "LIVESTATE_BRIDGE_"  # the options of `livestate bridge`
# Read by `livestate tail` and `livestate snapshot`, not by the service.
CLIENT_NAMES: Final = frozenset({f"{PREFIX}TOKEN", f"{PREFIX}TOKEN_FILE", f"{PREFIX}DEMO_KEYS"})
_URLS: Final = frozenset({"nats_url", "redis_url"})
_SECRETS: Final = frozenset(
    {
        "admin_token",
        "alarm_webhook",
        "alarm_webhook_secret",
        "oidc_client_secret",
        "redis_password",
        "redis_sentinel_password",
        "session_key",
    }
)  # never shown, not even when invalid


class SettingsError(Exception):
    """All invalid settings; ``problems`` has one line each: name, value, what it must be."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Source(EnvSettingsSource):
    """One environment; ``NAME_FILE`` names a file that holds the value of ``NAME``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self._environ = environ
        self.problems: list[str] = []

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        try:
            text, _ = read(variable(field_name), self._environ)
        except ValueError as error:
            self.problems.append(str(error))
            text = ""
        return text or None, field_name, False


def from_environment(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, and one warning per unknown ``LIVESTATE_…`` name. An empty value means unset.

    Raises :class:`SettingsError` with all invalid values.
    """
    source = _Source(environ)
    values = source()
    problems, settings = source.problems, None
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems += [_problem(str(one["loc"][0]), values, environ, one) for one in error.errors()]
    if "oidc_issuer" in values:
        problems += [
            f"{variable('oidc_issuer')} needs {variable(name)} too (docs/login.md)"
            for name in ("oidc_client_id", "public_url", "session_key")
            if name not in values
        ]
    if "alarm_webhook" in values and "alarm_webhook_secret" not in values:
        problems.append(
            f"{variable('alarm_webhook')} needs {variable('alarm_webhook_secret')} too "
            "(docs/operator.md)"
        )
    if problems or settings is None:
        raise SettingsError(problems)
    return settings, [_unknown(name) for name in sorted(_unknown_names(environ))]


def read(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """A setting's text, and the variable that provides it: ``NAME`` or ``NAME_FILE``. White space
    at the ends of a file is removed. Raises ValueError, whose text never contains file contents."""
    in_file = name + FILE_SUFFIX
    path = environ.get(in_file)
    if not path:
        return environ.get(name, ""), name
    if environ.get(name):
        raise ValueError(f"{name} and {in_file} are both set; set one of them")
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{in_file} is {path!r}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{in_file} is {path!r}, which holds more than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{in_file} is {path!r}, which is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{in_file} is {path!r}, which is empty")
    return text, in_file


def _problem(
    field: str, values: Mapping[str, str], environ: Mapping[str, str], error: Mapping[str, Any]
) -> str:
    name = variable(field)
    _, source = read(name, environ)
    right = str(error["ctx"]["error"]) if "error" in error.get("ctx", {}) else error["msg"]
    return f"{source} is {_shown(field, values[field], source)}; it must be {right}"


def _shown(field: str, text: str, source: str) -> str:
    """How an error message shows an invalid value."""
    if source.endswith(FILE_SUFFIX):
        return "a file that holds something else"
    if field in _SECRETS:
        return "something else"
    if field in _URLS and "://" not in text:  # a password alone, perhaps
        return "no URL"
    return repr(masked(text))


def _unknown_names(environ: Mapping[str, str]) -> Iterable[str]:
    known = {variable(field) for field in Settings.model_fields}
    known |= {name + FILE_SUFFIX for name in known} | CLIENT_NAMES
    for name in environ:
        if name.startswith(PREFIX) and not name.startswith(BRIDGE_PREFIX) and name not in known:
            yield name


def _unknown(name: str) -> str:
    known = [variable(field) for field in Settings.model_fields]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
