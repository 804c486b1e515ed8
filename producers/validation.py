"""What the publisher refuses, and how it says so. Pure: from arguments to the parts of a record, or InvalidRecord."""

from __future__ import annotations

import math
import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence, Sized
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidRecord
from ..schemas.codec import NO_METADATA, little_endian
from ..schemas.collection import MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_RECORD_BYTES, Collection
from ..schemas.fields import RowFields
from ..schemas.ids import Id, id_text
from ..schemas.plain import encode, is_exact, literal, plain
from ..schemas.spelling import Spelling
from ..schemas.values import Check, Unfit, check_of

Metadata = Mapping[str, object]
T = TypeVar("T")

# Without NumPy's dispatch to arrays of other libraries, which takes as long as the product.
_vdot = getattr(np.vdot, "_implementation", np.vdot)
_ndarray = np.ndarray
_INFINITY = math.inf
_FLOAT32 = np.dtype(np.float32)
_IS_LITTLE = sys.byteorder == "little"
_SCALARS = frozenset((str, int, bool, type(None)))
_BACKSLASH = 0x5C
_BIGINT = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_dumps = orjson.dumps
_isfinite = math.isfinite


class Validator:
    """Checks arguments for one collection. ``field`` is what an error calls the argument. Thread-safe.

    ``replicas``: the types of the columns, as far as they are known; values are spelled as these give them back.
    """

    __slots__ = ("_dimension", "_directed", "_fields", "_id_checks", "_id_type", "_shape", "_spelling")

    def __init__(
        self, collection: Collection, metadata_fields: frozenset[str] | None, replicas: Sequence[RowFields] = ()
    ) -> None:
        self._dimension = collection.space.dimension
        self._shape = (collection.space.dimension,)
        self._directed = collection.space.metric == "cosine"
        self._id_type = collection.id_type
        self._fields = metadata_fields
        self._spelling = Spelling(replicas) or None
        self._id_checks = [check_of(replica.id) for replica in replicas if replica.id is not None]

    def key(self, given: Id, field: str = "id") -> bytes:
        """The id as UTF-8: 1 to MAX_ID_BYTES bytes, no NUL, in the canonical form of the collection's id type."""
        id_ = given if type(given) is str else id_text(given, self._id_type)
        if id_ is None:
            raise InvalidRecord(field, f"{type(given).__name__} is not text", "pass str(id)")
        try:
            key = id_.encode()
        except UnicodeEncodeError as error:
            raise InvalidRecord(
                field, f"holds a lone surrogate at {error.start}", "use text that UTF-8 can carry"
            ) from error
        if not 0 < len(key) <= MAX_ID_BYTES:
            raise InvalidRecord(field, f"takes {len(key)} bytes as UTF-8", f"use 1 to {MAX_ID_BYTES}")
        if 0 in key:
            raise InvalidRecord(field, f"{id_[:80]!r} holds NUL", "not every store can carry it; use another id")
        if self._id_type != "text":
            _check_canonical(id_, self._id_type, field)
        for check in self._id_checks:
            _check_id(check, id_, self._id_type, field)
        return key

    def vector(self, vector: ArrayLike, field: str = "vector") -> NDArray[np.float32]:
        """``vector`` as float32 [d] in one piece and wire order: finite, and not without direction for cosine."""
        # Decides nearly always, in one pass: a sum of squares is finite only if every element is. (dot would warn.)
        if (
            type(vector) is _ndarray
            and vector.dtype is _FLOAT32
            and vector.shape == self._shape
            and 0.0 < float(_vdot(vector, vector)) < _INFINITY
            and vector.flags.c_contiguous
            and _IS_LITTLE
        ):
            return vector
        array = _to_float32(vector, field)
        if array.shape != self._shape:
            raise self._wrong_shape(array.shape, self._shape, field)
        square = float(_vdot(array, array))
        if not 0.0 < square < _INFINITY:
            self._examine(array, square, field)
        return little_endian(array)

    def vectors(self, vectors: ArrayLike, rows: int) -> NDArray[np.float32]:
        """``vectors`` as float32 [rows, d] in one piece and wire order; each row is held to :meth:`vector`."""
        array = (
            vectors
            if isinstance(vectors, np.ndarray) and vectors.dtype is _FLOAT32
            else _to_float32(vectors, "vectors")
        )
        if rows == 0 and array.size == 0:
            return np.zeros((0, self._dimension), np.float32)
        if array.shape != (rows, self._dimension):
            raise self._wrong_shape(array.shape, (rows, self._dimension), "vectors")
        squares = np.einsum("ij,ij->i", array, array)
        for row in np.flatnonzero(~((squares > 0) & (squares < np.inf))).tolist():
            self._examine(array[row], float(squares[row]), f"vectors[{row}]")
        return little_endian(array)

    def metadata(self, metadata: Metadata | None, field: str = "metadata") -> bytes:
        """``metadata`` as a JSON object in UTF-8, at most MAX_METADATA_BYTES."""
        if metadata is None:
            return NO_METADATA
        if type(metadata) is not dict:
            if not isinstance(metadata, Mapping):
                raise InvalidRecord(field, f"{type(metadata).__name__} is not a mapping", "pass a dict")
            metadata = dict(metadata)
        if self._fields is not None and not metadata.keys() <= self._fields:
            unknown = min(set(metadata) - self._fields, key=str)
            raise InvalidRecord(
                field, f"unknown field {unknown!r}", f"the stores hold {', '.join(sorted(self._fields))}"
            )
        if self._spelling is not None:
            metadata = self._spelling.row(metadata, field)
        try:
            text = _encode_flat(metadata) or encode(plain(metadata, field))
        except InvalidRecord:
            raise
        except (ValueError, TypeError) as error:  # NaN, infinity, a lone surrogate, an int beyond Python's own limit
            raise InvalidRecord(
                field, f"is not JSON ({error})", "use finite numbers and text that UTF-8 can carry"
            ) from error
        if len(text) > MAX_METADATA_BYTES:
            raise InvalidRecord(field, f"takes {len(text)} bytes as JSON", f"use at most {MAX_METADATA_BYTES}")
        if _BACKSLASH in text and b"\\u0000" in text and _holds_nul(metadata):
            raise InvalidRecord(field, "holds NUL in a text", "not every store can carry it; remove it")
        return text

    def text(self, source_text: str | None, field: str = "source_text") -> bytes | None:
        """``source_text`` as UTF-8."""
        if source_text is None:
            return None
        if not isinstance(source_text, str):
            raise InvalidRecord(field, f"{type(source_text).__name__} is not text", "pass a str")
        try:
            return source_text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRecord(
                field, f"holds a lone surrogate at {error.start}", "use text that UTF-8 can carry"
            ) from error

    def _examine(self, array: NDArray[np.float32], square: float, field: str) -> None:
        bad = np.flatnonzero(~np.isfinite(array))
        if len(bad):
            raise InvalidRecord(field, f"element {bad[0]} is {array[bad[0]]} as float32", "use finite numbers")
        if not self._directed:
            return
        if not array.any():
            raise InvalidRecord(field, "is the zero vector, which has no direction for cosine", "leave the row out")
        problem = "is too long" if square > 0 else "is too short"
        raise InvalidRecord(
            field, f"{problem} for cosine: its squared length leaves float32", "normalise it to length 1"
        )

    def _wrong_shape(self, found: tuple[int, ...], wanted: tuple[int, ...], field: str) -> InvalidRecord:
        return InvalidRecord(field, f"has shape {found}", f"this collection wants {wanted}")


