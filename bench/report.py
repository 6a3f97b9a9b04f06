"""A page of figures: each is made by a coroutine, whose docstring is its heading, and is printed
with the command that makes it again."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import uvloop

Figure: TypeAlias = Callable[[], Awaitable[list[str]]]
DOCS: Final = Path(__file__).parents[1] / "docs"


def sheet(
    figures: Mapping[str, Figure],
    *,
    module: str,
    command: str,
    title: str,
    page: str,
    among: str,
    versions: Callable[[], str] = str,
) -> None:
    """Make those that the command line names, or all; with ``--write`` into ``docs/<page>``.

    ``module`` makes a single one, ``command`` the page; ``among`` says what shares the machine,
    ``versions`` what else was of which version.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("which", nargs="*", help=", ".join(figures))
    parser.add_argument("--write", action="store_true", help=f"all of them, into docs/{page}")
    options = parser.parse_args()
    unknown = set(options.which) - set(figures)
    if unknown:
        parser.error(f"no figure is called {sorted(unknown)[0]}")
    out = [
        f"<!-- made by `{command}` -->",
        f"# {title}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({platform.machine()}, "
        f"{platform.system()}), Python {platform.python_version()}{versions()}. Everything "
        f"({among}) shares these cores.",
        "",
    ]
    for name in options.which or figures:
        make = figures[name]
        lines = uvloop.run(made(make))
        out += [
            f"## {(make.__doc__ or '').rstrip('.')}",
            f"`python -m {module} {name}`",
            "",
            *lines,
            "",
        ]
        print("\n".join([f"{name}: {make.__doc__}", *lines, ""]), flush=True)
    if options.write:
        (DOCS / page).write_text("\n".join(out))


async def made(make: Figure) -> list[str]:
    return await make()
