"""A client of a schema registry with Confluent's HTTP API, and one in memory for tests."""

import json
import logging
from typing import Any

import urllib3
from urllib3.util import Retry, Timeout

from schemas.writer_schema import Unusable

MAX_ANSWER_BYTES = 4 << 20
"""Longest answer that is read."""

NO_SUBJECT, NO_VERSION, NO_SCHEMA = 40401, 40402, 40403
"""Error codes of Confluent's API. A 404 without one of them does not come from a registry but from
a proxy before it, or from a wrong address, and says nothing about a schema."""

# The caller that waits logs it once; single retries do not help an operator.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class RegistryError(Exception):
    """The registry was out of reach, or refused; the text says what and how to mend it."""


class Registry:
    """Confluent's registry API. Answers about ids never change, so they are kept for ever."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._http = urllib3.PoolManager(
            timeout=Timeout(connect=timeout_s, read=timeout_s),
            # `Retry-After` is ignored: it may say an hour, and nothing would show the wait.
            retries=Retry(total=3, backoff_factor=0.1, status_forcelist=(502, 503, 504),
                          allowed_methods=None, raise_on_status=False,
                          respect_retry_after_header=False),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )  # fmt: skip
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, str] = {}

    def id_of(self, subject: str, schema: str) -> int:
        """Id of a registered schema; raises RegistryError when it is not registered."""
        found = self._ids.get((subject, schema))
        if found is None:
            status, body = self._call("POST", f"/subjects/{subject}", {"schema": schema})
            if status == 404 and _code(body) in (NO_SUBJECT, NO_SCHEMA):
                raise RegistryError(
                    f"{self._url} does not know the current schema of {subject} "
                    f"({status}: {_message(body)}); apply the contract with "
                    "`python -m schemas.apply`"
                )
            found = self._ids[subject, schema] = self._id(f"schema of {subject}", status, body)
            self._schemas.setdefault(found, schema)
        return found

    def schema_of(self, schema_id: int) -> str:
        """Text of the Avro schema of an id; raises KeyError when the registry has none, Unusable
        when it is of another kind, and RegistryError for any answer that is not clear."""
        found = self._schemas.get(schema_id)
        if found is None:
            status, body = self._call("GET", f"/schemas/ids/{schema_id}")
            if status == 404 and _code(body) == NO_SCHEMA:
                raise KeyError(schema_id)
            text = body.get("schema") if isinstance(body, dict) else None
            if status != 200 or not isinstance(text, str):
                raise self._odd(f"schema {schema_id}", status, body)
            if (kind := body.get("schemaType") or "AVRO") != "AVRO":
                raise Unusable(f"is {str(kind)[:50]}, not Avro")
            found = self._schemas[schema_id] = text
        return found

    def register(self, subject: str, schema: str) -> int:
        """Registers a schema, or finds it registered; raises RegistryError when incompatible."""
        status, body = self._call("POST", f"/subjects/{subject}/versions", {"schema": schema})
        if status == 409:
            raise RegistryError(f"{subject}: incompatible with what is registered: {body}")
        return self._id(f"register {subject}", status, body)

    def set_compatibility(self, subject: str, level: str) -> None:
        """Sets a subject's compatibility level; raises RegistryError."""
        status, body = self._call("PUT", f"/config/{subject}", {"compatibility": level})
        if status != 200:
            raise RegistryError(f"{self._url}: config {subject}: {status} {body}")

    def subjects(self) -> list[str]:
        """All subjects; raises RegistryError."""
        status, body = self._call("GET", "/subjects")
        if status != 200 or not isinstance(body, list):
            raise RegistryError(f"{self._url}: subjects: {status} {body}")
        return [str(s) for s in body]

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        try:
            answer = self._http.request(
                method, self._url + path, body=None if body is None else json.dumps(body),
                preload_content=False,
            )  # fmt: skip
            data = answer.read(MAX_ANSWER_BYTES)
            if len(data) == MAX_ANSWER_BYTES:
                answer.close()
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(
                f"no answer from the schema registry at {self._url} ({type(error).__name__}); "
                "is the stack up? `ringlog status`"
            ) from None
        try:
            return answer.status, json.loads(data)
        except (ValueError, RecursionError):
            return answer.status, {"message": data[:200].decode("utf-8", "replace")}

    def _id(self, what: str, status: int, body: Any) -> int:
        found = body.get("id") if isinstance(body, dict) else None
        if status != 200 or not isinstance(found, int):
            raise self._odd(what, status, body)
        return found

    def _odd(self, what: str, status: int, body: Any) -> RegistryError:
        return RegistryError(f"{self._url}: {what}: {status} {_message(body)}".rstrip())


def _code(body: Any) -> Any:
    return body.get("error_code") if isinstance(body, dict) else None


def _message(body: Any) -> str:
    return str(body.get("message", body) if isinstance(body, dict) else body)[:200]


class MemoryRegistry:
    """Ids by order of asking; for tests and benchmarks that need no services."""

    def __init__(self) -> None:
        self._schemas: list[str] = []

    def id_of(self, subject: str, schema: str) -> int:
        """Registers on first sight."""
        if schema not in self._schemas:
            self._schemas.append(schema)
        return self._schemas.index(schema) + 1

    def schema_of(self, schema_id: int) -> str:
        """Schema text of an id; raises KeyError."""
        if not 0 < schema_id <= len(self._schemas):
            raise KeyError(schema_id)
        return self._schemas[schema_id - 1]
