"""Waits as one writes them in Dagster at first: an op for each, which asks, sleeps and asks again, in a process of its own.
`python -m tests.bench.generate_blocking`, with its orders in BENCH_PROVIDER, BENCH_JOB and BENCH_WAITS.

What belongs here: that job. What does not: what it costs (generate.py measures the tree of processes).
"""

import json
import os
import time
import urllib.request

import dagster as dg

WAITS = int(os.environ.get("BENCH_WAITS", "20"))
INITIAL_S, FACTOR, CEILING_S = 5.0, 1.5, 60.0


def _op(number: int) -> dg.OpDefinition:
    @dg.op(name=f"wait_{number}")
    def wait(context: dg.OpExecutionContext) -> None:
        url = f"{os.environ['BENCH_PROVIDER']}/predictions/{os.environ['BENCH_JOB']}-{number}"
        pause = INITIAL_S
        while True:
            with urllib.request.urlopen(url, timeout=30) as answer:
                if json.load(answer)["status"] == "succeeded":
                    return
            context.log.info("not yet")
            time.sleep(pause)
            pause = min(pause * FACTOR, CEILING_S)

    return wait


_OPS = [_op(number) for number in range(WAITS)]


@dg.job(executor_def=dg.multiprocess_executor.configured({"max_concurrent": WAITS}))
def blocking() -> None:
    for each in _OPS:
        each()


if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        done = dg.execute_job(dg.reconstructable(blocking), instance, raise_on_error=True)
        assert done.success
