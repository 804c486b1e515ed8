from typing import Any

class PlainEncoder:
    def __new__(
        cls,
        *,
        prefix: bytes,
        before_vector: bytes,
        fields: frozenset[str] | None,
        dumps: Any,
        dimension: int,
        max_id_bytes: int,
        max_metadata_bytes: int,
        directed: bool,
    ) -> PlainEncoder: ...
    def upsert(
        self, id: object, vector: object, metadata: object, event_id: bytes, occurred_at_ms: int, /
    ) -> tuple[bytes, bytes] | None: ...
    def record(self, key: bytes, vector: object, metadata: bytes, event_id: bytes, occurred_at_ms: int, /) -> bytes: ...
    def parts(self, ids: list[str], metadata: list[Any], /) -> tuple[list[bytes], list[bytes]] | None: ...
