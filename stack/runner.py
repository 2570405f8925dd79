"""One service under supervision: start, wait until ready, watch, start again, stop."""

import asyncio
import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stack import backoff
from stack.output import ServiceOutput
from stack.probes import ask
from stack.processes import TAG, kill_adopted, kill_group
from stack.services import Service

State = Literal["waiting", "starting", "ready", "unready", "done", "restarting", "stopped"]

_SHIM = str(Path(__file__).with_name("exec_shim.py"))
_PROBE_EVERY_S = (0.1, 0.5)  # at first, and at most: a long start is not asked so often
_WATCH_EVERY_S = 5.0
_READY_WITHIN_S = 300.0
_START_ATTEMPTS = 4
_PIPE_BYTES = 1 << 16


class StartFailed(RuntimeError):
    """A service did not become ready; the message holds its last lines."""


@dataclass(frozen=True)
class ServiceStatus:
    """What `status` says of one service."""

    service: str
    pid: int | None
    state: State
    restarts: int
    uptime_s: float
    ready: bool
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Runner:
    """Keeps one service alive. `changed` is called whenever its pid or state changes."""

    def __init__(
        self,
        service: Service,
        output: ServiceOutput,
        env: Mapping[str, str],
        cwd: Path,
        changed: Callable[[], None],
    ) -> None:
        self.service = service
        self.output = output
        self.became_ready = asyncio.Event()
        self.state: State = "waiting"
        self.restarts = 0
        self._tag = f"{os.getpid()}/{service.name}"
        self._env = {**env, **service.env, TAG: self._tag}
        self._cwd = cwd
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._started_at = 0.0
        self._ready_at: float | None = None
        self._stopping = asyncio.Event()
        self._entered = False

    @property
    def pid(self) -> int | None:
        """Process id of the running service."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def has_started(self) -> bool:
        """Whether `run` was entered."""
        return self._entered

    def status(self) -> ServiceStatus:
        """Snapshot for `status`."""
        return ServiceStatus(
            service=self.service.name,
            pid=self.pid,
            state=self.state,
            restarts=self.restarts,
            uptime_s=round(time.monotonic() - self._started_at, 1) if self.pid else 0.0,
            ready=self.state in ("ready", "done"),
        )

    async def run(self) -> None:
        """Until stopped (or, for a step, done). Raises StartFailed if it never got ready."""
        self._entered = True
        try:
            if self.service.prepare is not None:
                await asyncio.to_thread(self.service.prepare)
        except (OSError, RuntimeError) as error:
            raise StartFailed(f"{self.service.name}: {error}") from error
        failures = 0
        while not self._stopping.is_set():
            why = await self._one_life()
            if self.state in ("done", "stopped"):
                return
            lived = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
            failures = backoff.failures_after(failures, lived)
            if failures >= _START_ATTEMPTS and not self.became_ready.is_set():
                raise StartFailed(self._explain(why))
            delay = backoff.delay_s(failures)
            self.restarts += 1
            self._set("restarting")
            self.output.say("restarting", "warning", why=why, in_s=round(delay, 2))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
        self._set("stopped")

    async def stop(self) -> None:
        """SIGTERM, then after the grace SIGKILL to all that it started."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self.service.stop_grace_s)
            except TimeoutError:
                self.output.say("did not stop in time, killed", "warning")
                kill_group(process.pid)
                await process.wait()
        await self._clean_up()
        self._set("stopped")

    async def _one_life(self) -> str:
        """Start it and see it through to its end; returns why it ended."""
        self._set("starting")
        process = await self._spawn()
        try:
            if self._stopping.is_set():  # told to stop while it was being started
                kill_group(process.pid)
                return _explain_exit(await process.wait())
            if self.service.is_step:
                code = await process.wait()
                if code == 0:
                    self._set("done")
                    self.became_ready.set()
                return _explain_exit(code)
            return await self._watch(process)
        finally:
            if not self._stopping.is_set():
                self._tell_exit(process.pid)
                await self._clean_up()
            else:
                self._set("stopped")

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        probe = self.service.probe
        assert probe is not None
        ended = asyncio.ensure_future(process.wait())
        try:
            deadline = time.monotonic() + _READY_WITHIN_S
            heard = time.monotonic()
            while not ended.done():
                answer = await ask(probe)
                if ended.done():
                    break
                ready = answer == "ready"
                if answer != "silent" or self._ready_at is None:
                    heard = time.monotonic()
                elif (silent_s := time.monotonic() - heard) > self.service.silence_s:
                    kill_group(process.pid)
                    await ended
                    return f"no answer for {silent_s:.0f} s, killed"
                if ready and self.state != "ready":
                    self._set("ready")
                    self._ready_at = self._ready_at or time.monotonic()
                    took = round(time.monotonic() - self._started_at, 2)
                    self.output.say("ready", after_s=took, pid=process.pid)
                    self.became_ready.set()
                elif not ready and self.state == "ready":
                    self._set("unready")
                    self.output.say("no longer ready", "warning")
                if self.state == "starting" and time.monotonic() > deadline:
                    kill_group(process.pid)
                    await ended
                    why = f"not ready after {_READY_WITHIN_S:.0f} s"
                    if not self.became_ready.is_set():
                        raise StartFailed(self._explain(why))
                    return why
                await asyncio.wait({ended}, timeout=self._pause_s())
            return _explain_exit(ended.result())
        finally:
            ended.cancel()

    def _pause_s(self) -> float:
        if self.state == "ready":
            return _WATCH_EVERY_S
        first, longest = _PROBE_EVERY_S
        return min(longest, first + (time.monotonic() - self._started_at) / 20)

    async def _spawn(self) -> asyncio.subprocess.Process:
        # A session of its own: Ctrl-C reaches the supervisor only, and one kill reaches the group.
        # A pipe of our own: asyncio's would make `wait()` last until grandchildren close it too.
        shim = [sys.executable, "-I", "-S", _SHIM, str(os.getpid())]
        readable, writable = os.pipe()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *shim,
                *self.service.command,
                cwd=self._cwd,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writable,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        self._started_at, self._ready_at = time.monotonic(), None
        self._pump = asyncio.create_task(self._read(os.fdopen(readable, "rb", buffering=0)))
        self._changed()
        return process

    async def _read(self, pipe: io.FileIO) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while data := await reader.read(_PIPE_BYTES):
                self.output.feed(data)
        finally:
            transport.close()
            self.output.end()

    def _tell_exit(self, pid: int) -> None:
        """Runs the service's hook in a thread of its own: supervision goes on whatever it does."""
        hook, loop = self.service.on_exit, asyncio.get_running_loop()
        if hook is None:
            return

        def say(event: str, level: str, **fields: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(lambda: self.output.say(event, level, **fields))

        def run() -> None:
            try:
                hook(pid)
            except Exception as error:  # whatever fails here, the service itself is unharmed
                say(
                    "its exit could not be reported",
                    "warning",
                    error=f"{type(error).__name__}: {error}",
                )
            else:
                say("its exit was reported", "info", pid=pid)

        threading.Thread(target=run, name=f"exit of {self.service.name}", daemon=True).start()

    async def _clean_up(self) -> None:
        """Clears what the last run left: its children and unread output."""
        if self._process is not None:
            kill_group(self._process.pid)
            kill_adopted(self._tag)
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=2)
            self._pump.cancel()

    def _set(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._changed()

    def _explain(self, why: str) -> str:
        last = "\n  ".join(self.output.tail)
        return f"{self.service.name} does not start: {why}. Its last lines:\n  {last}"


def _explain_exit(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
