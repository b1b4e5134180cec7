"""Many clients of the event stream in one process: `python -m tests.bench.jobs_readers PORT STREAMS SINCE`, told what to do on its input.

Plain sockets and no JSON: 500 httpx clients would take the core that the gateway is to be given.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time

from tests.bench.jobs_process import ninth

_FRAME = re.compile(rb'"message":"frame (\d+) of')


async def main(port: int, streams: int, since: float) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    jobs = (await asked.readline()).decode().split()
    waits: list[float] = []
    opened: set[int] = set()
    measuring = False

    async def read(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        request = f"GET /v1/jobs/{jobs[number % len(jobs)]}/progress HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
        writer.write(request.encode())
        try:
            while line := await reader.readline():
                if line.startswith(b"data: "):
                    arrived = time.time()
                    opened.add(number)
                    found = _FRAME.search(line)
                    if measuring and found is not None:
                        waits.append(1000 * (arrived - since) - int(found[1]) / 10)
        finally:
            opened.discard(number)
            writer.close()

    tasks = []
    for number in range(streams):
        tasks.append(asyncio.create_task(read(number)))
        if number % 25 == 24:
            await asyncio.sleep(0.1)
    while len(opened) < streams:
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asked.readline()
    measuring = True
    await asked.readline()
    found = {"median": statistics.median(waits), "p90": ninth(waits), "worst": max(waits), "events": len(waits), "open": len(opened)}
    print(json.dumps(found), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
