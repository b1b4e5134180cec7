"""A provider that answers at once, in a process of its own: `python -m tests.bench.generate_provider` prints its port and works until its
standard input ends.

What belongs here: Replicate's answers to a poll and to the question for the secret, by asyncio alone, so that it is not what is measured.
Jobs whose id begins with "done" are done, those with "late-<unix seconds>-" from then on; all others are at work.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ROOT = Path(__file__).resolve().parents[2]


class Answers(asyncio.Protocol):
    """GET alone, kept alive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.kept = transport, b""

    def data_received(self, data: bytes) -> None:
        self.kept += data
        while b"\r\n\r\n" in self.kept:
            head, _, self.kept = self.kept.partition(b"\r\n\r\n")
            body = json.dumps(_answer(head.split(b" ", 2)[1].decode())).encode()
            told = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(told + body)


def _answer(path: str) -> dict[str, object]:
    name = path.rpartition("/")[2]
    if name == "secret":
        return {"key": SECRET}
    done = name.startswith("done") or (name.startswith("late-") and float(name.split("-")[1]) <= time.time())
    told: dict[str, object] = {"id": name, "status": "succeeded" if done else "processing", "logs": "", "error": None}
    told["output"] = [f"http://127.0.0.1:9/{name}.png"] if done else None
    return told


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def light_provider() -> Iterator[str]:
    """Its address, with /v1."""
    command = [sys.executable, "-m", "tests.bench.generate_provider"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.communicate()


if __name__ == "__main__":
    asyncio.run(_serve())
