"""An image built and run without a container engine: the instructions of a Containerfile, each
carried out in a sandbox of bubblewrap that has this machine's /usr and the image's own files.

Enough for ``deploy/Containerfile``, and it refuses any instruction that it does not know. The base
image is not fetched: ``python`` is the interpreter that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")  # of this machine, read-only
OWN = ("/opt", "/src")  # what images may write to while they are built


@dataclass
class Image:
    """A built stage: its files (of ``OWN``) and its configuration."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in OWN:
            (self.home / path[1:]).mkdir(parents=True, exist_ok=True)
        (self.home / "bin").mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (self.home / "bin" / name).symlink_to(f"/usr/bin/python3.{sys.version_info.minor}")
        self.environment = {"PATH": "/python/bin:/usr/local/bin:/usr/bin:/bin"} | self.environment

    def sandbox(self, command: Sequence[str], *, building: bool, secrets: Path | None = None,
                environment: dict[str, str] | None = None) -> list[str]:  # fmt: skip
        """The command line that runs ``command`` in this image. ``building`` may write to the
        image's files, as root; else nothing is writable, and the user is the image's.
        ``secrets`` is a directory of this machine, to be read as ``/secrets``."""
        line = ["bwrap", "--unshare-pid", "--die-with-parent", "--clearenv", "--proc", "/proc",
                "--dev", "/dev"]  # fmt: skip
        for path in HOST:
            if Path(path).is_symlink():
                line += ["--symlink", os.readlink(path), path]
            elif Path(path).exists():
                line += ["--ro-bind", path, path]
        for path in OWN:
            line += ["--bind" if building else "--ro-bind", str(self.home / path[1:]), path]
        if sys.base_prefix.startswith("/usr"):
            line += ["--ro-bind", str(self.home / "bin"), "/python/bin"]
        else:  # a Python of its own, maybe below a home that the image's user may not enter
            line += ["--ro-bind", sys.base_prefix, "/python"]
            line += ["--setenv", "LD_LIBRARY_PATH", "/python/lib"]
        if secrets is not None:
            line += ["--ro-bind", str(secrets), "/secrets"]
        for name, value in (self.environment | (environment or {})).items():
            line += ["--setenv", name, value]
        if building:
            line += ["--tmpfs", "/tmp", "--setenv", "HOME", "/tmp"]
        else:
            line += ["--remount-ro", "/"]
        line += ["--chdir", self.directory]
        user, _, group = self.user.partition(":")
        if building or user == "0":
            return [*line, *command]
        if os.geteuid() == 0:  # then by the kernel's own rules
            drop = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups",
                    "--bounding-set=-all", "--no-new-privs"]  # fmt: skip
            return [*line, *drop, *command]
        return [*line, "--unshare-user", "--uid", user, "--gid", group, *command]


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, arguments) of each instruction of a Containerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def build(containerfile: Path, context: Path, into: Path) -> Image:
    """Carry out every instruction; the image of the last stage."""
    stages: dict[str, Image] = {}
    image: Image | None = None
    for number, (name, text) in enumerate(instructions(containerfile.read_text())):
        if name == "FROM":
            image = Image(into / str(number))
            stages[text.split(" AS ")[-1]] = image
            continue
        assert image is not None, "the first instruction is FROM"
        _carry_out(image, stages, context, name, text)
    assert image is not None
    return image


def _carry_out(image: Image, stages: dict[str, Image], context: Path, name: str, text: str) -> None:
    match name:
        case "WORKDIR":
            image.directory = text
        case "ENV":
            for one in shlex.split(text):
                key, _, value = one.partition("=")
                image.environment[key] = value.replace("$PATH", image.environment["PATH"])
        case "COPY":
            _copy(image, stages, context, text.split())
        case "RUN":
            subprocess.run(
                image.sandbox(["/bin/sh", "-ec", text], building=True, environment=_index()),
                check=True, timeout=500,
            )  # fmt: skip
        case "USER":
            image.user = text
        case "ENTRYPOINT":
            image.entrypoint = json.loads(text)
        case "CMD":
            image.command = json.loads(text)
        case "HEALTHCHECK":
            image.health = json.loads(text.split(" CMD ")[1])
        case "EXPOSE" | "STOPSIGNAL":
            pass  # for the engine
        case _:
            raise ValueError(f"{name} is no instruction that this can carry out")


def _copy(image: Image, stages: dict[str, Image], context: Path, arguments: list[str]) -> None:
    root, kept = context, containerignore(context)
    if arguments[0].startswith("--from="):
        root, kept = stages[arguments[0].removeprefix("--from=")].home, None
        arguments = [one.lstrip("/") for one in arguments[1:]]
    *sources, target = arguments
    into = image.home / (image.directory + "/" + target if root is context else target).strip("/")
    for source in sources:
        if kept is not None and source not in kept:
            raise ValueError(f".containerignore keeps {source} out of the context")
        whole = len(sources) > 1 or target.endswith("/") or target in ("./", ".")
        place = into / Path(source).name if whole else into
        place.parent.mkdir(parents=True, exist_ok=True)
        if (root / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / source, place, symlinks=True, dirs_exist_ok=True,
                            ignore=ignored if kept is not None else None)  # fmt: skip
        else:
            shutil.copy2(root / source, place)


def containerignore(context: Path) -> set[str]:
    """What the context holds: the file begins with ``*`` and names each that is kept."""
    lines = (context / ".containerignore").read_text().splitlines()
    return {line[1:] for line in lines if line.startswith("!")}


INDEX = ("PIP_INDEX_URL", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE", "HTTPS_PROXY")


def _index() -> dict[str, str]:
    """Where this machine's pip finds packages, if the environment says so."""
    return {name: os.environ[name] for name in INDEX if name in os.environ}
