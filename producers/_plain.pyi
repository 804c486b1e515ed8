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
        random: bytes,
    ) -> PlainEncoder: ...
    def upsert(self, id: object, vector: object, metadata: object, unix_s: float, /) -> tuple[bytes, bytes] | None: ...
    def parts(self, ids: list[str], metadata: list[Any], /) -> tuple[list[bytes], list[bytes]] | None: ...
    def records(
        self, keys: list[bytes], vectors: object, metadata: list[bytes], unix_s: float, start: int, stop: int, /
    ) -> list[tuple[bytes, bytes]]: ...
