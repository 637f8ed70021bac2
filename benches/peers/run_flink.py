"""One job on Flink's own mini cluster in this process: its time and the CPU time of its JVM, as one JSON line.

    run_flink.py JOB.sql        statements separated by `;` at the end of a line, the last one the query into a table

Streaming mode, parallelism 2, heap state, no checkpoints, mini-batches of two seconds: its best case on one machine.
"""
import json
import os
import sys
import time

from pyflink.table import EnvironmentSettings, TableEnvironment

SETTINGS = {
    "parallelism.default": "2",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "pipeline.object-reuse": "true",
}


def jvm_cpu_seconds() -> float:
    """Of the child that the gateway started: user and system time."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = file.read().split()
    ticks = 0
    for child in children:
        with open(f"/proc/{child}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with open(sys.argv[1]) as file:
        statements = [statement for statement in file.read().split(";\n") if statement.strip()]
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in SETTINGS.items():
        environment.get_config().set(key, value)
    for statement in statements[:-1]:
        environment.execute_sql(statement)
    started, before = time.monotonic(), jvm_cpu_seconds()
    environment.execute_sql(statements[-1]).wait()
    figures = {"seconds": time.monotonic() - started, "cpu_seconds": jvm_cpu_seconds() - before}
    print(json.dumps(figures))
    sys.stdout.flush()
    os._exit(0)  # The gateway's threads would keep the process.


if __name__ == "__main__":
    main()
