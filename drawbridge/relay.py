"""Two connections joined: what comes in at one goes out at the other, no faster than that takes it. Reads none of it."""

import asyncio
from typing import cast

BUFFER_BYTES = 1024 * 1024
"""Waiting for one of the two; past it the other is read no more."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(first: Stream, second: Stream) -> None:
    """Returns when both are closed; the end of one is the end of the other, once that has what was left for it.

    Neither stream may be used afterwards. Who cancels this aborts both.
    """
    ends = {await _lead(stream, other): stream[1] for stream, other in ((first, second), (second, first))}
    try:
        await asyncio.wait(ends)
    finally:
        for ended, writer in ends.items():
            if not ended.done():  # one that is closed cannot bear to be aborted (Python 3.11)
                writer.transport.abort()


async def _lead(stream: Stream, other: Stream) -> asyncio.Future[None]:
    """Takes a connection from its stream, with what the stream had read already. asyncio runs nothing else meanwhile."""
    reader, writer = stream
    reader.feed_eof()  # so that the next line gives what is there, and waits for nothing
    other[1].write(await reader.read())
    end = _End(other[1].transport)
    transport = cast("asyncio.Transport", writer.transport)
    transport.set_write_buffer_limits(high=BUFFER_BYTES)
    transport.set_protocol(end)
    transport.resume_reading()
    if transport.is_closing():  # while the stream was in use: it tells nobody any more
        end.connection_lost(None)
    return end.ended


class _End(asyncio.Protocol):
    """What one connection does to the other."""

    def __init__(self, other: asyncio.WriteTransport) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._other = cast("asyncio.Transport", other)

    def data_received(self, data: bytes) -> None:
        if not self._other.is_closing():
            self._other.write(data)

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        self._other.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._other.close()
        if not self.ended.done():
            self.ended.set_result(None)
