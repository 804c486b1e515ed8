"""Compiled code for lists of texts (``_columns.c``), or what stands for it where nothing could be compiled.

It answers for what is plain. None and False say that the Python code has to decide, which is what they always say here
without a compiler: so results and refusals do not depend on one.
"""

from __future__ import annotations

try:
    from ._columns import are_plain, encode_strings, partitions, read_strings, sized_texts, tails
except ImportError:  # built without a compiler

    def read_strings(data: bytes, at: int, /) -> tuple[list[bytes], int] | None:
        """See ``_columns.pyi``."""
        return None

    def encode_strings(texts: object, /) -> bytes | None:
        """See ``_columns.pyi``."""
        return None

    def are_plain(texts: object, brackets: int, /) -> bool:
        """See ``_columns.pyi``."""
        return False

    def partitions(ids: object, count: int, /) -> bytearray | None:
        """See ``_columns.pyi``."""
        return None

    def tails(texts: object, size: int, taken: bytes, /) -> bytearray | None:
        """See ``_columns.pyi``."""
        return None

    def sized_texts(texts: list[bytes] | list[str], order: bytes, /) -> bytes | None:
        """See ``_columns.pyi``."""
        return None


__all__ = ["are_plain", "encode_strings", "partitions", "read_strings", "sized_texts", "tails"]
