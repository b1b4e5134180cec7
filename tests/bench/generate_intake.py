"""Webhooks sent at a steady rate by a process of its own: `python -m tests.bench.generate_intake <port> <rate> <file>`, one line of JSON out.

What belongs here: sending on time, over connections kept alive, and when each answer came. Every message has its time to be sent; what is
late because an earlier one was not answered counts against the receiver. What does not: what is sent (generate.py writes the file).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECTIONS = 64


@dataclass
class Connection:
    """One message at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, message: bytes) -> int:
        """The status of the answer."""
        self.writer.write(message)
        head = await self.reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.index(b"content-length:") + len(b"content-length:")
        await self.reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
        return int(head[9:12])


async def sending(port: int, rate: float, messages: list[bytes]) -> dict[str, Any]:
    # In turn: one that rests for five seconds is closed by the server.
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Connection(*await asyncio.open_connection("127.0.0.1", port)))
    took: list[float] = []
    statuses: dict[int, int] = {}
    began = time.perf_counter() + 0.2

    async def one(place: int, message: bytes) -> None:
        due = began + place / rate
        connection = await free.get()
        status = await connection.send(message)
        took.append(1000 * (time.perf_counter() - due))
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(connection)

    tasks, slips = [], []
    for place, message in enumerate(messages):
        wait = began + place / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        slips.append(1000 * (time.perf_counter() - began - place / rate))
        tasks.append(asyncio.create_task(one(place, message)))
    await asyncio.gather(*tasks)
    seconds = time.perf_counter() - began
    took.sort()
    slips.sort()
    return {
        "rate": len(messages) / seconds, "median": took[len(took) // 2], "p90": took[int(0.9 * len(took))], "worst": took[-1],
        "statuses": statuses, "slip_median": slips[len(slips) // 2], "slip_worst": slips[-1],
    }  # fmt: skip


def request(port: int, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A whole POST as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[3]).read_text())
    ready = [request(int(sys.argv[1]), each["path"], each["headers"], each["body"].encode()) for each in told]
    print(json.dumps(asyncio.run(sending(int(sys.argv[1]), float(sys.argv[2]), ready))))
