"""`python -m tests.fleet.relay ADDRESS PORT…`: what comes to a port of the address goes to that of loopback.

It says "up" when it listens, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CHUNK = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def _serve(address: str, ports: list[int]) -> None:
    async def relay(port: int) -> asyncio.Server:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            theirs, ours = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, ours), _copy(theirs, writer))

        return await asyncio.start_server(met, address, port)

    servers = [await relay(port) for port in ports]
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], [int(port) for port in sys.argv[2:]]))
