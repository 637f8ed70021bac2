"""Runs jobs on Flink's own mini cluster and writes the rows that each leaves; used by scripts/check-flink.

    flink_answers.py JOBS.json      [{"name": …, "statements": […], "key": […] or null, "answer": PATH}], the last statement a query

Streaming mode, parallelism 1 (so that a file is read in its order). An answer is {"rows": …} or {"error": …}.
"""
import collections
import datetime
import decimal
import json
import os
import sys
import time

from pyflink.common import RowKind
from pyflink.table import EnvironmentSettings, TableEnvironment


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, (datetime.date, datetime.time)):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def answer(statements: list[str], key: list[int] | None) -> list[list]:
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    environment.get_config().set("parallelism.default", "1")
    for statement in statements[:-1]:
        environment.execute_sql(statement)
    with environment.execute_sql(statements[-1]).collect() as rows:
        changes = [(row.get_row_kind(), json.dumps([plain(value) for value in row])) for row in rows]
    kinds = {kind for kind, _ in changes}
    if RowKind.UPDATE_AFTER in kinds and RowKind.UPDATE_BEFORE not in kinds:
        return last_by_key(changes, key)
    counts = collections.Counter()
    for kind, text in changes:
        counts[text] += 1 if kind in (RowKind.INSERT, RowKind.UPDATE_AFTER) else -1
    assert all(count >= 0 for count in counts.values()), "Flink takes back what it has not given"
    return [json.loads(text) for text, count in counts.items() for _ in range(count)]


def last_by_key(changes: list[tuple], key: list[int] | None) -> list[list]:
    """The rows that an upsert leaves: it replaces rows by a key that Flink does not tell."""
    assert key, "Exception: Flink answers by key; name its columns in KEYS of check-flink"
    rows = {}
    for kind, text in changes:
        row = json.loads(text)
        rows[json.dumps([row[column] for column in key])] = None if kind == RowKind.DELETE else row
    return [row for row in rows.values() if row is not None]


def main() -> None:
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    for job in jobs:
        started = time.monotonic()
        try:
            result = {"rows": answer(job["statements"], job["key"])}
        except Exception as error:  # Whatever Flink says is the answer.
            lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith("at ")]
            reasons = [line for line in lines if "Exception" in line]
            result = {"error": (reasons or lines or ["no message"])[-1]}
        with open(job["answer"] + ".part", "w") as file:
            json.dump(result, file)
        os.rename(job["answer"] + ".part", job["answer"])
        print(f"Flink: {job['name']}, {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    os._exit(0)  # The gateway's threads would keep the process.


if __name__ == "__main__":
    main()
