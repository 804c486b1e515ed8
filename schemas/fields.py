"""What type a store gives each field of a row: noted at enrolment, kept in the journal, read by publishers."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue


class Field(BaseModel):
    """One column. ``kind`` decides how a value is spelled (``values.py``); one that is not known there is not judged.

    declared    the type in the store's own words, for messages
    required    the column may not be null
    default     what an omitted required field becomes: the column's default where that is a constant; None: nothing
    low, high   of an integer
    bits        of a floating-point number
    length      of a text: the most characters
    precision   of a number: the most digits; of a time: digits behind the second
    scale       of a number: digits behind the point
    labels      of an enumeration
    items       of an array: its elements
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    declared: str
    required: bool = False
    default: JsonValue = None
    low: int = 0
    high: int = 0
    bits: int = 64
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    labels: tuple[str, ...] = ()
    items: Field | None = None


class RowFields(BaseModel):
    """The columns of one replica. ``document``: its one JSON column; else ``metadata`` has a column per key."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Field | None = None
    metadata: Mapping[str, Field] = {}
    document: Field | None = None


def integer(declared: str, bits: int, *, signed: bool = True) -> Field:
    """An integer column of ``bits`` bits."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Field(kind="int", declared=declared, low=low, high=high)
