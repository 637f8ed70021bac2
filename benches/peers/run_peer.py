"""Runs one query on one peer once and prints a JSON line: rows, sums of the numeric columns, seconds, CPU
seconds, peak memory. Time is taken around the query alone, without the interpreter's start.

    run_peer.py ENGINE QUERY FORMAT TABLE=GLOB… [--sums]
"""
import json
import os
import resource
import sys
import time

THREADS = 2
HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE = os.path.join(HERE, "..", "..", "tests", "oracle", "nexmark")
COLUMNS = {
    "bid": {"auction": "BIGINT", "bidder": "BIGINT", "price": "BIGINT", "channel": "VARCHAR", "url": "VARCHAR",
            "dateTime": "TIMESTAMP", "extra": "VARCHAR"},
    "auction": {"id": "BIGINT", "itemName": "VARCHAR", "description": "VARCHAR", "initialBid": "BIGINT", "reserve": "BIGINT",
                "dateTime": "TIMESTAMP", "expires": "TIMESTAMP", "seller": "BIGINT", "category": "BIGINT", "extra": "VARCHAR"},
    "person": {"id": "BIGINT", "name": "VARCHAR", "emailAddress": "VARCHAR", "creditCard": "VARCHAR", "city": "VARCHAR",
               "state": "VARCHAR", "dateTime": "TIMESTAMP", "extra": "VARCHAR"},
    "orders": {"order_id": "BIGINT", "customer_id": "BIGINT", "order_date": "TIMESTAMP", "total_amount": "DOUBLE"},
    "market_data": {"symbol": "VARCHAR", "trader_id": "VARCHAR", "price": "DOUBLE", "quantity": "BIGINT",
                    "trade_time": "TIMESTAMP", "timestamp": "TIMESTAMP"},
}


def columns_of(query: str, table: str) -> dict:
    """The columns of the query's file: each scenario has one column of time."""
    other = "trade_time" if query == "s1" else "timestamp"
    return {name: kind for name, kind in COLUMNS[table].items() if name != other}


def sql_of(engine: str, query: str) -> str:
    path = os.path.join(HERE, engine, f"{query}.sql")
    if not os.path.exists(path):  # What needs no words of the engine's own.
        path = os.path.join(ORACLE, f"{query}.sql")
    with open(path) as file:
        return file.read()


def duckdb_batches(query, file_format, globs):
    import duckdb
    connection = duckdb.connect(config={"threads": THREADS})
    for table, glob in globs.items():
        columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in columns_of(query, table).items()) + "}"
        reader = {"parquet": f"read_parquet('{glob}')",
                  "ndjson": f"read_json('{glob}', format = 'newline_delimited', columns = {columns})",
                  "csv": f"read_csv('{glob}', header = true, columns = {columns})"}[file_format]
        connection.execute(f"CREATE VIEW {table} AS FROM {reader}")
    started = begin()
    yield from connection.sql(sql_of("duckdb", query)).to_arrow_reader(100_000)
    yield started


def datafusion_batches(query, file_format, globs):
    from datafusion import SessionConfig, SessionContext
    context = SessionContext(SessionConfig().with_target_partitions(THREADS))
    register = {"parquet": context.register_parquet, "ndjson": context.register_json, "csv": context.register_csv}[file_format]
    extension = {"parquet": ".parquet", "ndjson": ".ndjson", "csv": ".csv"}[file_format]
    for table, glob in globs.items():
        register(table, os.path.dirname(glob) + "/", file_extension=extension, schema=arrow_schema(query, table))
    started = begin()
    for batch in context.sql(sql_of("datafusion", query)).execute_stream():
        yield batch.to_pyarrow()
    yield started


def polars_batches(query, file_format, globs):
    import polars as pl
    import polars_queries
    scan = {"parquet": pl.scan_parquet, "ndjson": pl.scan_ndjson, "csv": pl.scan_csv}[file_format]
    started = begin()
    frames = []
    for table, glob in globs.items():
        rows = scan(glob)
        if file_format != "parquet":
            times = [name for name, kind in columns_of(query, table).items() if kind == "TIMESTAMP"]
            rows = rows.with_columns(pl.col(times).str.to_datetime("%Y-%m-%d %H:%M:%S%.f"))
        frames.append(rows)
    frame = getattr(polars_queries, query)(*frames).collect(engine="streaming")
    yield from frame.to_arrow().to_batches()
    yield started


def arrow_schema(query, table):
    import pyarrow as pa
    types = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "VARCHAR": pa.string(), "TIMESTAMP": pa.timestamp("ms")}
    return pa.schema([(name, types[kind]) for name, kind in columns_of(query, table).items()])


def begin():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), usage.ru_utime + usage.ru_stime


def add_sums(sums, batch):
    import pyarrow as pa
    import pyarrow.compute as pc
    for name, column in zip(batch.schema.names, batch.columns):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            sums[name] = sums.get(name, 0.0) + float(pc.sum(pc.cast(column, pa.float64())).as_py() or 0.0)


def main() -> None:
    engine, query, file_format = sys.argv[1:4]
    globs = dict(argument.split("=", 1) for argument in sys.argv[4:] if argument != "--sums")
    batches = {"duckdb": duckdb_batches, "datafusion": datafusion_batches, "polars": polars_batches}[engine]
    rows, sums, started = 0, {}, None
    for batch in batches(query, file_format, globs):
        if isinstance(batch, tuple):
            started = batch
            break
        rows += batch.num_rows
        if "--sums" in sys.argv:
            add_sums(sums, batch)
    seconds, cpu = begin()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": rows, "sums": sums, "seconds": seconds - started[0], "cpu_seconds": cpu - started[1],
                      "peak_memory_bytes": peak}))


if __name__ == "__main__":
    os.environ["POLARS_MAX_THREADS"] = str(THREADS)
    main()
