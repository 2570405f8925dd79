"""The supervisor process: starts the parts in order, keeps them alive, stops them in reverse.

Started by `stack.guard`, which outlives it and cleans up whatever happens here.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from ringlog.health import Health, add_routes, serve
from ringlog.settings import Settings, root
from stack import environment, ports, services
from stack.output import ServiceOutput
from stack.processes import become_subreaper, terminate_with
from stack.runner import Runner, ServiceStatus, StartFailed
from stack.services import Service

EXIT_START_FAILED = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class PortsTaken(RuntimeError):
    """A port that the stack needs is in use; the message names the holder."""


class Supervisor:
    """Owner of all runners. `run()` returns when everything is stopped."""

    def __init__(self, settings: Settings, parts: Sequence[Service], console: bool) -> None:
        self._settings = settings
        self._parts = list(parts)
        self._health = Health("supervisor")
        self._stop = asyncio.Event()
        self._output = ServiceOutput("supervisor", settings.logs_dir, console=True)
        env = environment.of_services(settings)
        self._runners = {
            part.name: Runner(
                part,
                ServiceOutput(part.name, settings.logs_dir, console),
                env,
                root(),
                self._write_pids,
            )
            for part in parts
        }

    def request_stop(self) -> None:
        """Stop everything, in reverse order; `run()` then returns."""
        self._stop.set()

    async def run(self) -> None:
        """Raises PortsTaken before anything starts, StartFailed after everything is stopped."""
        self._check_ports()
        settings = self._settings
        web_runner = await serve(
            self._application(), settings.bind_host, settings.metrics_port_of("supervisor")
        )
        self._write_pids()
        _write_json(settings.endpoints_file, services.endpoints(settings, self._parts))
        tasks = [asyncio.create_task(self._keep(runner)) for runner in self._runners.values()]
        try:
            await self._until_stop_or_failure(tasks)
        finally:
            self._health.set_waiting("stopping")
            await self._stop_all(tasks)
            await web_runner.cleanup()
            for path in (settings.pids_file, settings.endpoints_file):
                path.unlink(missing_ok=True)
            self._output.say("stopped")

    def _check_ports(self) -> None:
        host = self._settings.bind_host
        wanted = {self._settings.metrics_port_of("supervisor"): "supervisor: metrics"}
        for part in self._parts:
            wanted |= {port: f"{part.name}: {purpose}" for port, purpose in part.ports.items()}
        if taken := ports.conflicts(host, wanted):
            raise PortsTaken(
                "\n".join(taken) + "\nStop the holder, or set RINGLOG_PORT_SHIFT to move all ports."
            )

    async def _keep(self, runner: Runner) -> None:
        for name in runner.service.needs:
            await self._runners[name].became_ready.wait()
        await runner.run()

    async def _until_stop_or_failure(self, tasks: list[asyncio.Task[None]]) -> None:
        stop = asyncio.create_task(self._stop.wait())
        ready = asyncio.create_task(self._announce_ready())
        pending: set[asyncio.Task[object]] = {stop, *tasks}
        try:
            while not stop.done():
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                pending -= done
                for task in done - {stop}:
                    task.result()  # raises StartFailed; a step that is done simply ends
        finally:
            stop.cancel()
            ready.cancel()

    async def _announce_ready(self) -> None:
        for runner in self._runners.values():
            self._health.set_waiting(runner.service.name)
            await runner.became_ready.wait()
        self._health.set_ready()
        self._output.say("the stack is ready", services=len(self._runners))

    async def _stop_all(self, tasks: list[asyncio.Task[None]]) -> None:
        """A part stops when all that need it have stopped."""
        stopped = {name: asyncio.Event() for name in self._runners}

        async def stop_one(runner: Runner) -> None:
            name = runner.service.name
            for other in self._parts:
                if name in other.needs:
                    await stopped[other.name].wait()
            try:
                await runner.stop()
            finally:
                stopped[name].set()

        await asyncio.gather(*map(stop_one, self._runners.values()), return_exceptions=True)
        for task, runner in zip(tasks, self._runners.values(), strict=True):
            if not runner.has_started:
                task.cancel()  # it still waits for what it needs
        await asyncio.gather(*tasks, return_exceptions=True)
        for runner in self._runners.values():
            runner.output.close()

    def _application(self) -> web.Application:
        async def status(_: web.Request) -> web.Response:
            return web.json_response([status.as_dict() for status in self._statuses()])

        app = web.Application()
        add_routes(app, self._health)
        app.add_routes([web.get("/status", status)])
        return app

    def _statuses(self) -> list[ServiceStatus]:
        return [runner.status() for runner in self._runners.values()]

    def _write_pids(self) -> None:
        pids = {name: runner.pid for name, runner in self._runners.items() if runner.pid}
        _write_json(self._settings.pids_file, {"supervisor": os.getpid(), **pids})


def _write_json(path: Path, content: object) -> None:
    """Readers see the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


async def supervise(settings: Settings, parts: Sequence[Service], console: bool) -> int:
    """Run the parts until a signal asks for the end; returns the exit status."""
    supervisor = Supervisor(settings, parts, console)
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, supervisor.request_stop)
    try:
        await supervisor.run()
    except (PortsTaken, StartFailed) as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_START_FAILED
    return 0


def main(
    arguments: list[str], build: Callable[[Settings], Sequence[Service]] = services.build
) -> int:
    """Exit status of the process; settings come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m stack.supervisor")
    parser.add_argument("--guard-pid", type=int, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--console", action="store_true")
    options = parser.parse_args(arguments)
    terminate_with(options.guard_pid)
    become_subreaper()
    settings = Settings()
    only = set(options.only.split(",")) if options.only else None
    parts = services.select(build(settings), only)
    return asyncio.run(supervise(settings, parts, options.console))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