def rows_of(name: str, values: Sequence[T] | None, rows: int) -> Sequence[T | None]:
    """``values`` if it has an entry for each of ``rows`` rows, None for each where it is None; else InvalidRecord."""
    if values is None:
        return (None,) * rows
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Sized) or len(values) != rows:
        found = f"{len(values)} entries" if isinstance(values, Sequence) else type(values).__name__
        raise InvalidRecord(name, f"{found} for {rows} ids", "pass one entry per id")
    return values


def each_of(check: Callable[..., T], values: Sequence[Any], name: str) -> list[T]:
    """``check`` of each value; what it refuses is named as ``ids[3]``."""
    try:
        return [check(value) for value in values]
    except InvalidRecord:
        return [check(value, f"{name}[{row}]") for row, value in enumerate(values)]


def too_large(size: int, field: str) -> InvalidRecord:
    """The refusal of a record of ``size`` bytes, key included."""
    remedy = f"shorten source_text or metadata to stay within {MAX_RECORD_BYTES}"
    return InvalidRecord(field, f"takes {size} bytes with everything in it", remedy)


def _check_canonical(id_: str, id_type: str, field: str) -> None:
    try:
        canonical = str(int(id_)) if id_type == "bigint" else str(uuid.UUID(id_))
    except ValueError:
        canonical = ""
    pattern = _BIGINT if id_type == "bigint" else _UUID
    if pattern.fullmatch(id_) and id_ == canonical and (id_type == "uuid" or -(2**63) <= int(id_) < 2**63):
        return
    remedy = (
        f"use {canonical!r}"
        if pattern.fullmatch(canonical) and canonical != id_
        else f"use the id of a {id_type} column"
    )
    raise InvalidRecord(field, f"{id_[:80]!r} is not a {id_type} in canonical form", remedy)


def _check_id(check: Check, id_: str, id_type: str, field: str) -> None:
    try:
        check(int(id_) if id_type == "bigint" else id_)
    except Unfit as unfit:
        raise InvalidRecord(field, unfit.problem, unfit.remedy) from None


def _to_float32(vector: ArrayLike, field: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(vector)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; arrays of other libraries that refuse
        raise InvalidRecord(field, f"is not an array ({error})", "pass numbers of one shape") from error
    if array.dtype.kind not in "fiu":
        raise InvalidRecord(field, f"has elements of type {array.dtype}", "pass real numbers")
    with np.errstate(over="ignore"):  # becomes infinity, which is refused by name
        return array.astype(np.float32)


def _encode_flat(metadata: Mapping[str, object]) -> bytes | None:
    """The JSON text of a dict of scalars; None when it is not that plain, or when the general encoder must explain."""
    for value in metadata.values():
        kind = type(value)
        if kind in _SCALARS:
            continue
        # orjson would write a float that is not finite as null.
        if not (kind is float and _isfinite(value)) and not (kind is Decimal and is_exact(value)):  # type: ignore[arg-type]
            return None
    try:
        return _dumps(metadata, literal)
    except TypeError:  # integers beyond 64 bits, which JSON has; keys that are no text and lone surrogates, which not
        return None


def _holds_nul(value: object) -> bool:
    # The escape may also be a text about escapes: only a real NUL counts.
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value
