"""The types that the workflow asks for.

They stand in a file of their own that the workflow's sandbox passes through: of what it imports itself, it hands out
datetime as a proxy, which the SDK's converter does not know.
"""

import base64
import dataclasses
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Optional


@dataclass
class Order:
    id: int
    item: str
    approved: bool


@dataclass
class OptionalItem:
    id: int
    item: Optional[str]


@dataclass
class Named:
    customer_name: str


@dataclass
class Priced:
    price: float


@dataclass
class Timed:
    at: datetime


@dataclass
class Dated:
    at: date


@dataclass
class Blob:
    data: bytes


TYPES: dict[str, Any] = {
    "any": None,
    "string": str,
    "integer": int,
    "float": float,
    "bytes": bytes,
    "order": Order,
    "optional": OptionalItem,
    "named": Named,
    "priced": Priced,
    "timestamp": Timed,
    "local": Timed,
    "date": Dated,
    "blob": Blob,
}


def shown(v: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(v, bytes):
        return {"base64": base64.b64encode(v).decode()}
    if isinstance(v, (date, datetime)):
        return v.isoformat()
    if isinstance(v, float) and v != v:
        return "NaN"
    if dataclasses.is_dataclass(v):
        return {f.name: shown(getattr(v, f.name)) for f in dataclasses.fields(v)}
    return v
