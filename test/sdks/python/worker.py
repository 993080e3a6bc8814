"""A worker of the Python SDK whose activities are finished by someone else; see ../README.md."""

import asyncio
import base64
import dataclasses
import json
import os
import sys
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Optional, Sequence

import psycopg
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import AsyncActivityHandle, Client
from temporalio.converter import PayloadCodec, default
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import Worker

import flows
from results import Order, shown


class Codec(PayloadCodec):
    """Reads what is encrypted, and encrypts if it is told to. It is no cipher worth the name."""

    def __init__(self, encrypting: bool) -> None:
        self.encrypting = encrypting

    @staticmethod
    def veil(data: bytes) -> bytes:
        return bytes(b ^ 0x5A for b in data)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if not self.encrypting:
            return list(payloads)
        metadata = {"encoding": b"binary/encrypted", "encryption-key-id": b"k1"}
        return [Payload(metadata=metadata, data=self.veil(p.SerializeToString())) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(self.veil(p.data)) if p.metadata.get("encoding") == b"binary/encrypted" else p
            for p in payloads
        ]


# recipe: token


@activity.defn
async def request_approval(order: str) -> dict:
    await note(order)  # for the test
    async with await psycopg.AsyncConnection.connect() as db:
        await db.execute("SELECT temporal.record_activity(%s, %s)", (order, activity.info().task_token))
    activity.raise_complete_async()


# recipe: ids


@activity.defn
async def request_review(id: str) -> dict:
    await note(id)  # for the test
    info = activity.info()
    async with await psycopg.AsyncConnection.connect() as db:
        await db.execute(
            "INSERT INTO review VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (id, info.workflow_id, info.activity_id),
        )
    activity.raise_complete_async()


# recipe: end


async def note(key: str) -> None:
    """Tell the test of an attempt."""
    info = activity.info()
    found = [shown(d) for d in info.heartbeat_details]
    async with await psycopg.AsyncConnection.connect() as db:
        await db.execute(
            "INSERT INTO attempt VALUES (%s, %s, %s, %s)",
            (key, info.attempt, info.task_token, json.dumps(found) if found else None),
        )


# values as a user of Python has them
VALUES: dict[str, Any] = {
    "string": 'straße "1" 中\n\t<&>',
    "number": 12.5,
    "integer": 42,
    "big number": 9007199254740993,
    "null": None,
    "JSON null": None,
    "object": {"sku": 17, "missing": [1, 2], "deep": {"er": None}},
    "bytes": b"\x00\xff\x10",
    "class": Order(7, "a book", True),
    "encrypted": "secret",
}


def with_causes() -> ApplicationError:
    error = ApplicationError("no more stock, señor", type="OutOfStock")
    error.__cause__ = ApplicationError(
        "no answer from shelf 7 中", {"after": [5, "s"]}, type="Timeout", non_retryable=True
    )
    error.__cause__.__cause__ = ApplicationError("the cable is cut", type="Broken")
    return error


async def carry_out(client: Client, command: dict) -> None:
    """Do what a command says by the SDK's own client."""
    handle: AsyncActivityHandle
    if command.get("token"):
        handle = client.get_async_activity_handle(task_token=base64.b64decode(command["token"]))
    else:
        handle = client.get_async_activity_handle(
            workflow_id=command["workflow_id"], run_id=None, activity_id=command["activity_id"]
        )
    name = command["value"]
    values = [VALUES[name]] if name in VALUES else []
    if command["verb"] == "complete":
        await handle.complete(*values)
    elif command["verb"] == "cancel":
        await handle.report_cancellation(*values)
    elif command["verb"] == "heartbeat":
        await handle.heartbeat(*values)
    elif name == "message":
        await handle.fail(ApplicationError("no more stock, señor"))
    elif name == "causes":
        await handle.fail(with_causes())
    else:
        await handle.fail(
            ApplicationError(
                "no more stock, señor",
                *values,
                type="OutOfStock",
                non_retryable=True,
                next_retry_delay=timedelta(seconds=90),
                category=ApplicationErrorCategory.BENIGN,
            )
        )


async def connect(encrypting: bool) -> Client:
    converter = dataclasses.replace(default(), payload_codec=Codec(encrypting))
    return await Client.connect(os.environ["TEMPORAL_ADDRESS"], data_converter=converter)


def answer(**what: Optional[str]) -> None:
    print(json.dumps(what), flush=True)


async def main() -> None:
    client, encrypting = await connect(False), await connect(True)
    async with Worker(
        client,
        task_queue=os.environ["TASK_QUEUE"],
        workflows=[flows.Wait],
        activities=[request_approval, request_review],
    ):
        answer(ok="ready", version=version("temporalio"))
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            try:
                await carry_out(encrypting if command["value"] == "encrypted" else client, command)
                answer(ok="done")
            except Exception as error:  # noqa: BLE001
                answer(error=f"{type(error).__name__}: {error}")


asyncio.run(main())
