"""Two connections joined: all that goes in comes out, at the pace of who takes it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from drawbridge.relay import BUFFER_BYTES, Stream, join
from tests.waiting import WAITING_SECONDS

MEGABYTE = 1024 * 1024
Talk = Callable[[Stream, Stream, "asyncio.Task[None]"], Awaitable[None]]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Stream, Stream]]:
    """Both ends of one connection."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *stream: accepted.set_result(stream), "127.0.0.1", 0)
    near = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield near, await accepted
    finally:
        if not near[1].is_closing():
            near[1].transport.abort()
        server.close()


def talk_over(talk: Talk, *, before: bytes = b"") -> None:
    """Has a client and a server talk through two connections that are joined; ``before`` the server said before that."""

    async def run() -> None:
        async with asyncio.timeout(WAITING_SECONDS), pair() as (client, first), pair() as (server, second):
            if before:
                server[1].write(before)
                assert before[:1] == await second[0].readexactly(1)
            joined = asyncio.create_task(join(first, second))
            await talk(client, server, joined)
            joined.cancel()
            with suppress(asyncio.CancelledError):
                await joined

    asyncio.run(run())


def test_both_ways_are_open_at_once() -> None:
    """And what was read before the joining is not lost, but for what was taken."""

    async def talk(client: Stream, server: Stream, _: "asyncio.Task[None]") -> None:
        client[1].write(b"question")
        assert b"question" == await server[0].readexactly(8)
        server[1].write(b"answer")
        assert b"elcome answer" == await client[0].readexactly(13)

    talk_over(talk, before=b"welcome ")


def test_the_end_of_one_comes_after_all_that_it_said() -> None:
    """However much that is."""
    data = os.urandom(16 * MEGABYTE)

    async def talk(client: Stream, server: Stream, joined: "asyncio.Task[None]") -> None:
        server[1].write(data)
        server[1].close()
        taken = await client[0].read()
        assert hashlib.md5(data).digest() == hashlib.md5(taken).digest()
        client[1].close()
        await joined

    talk_over(talk)


def test_who_reads_nothing_holds_up_who_writes() -> None:
    """What waits on the way is bounded; then all of it arrives."""
    block, sent = bytes(MEGABYTE), 0

    async def talk(client: Stream, server: Stream, _: "asyncio.Task[None]") -> None:
        nonlocal sent

        async def write() -> None:
            nonlocal sent
            for _ in range(64):
                server[1].write(block)
                await server[1].drain()
                sent += 1

        writing = asyncio.create_task(write())
        done, _ = await asyncio.wait({writing}, timeout=0.5)
        assert set() == done
        assert 32 * MEGABYTE > sent * MEGABYTE + BUFFER_BYTES
        assert 64 * MEGABYTE == len(await client[0].readexactly(64 * MEGABYTE))
        await writing

    talk_over(talk)


def test_a_reset_of_one_is_an_end_of_the_other() -> None:
    """A program that is killed sends nothing more."""

    async def talk(client: Stream, server: Stream, joined: "asyncio.Task[None]") -> None:
        client[1].transport.abort()
        assert b"" == await server[0].read()
        await joined

    talk_over(talk)


def test_who_cancels_ends_both() -> None:
    """At once, whatever they still had to say."""

    async def talk(client: Stream, server: Stream, joined: "asyncio.Task[None]") -> None:
        server[1].write(b"x")
        assert b"x" == await client[0].read(1)
        joined.cancel()
        with suppress(OSError):
            assert b"" == await client[0].read()
        with suppress(OSError):
            assert b"" == await server[0].read()

    talk_over(talk)
