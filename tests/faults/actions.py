"""Faults as they are done to the running stack, by pid and by the log."""

import asyncio
import json
import os
import random
import signal
import struct
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import psutil

from ringlog import log
from ringlog.kafka import sync
from ringlog.settings import METRICS_SERVICES, Settings
from stack import control
from tests.faults.schedule import RESTARTED, Fault

logger = log.logger("faults")

_READY_WITHIN_S = 120.0
_HOUR_S = 3_600
_SERVING = frozenset({"speak", "serves", "works"})
_REPLAYED = ("tasks.requested", "asr.transcripts", "calls.events", "dialogue.turns")
_REPLAYED_RECORDS = 200


class Injector:
    """Does faults to one stack."""

    def __init__(self, config: Settings, clocks: Path, seed: int) -> None:
        """`clocks` is the folder of what the processes' clocks are wrong by."""
        self._config = config
        self._clocks = clocks
        self._dice = random.Random(seed)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3))

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.close()

    async def do(self, fault: Fault) -> str:
        """Does one fault, to its end; returns what exactly was done."""
        match fault.kind:
            case "kill":
                return await self._kill(await self._meant(fault.target))
            case "stall":
                service = await self._meant(fault.target)
                await self._stall(service, fault.for_s)
                return f"stopped {service} for {fault.for_s:.1f} s"
            case "clock" if fault.target == "all":
                return await self._all_clocks(fault.for_s)
            case "clock":
                return await self._clock(await self._meant(fault.target), fault.for_s)
            case "restart":
                return await self._restart_all()
            case "replay":
                return await asyncio.to_thread(self._replay)
            case "upgrade":
                return await self._upgrade()

    async def until_ready(self) -> None:
        """Waits until every service is ready. Raises TimeoutError."""
        async with asyncio.timeout(_READY_WITHIN_S):
            while not await asyncio.to_thread(self._all_ready):
                await asyncio.sleep(0.25)

    def _all_ready(self) -> bool:
        try:
            states = control.status(self._config)
        except control.StackError:
            return False
        return all(s.ready for s in states) and all(self._answers(s.pid) for s in states if s.pid)

    @staticmethod
    def _answers(pid: int) -> bool:
        """Whether the process is there: the supervisor looks at a ready service now and then."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return False

    async def _meant(self, target: str) -> str:
        """The service that a schedule's name means now."""
        if target not in ("robots", "robots-follower", "edge", "asr"):
            return target
        pair = ("robots-a", "robots-b") if target.startswith("robots") else (target, f"{target}-b")
        roles = {name: await self._role(name) for name in pair}
        serving = [name for name in pair if roles[name] in _SERVING] or [pair[0]]
        if target == "robots-follower":
            return next(name for name in pair if name != serving[0])
        return serving[0]

    async def _role(self, service: str) -> str | None:
        if service not in METRICS_SERVICES:
            return None
        url = f"http://127.0.0.1:{self._config.metrics_port_of(service)}/healthz"
        try:
            async with self._http.get(url) as answer:
                role: str | None = (await answer.json()).get("role")
                return role
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _pids(self) -> dict[str, int]:
        try:
            pids: dict[str, int] = json.loads(self._config.pids_file.read_text())
        except (OSError, ValueError):
            return {}
        return pids

    def _pid(self, service: str) -> int | None:
        return self._pids().get(service)

    def _signal(self, service: str, number: signal.Signals) -> bool:
        pid = self._pid(service)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    async def _kill(self, service: str) -> str:
        """Kills it and waits until it is started again, which is not yet that it is ready."""
        old = self._pid(service)
        self._signal(service, signal.SIGKILL)
        async with asyncio.timeout(_READY_WITHIN_S):
            while self._pid(service) in (None, old):
                await asyncio.sleep(0.05)
        return f"killed {service}"

    async def _stall(self, service: str, for_s: float) -> None:
        pid = self._pid(service)
        if pid is None:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.suspend()
            try:
                await asyncio.sleep(for_s)
            finally:
                process.resume()

    async def _clock(self, service: str, for_s: float) -> str:
        """Steps a service's clock, kills it amid, and mends the clock of its next process."""
        wrong_by_s = self._dice.choice((-_HOUR_S, _HOUR_S))
        self._step_clock(self._pid(service), wrong_by_s)
        await asyncio.sleep(for_s / 2)
        self._step_clock("start", wrong_by_s)
        try:
            await self._kill(service)
            await asyncio.sleep(for_s / 2)
        finally:
            self._step_clock("start", 0)
            self._step_clock(self._pid(service), 0)
        return f"clock of {service} {wrong_by_s / _HOUR_S:+.0f} h, and killed, for {for_s:.1f} s"

    async def _all_clocks(self, for_s: float) -> str:
        """Steps the clock of every service of ours; broker, registry and Flink keep theirs."""
        wrong_by_s = self._dice.choice((-_HOUR_S, _HOUR_S))
        pids = list(self._pids().values())
        for pid in pids:
            self._step_clock(pid, wrong_by_s)
        try:
            await asyncio.sleep(for_s)
        finally:
            for pid in pids:
                self._step_clock(pid, 0)
        return f"all clocks {wrong_by_s / _HOUR_S:+.0f} h for {for_s:.1f} s"

    def _step_clock(self, process: int | str | None, wrong_by_s: int) -> None:
        """As `clock/sitecustomize.py` reads it. Written in place: the file is mapped there."""
        path = self._clocks / str(process)
        if process == "start" and not path.is_file():
            path.write_bytes(bytes(8))
        with suppress(FileNotFoundError), path.open("r+b") as file:
            file.write(struct.pack("<q", wrong_by_s))

    async def _restart_all(self) -> str:
        done = []
        for target in RESTARTED:
            service = await self._meant(target)
            if self._signal(service, signal.SIGTERM):
                done.append(service)
            await asyncio.sleep(1.0)
            await self.until_ready()
        return f"restarted {', '.join(done)}"

    def _replay(self) -> str:
        """Appends the newest records of inputs once more, shuffled between partitions.

        Order within a partition is the log's; a repeat comes after what followed it.
        """
        count = 0
        with closing(sync.producer_of(self._config, "faults-replay")) as producer:
            for topic in _REPLAYED:
                records = list(sync.read(self._config, topic))[-_REPLAYED_RECORDS:]
                self._dice.shuffle(records)
                for r in records:
                    producer.send(topic, r.value, key=r.key, partition=r.partition)
                count += len(records)
            producer.flush()
        return f"appended {count} records again, shuffled"

    async def _upgrade(self) -> str:
        """Registers `tasks.requested` with one more optional field, as a newer producer would."""
        subject = "tasks.requested-value"
        base = f"{self._config.registry_url}/subjects/{subject}/versions"
        async with self._http.get(f"{base}/latest") as answer:
            schema = json.loads((await answer.json())["schema"])
        name = f"added_{len(schema['fields'])}"
        schema["fields"].append({"name": name, "type": ["null", "string"], "default": None})
        body = {"schema": json.dumps(schema)}
        async with self._http.post(base, json=body) as answer:
            answer.raise_for_status()
            schema_id = (await answer.json())["id"]
        await asyncio.to_thread(self._rewrite_newest, schema, schema_id)
        return f"registered {subject} with field {name}, and wrote a record with it"

    def _rewrite_newest(self, schema: dict[str, object], schema_id: int) -> None:
        """Appends the newest request again, written with the newer schema."""
        import io

        import fastavro

        from ringlog.kafka.codec import codec_of
        from schemas.avro_schema import strip_logical
        from schemas.wire import HEADER, MAGIC

        last = list(sync.read(self._config, "tasks.requested"))[-1]
        record = codec_of(self._config).decode_record("tasks.requested", last.value)
        out = io.BytesIO(HEADER.pack(MAGIC, schema_id))
        out.seek(HEADER.size)
        newer = {**record, str(schema["fields"][-1]["name"]): "of tomorrow"}  # type: ignore[index] # JSON
        fastavro.schemaless_writer(out, strip_logical(schema), newer)
        with closing(sync.producer_of(self._config, "faults-upgrade")) as producer:
            producer.send("tasks.requested", out.getvalue(), key=last.key, partition=last.partition)
            producer.flush()
