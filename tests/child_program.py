"""Runs a program in a child process that imports what the test imports: the same build of
livestate, and ``tests`` and ``bench`` of this tree."""

from __future__ import annotations

import asyncio
import sys


async def printed_numbers(program: str, seconds: float = 60) -> list[float]:
    """The numbers that a Python program prints. It fails if the program does, or takes longer than
    ``seconds``."""
    # An interpreter that is started with -c looks into the working directory first, where the
    # source hides an installed wheel; under PYTHONSAFEPATH it does not find the tests.
    program = f"import sys; sys.path[:] = {sys.path!r}\n{program}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0
    return [float(number) for number in out.split()]
