"""The compressions of MCAP's chunks, by libraries that rosbags brings along."""

from __future__ import annotations

import sys

from lz4.frame import decompress as lz4_decompress  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def compress_zstd(data: bytes | bytearray) -> bytes:
    """At its quickest."""
    return bytes(zstd.compress(data, level=1))


def decompress(data: bytes, name: str) -> bytes:
    """By MCAP's name of the compression. Raises ValueError where that can't be done."""
    try:
        if name == "zstd":
            return bytes(zstd.decompress(data))
        return bytes(lz4_decompress(data)) if name == "lz4" else data
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        raise ValueError(f"{name}: {error}") from None
