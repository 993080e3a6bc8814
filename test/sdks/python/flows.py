"""The workflow of the comparison."""

import datetime
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
)

with workflow.unsafe.imports_passed_through():
    from results import TYPES, shown


@dataclass
class Sandboxed:
    """What is asked for where the type stands beside the workflow: see results.py."""

    at: datetime.datetime


def causes(error: Any) -> dict:
    """They are there if there are some."""
    found = []
    while isinstance(error.__cause__, ApplicationError):
        error = error.__cause__
        found.append(
            {
                "message": error.message,
                "type": error.type or "",
                "details": [shown(d) for d in error.details],
                "non_retryable": error.non_retryable,
            }
        )
    return {"causes": found} if found else {}


def failure(error: Any, kind: str) -> dict:
    application = isinstance(error, ApplicationError)
    delay = error.next_retry_delay if application else None
    return {
        "failure": {
            **causes(error),
            "kind": kind,
            "message": error.message if application else "",
            "type": (error.type or "") if application else "",
            "details": [shown(d) for d in error.details],
            "non_retryable": error.non_retryable if application else False,
            "next_retry_delay_ms": int(delay.total_seconds() * 1000) if delay else 0,
            "benign": application
            and error.category == ApplicationErrorCategory.BENIGN,
        }
    }


@workflow.defn(name="Wait")
class Wait:
    """It returns what it was told about its activity."""

    @workflow.run
    async def run(self, task: dict) -> dict:
        try:
            value = await workflow.execute_activity(
                task["activity"],
                task["key"],
                result_type=Sandboxed if task["as"] == "sandboxed" else TYPES[task["as"]],
                start_to_close_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(maximum_attempts=task["attempts"]),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                return failure(error.cause, "application")
            if isinstance(error.cause, CancelledError):
                return failure(error.cause, "canceled")
            raise
        return {"value": shown(value)}
