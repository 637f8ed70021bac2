"""Random tables and queries for scripts/check-random: each query in velocore's words and in DuckDB's.

A query is drawn from a seed alone. Tables are called @t and @u until their names are known. Where a stream and a batch
engine may both be right (which of several equal rows is first, the order of sums of floating numbers), the draw avoids
the question: ranks are ordered by the unique `id` at last, frames by rows need unique times, and doubles are
eighths.
"""
import datetime
import random

START = datetime.datetime(2024, 2, 28, 23, 59, 0)
LATENESS_S = 5
NAMES = ["", "a", "B", "äöü", "quote\"d", "a longer name, with a comma"]
ORDER = {"ASC": "ASC NULLS FIRST", "DESC": "DESC NULLS LAST"}  # NULL is the least value, as in Flink.


class Query:
    """What is asked, of tables how large, and whether no two rows may have one time."""

    def __init__(self, ours: str, duckdb: str | None = None, emit: str = "", rows_max: int = 3000, unique_times: bool = False):
        self.ours, self.duckdb = ours + emit, duckdb or ours
        self.rows_max, self.unique_times = rows_max, unique_times


class Draw:
    """One seed's choices."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        pick = self.random.choice
        self.scale = pick([2, 2, 0, 4])
        self.types = {
            "id": ("BIGINT", "BIGINT"), "ts": (pick(["TIMESTAMP(3)", "TIMESTAMP(3)", "TIMESTAMP(6)"]), "TIMESTAMP"),
            "k": (pick(["BIGINT", "BIGINT", "INT"]),) * 2, "name": ("STRING", "VARCHAR"),
            "a": (pick(["BIGINT", "INT", "SMALLINT"]),) * 2, "b": ("INT", "INTEGER"), "x": ("DOUBLE", "DOUBLE"),
            "flag": ("BOOLEAN", "BOOLEAN"), "m": (f"DECIMAL(12, {self.scale})",) * 2,
        }
        columns = list(self.types)
        self.random.shuffle(columns)
        self.types = {name: self.types[name] for name in columns}
        self.keys_many = pick([1, 3, 50, 1000])
        self.query = self.draw_query()

    # Tables ---------------------------------------------------------------------------------------------

    def rows(self, share: float = 1.0) -> list[dict]:
        pick, query = self.random, self.query
        count = min(pick.choice([0, 1, 17, 150, 400, 3000]), int(query.rows_max * share))
        null_share = pick.choice([0, 0.08, 0.4])
        times, rows = set(), []
        for index in range(count):
            jitter = pick.random() * LATENESS_S * 0.9
            at = START + datetime.timedelta(milliseconds=index * 37 + int(1000 * (LATENESS_S - jitter)))

            def maybe(value):
                return None if pick.random() < null_share else value

            row = {
                "id": index, "ts": at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], "k": maybe(pick.randrange(self.keys_many)),
                "name": maybe(pick.choice(NAMES) + str(pick.randrange(self.keys_many) % 7)),
                "a": maybe(pick.randrange(-1000, 1000)), "b": maybe(pick.randrange(-9, 9)),
                "x": maybe(pick.randrange(-4000, 4000) / 8), "flag": maybe(pick.random() < 0.5),
                "m": maybe(round(pick.randrange(-10**6, 10**6) / 10**self.scale, self.scale)),
            }
            if not (query.unique_times and at in times):
                rows.append({name: row[name] for name in self.types})
            times.add(at)
        return rows

    # Expressions ----------------------------------------------------------------------------------------

    def one(self, *choices):
        return self.random.choice(choices)

    def some(self, make, least: int, most: int, prefix: str = "c") -> str:
        return ", ".join(f"{make()} AS {prefix}{i}" for i in range(self.random.randrange(least, most + 1)))

    def predicate(self) -> str:
        return self.one(
            "a > 0", "b BETWEEN -3 AND 4", "name LIKE 'a%'", "x < 12.5 OR flag", "k IS NOT NULL AND a IS NULL", "NOT flag",
            "MOD(k, 3) = 1", "name IN ('a1', 'B2', 'äöü3')", "CASE WHEN b > 0 THEN a ELSE x END > 10", "m >= 100.25",
            "COALESCE(a, 0) + COALESCE(b, 0) <> 7", "flag IS NOT TRUE", "a NOT BETWEEN -500 AND 500")

    def where(self, chance: float) -> str:
        return f" WHERE {self.predicate()}" if self.random.random() < chance else ""

    def scalar(self) -> str:
        return self.one(
            "a + b", "a * 2 - 1", "UPPER(name)", "x / 4", "COALESCE(name, 'none')", "ABS(a)", "CHAR_LENGTH(name)",
            "CASE WHEN flag THEN 'y' WHEN NOT flag THEN 'n' END", "SUBSTRING(name, 1, 3)", "m + 1", "CAST(a AS DOUBLE)",
            "CAST(b AS STRING)", "a IS NULL", "NULLIF(b, 3)", "name || '!'", "EXTRACT(MINUTE FROM ts)", "m * 2", "-m")

    def aggregate(self) -> str:
        call = self.one(
            "COUNT(*)", "COUNT(a)", "SUM(a)", "MIN(b)", "MAX(b)", "SUM(x)", "AVG(x)", "MIN(x)", "MAX(name)", "MIN(name)",
            "SUM(m)", "MAX(ts)", "COUNT(DISTINCT k)", "SUM(b)", "MIN(m)", "MAX(m)", "COUNT(DISTINCT name)",
            "SUM(DISTINCT b)", "COUNT(DISTINCT m)", "STDDEV_SAMP(x)", "BOOL_AND(flag)", "MEDIAN(x)", "VAR_POP(x)")
        return call + (f" FILTER (WHERE {self.predicate()})" if self.random.random() < 0.2 else "")

    def retractable(self) -> str:
        return self.one("COUNT(*)", "COUNT(s)", "SUM(s)", "MIN(s)", "MAX(s)", "SUM(n)", "MAX(n)", "AVG(CAST(n AS DOUBLE))",
                        "COUNT(DISTINCT s)")

    def keys(self) -> list[str]:
        return self.one([], ["k"], ["name"], ["k", "name"], ["flag", "b"], ["MOD(k, 7)"], ["name", "flag", "k"])

    def kind(self) -> str:
        return self.one("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")

    # Windows --------------------------------------------------------------------------------------------

    def window(self, table: str, shape: tuple | None = None) -> tuple[str, str]:
        """A window TVF over `table`, and a DuckDB relation with the same columns."""
        kind, size, step = shape or self.shape()
        micros, bounds = "epoch_us(ts)", "DESCRIPTOR(ts), "
        if kind == "TUMBLE":
            return (f"TABLE(TUMBLE(TABLE {table}, {bounds}INTERVAL '{size}' SECOND))",
                    f"(SELECT *, make_timestamp({micros} // {size}000000 * {size}000000) AS window_start, "
                    f"window_start + INTERVAL {size} SECOND AS window_end FROM {table})")
        call = f"TABLE({kind}(TABLE {table}, {bounds}INTERVAL '{step}' SECOND, INTERVAL '{size}' SECOND))"
        if kind == "HOP":
            start = f"{micros} // {step}000000 * {step}000000 - n * {step}000000"
            return call, (f"(SELECT * EXCLUDE (n), make_timestamp({start}) AS window_start, window_start + INTERVAL {size} SECOND "
                          f"AS window_end FROM {table}, range({-(-size // step)}) AS r(n) WHERE {start} + {size}000000 > {micros})")
        return call, (f"(SELECT * EXCLUDE (n), make_timestamp({micros} // {size}000000 * {size}000000) AS window_start, "
                      f"window_start + (n + 1) * INTERVAL {step} SECOND AS window_end FROM {table}, "
                      f"range({size // step}) AS r(n) WHERE window_end > ts)")

    def shape(self) -> tuple:
        return self.one(("TUMBLE", 10, 0), ("TUMBLE", 3, 0), ("TUMBLE", 60, 0), ("HOP", 10, 5), ("HOP", 10, 2), ("HOP", 6, 4),
                        ("HOP", 20, 2), ("CUMULATE", 10, 5), ("CUMULATE", 12, 3), ("CUMULATE", 60, 20))

    def over_windows(self, text: str, emit: str = "", **more) -> Query:
        """`text` with @w and @v: windows of one shape over @t and @u."""
        shape = self.shape()
        ours, theirs = text, text
        for place, table in (("@w", "@t"), ("@v", "@u")):
            tvf, relation = self.window(table, shape)
            ours, theirs = ours.replace(place, tvf), theirs.replace(place, relation)
        return Query(ours, theirs, emit, **more)

    # Queries --------------------------------------------------------------------------------------------

    def draw_query(self) -> Query:
        kinds = [self.plain, self.grouped, self.grouped, self.windowed, self.windowed, self.over, self.lag, self.union, self.distinct,
                 self.regrouped, self.cascaded, self.rewindowed, self.join, self.join, self.join_of_aggregates, self.interval_join,
                 self.interval_join, self.window_join, self.window_semi_join, self.semi_join, self.semi_join, self.temporal_join,
                 self.top, self.top, self.top_of_aggregates, self.window_top, self.deduplicated, self.session, self.set_operation,
                 self.grouping_sets, self.window_grouping_sets, self.limited]
        return self.random.choice(kinds)()

    def plain(self):
        text = f"SELECT ts, k, {self.some(self.scalar, 1, 3)} FROM @t{self.where(0.7)}"
        return Query(text, text.replace("AS STRING", "AS VARCHAR"))

    def grouped(self):
        keys = self.keys()
        columns = [f"{key} AS g{i}" for i, key in enumerate(keys)] + [self.some(self.aggregate, 1, 4)]
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        having = " HAVING COUNT(*) > 2" if keys and self.random.random() < 0.3 else ""
        emit = self.one("", "", " EMIT CHANGES", " EMIT FINAL", " EMIT CHANGES EVERY ROW")
        return Query(f"SELECT {', '.join(columns)} FROM @t{self.where(0.3)}{group}{having}", emit=emit)

    def regrouped(self):
        inner = f"SELECT k, COUNT(*) AS n, SUM(a) AS s FROM @t{self.where(0.3)} GROUP BY k"
        return Query(f"SELECT n, {self.some(self.retractable, 1, 3)} FROM ({inner}) AS per_key GROUP BY n")

    def windowed(self):
        keys = self.keys()
        columns = [f"{key} AS g{i}" for i, key in enumerate(keys)] + ["window_start", "window_end", self.some(self.aggregate, 1, 4)]
        having = " HAVING COUNT(*) > 1" if self.random.random() < 0.2 else ""
        group = ", ".join(keys + ["window_start", "window_end"])
        emit = self.one("", "", "", " EMIT CHANGES", " EMIT FINAL")
        return self.over_windows(f"SELECT {', '.join(columns)} FROM @w{self.where(0.3)} GROUP BY {group}{having}", emit)

    def cascaded(self):
        inner = "SELECT k, window_start, window_end, COUNT(*) AS n FROM @w GROUP BY k, window_start, window_end"
        return self.over_windows(f"SELECT window_start, window_end, MAX(n) AS most, SUM(n) AS total, COUNT(*) AS ks FROM ({inner}) "
                                 "AS per_key GROUP BY window_start, window_end")

    def rewindowed(self):
        """Windows over the results of smaller windows, by their window_time."""
        small, large = self.one((2, 10), (5, 10), (3, 60), (10, 20))
        tvf, relation = self.window("@t", ("TUMBLE", small, 0))
        outer, _ = self.window("inside", ("TUMBLE", large, 0))
        keys, group = self.one(("k, ", "k, "), ("", ""))
        calls = "SUM(n) AS n, MAX(s) AS s"
        ours = (f"WITH inside AS (SELECT {keys}window_time AS ts, COUNT(*) AS n, SUM(a) AS s FROM {tvf} "
                f"GROUP BY {group}window_start, window_end, window_time) "
                f"SELECT {keys}window_start, {calls} FROM {outer} GROUP BY {group}window_start, window_end")
        theirs = (f"SELECT {keys}make_timestamp(epoch_us(ws) // {large}000000 * {large}000000) AS window_start, {calls} FROM "
                  f"(SELECT {keys}window_start AS ws, COUNT(*) AS n, SUM(a) AS s FROM {relation} GROUP BY {group}window_start) "
                  f"GROUP BY {group}window_start")
        return Query(ours, theirs)

    def session(self):
        gap = self.one(1, 2, 5)
        keys = self.one(["k"], ["name"], ["k", "flag"], [])
        listed = "".join(f"{key}, " for key in keys)
        partition = f" PARTITION BY {', '.join(keys)}" if keys else ""
        calls = self.some(self.aggregate, 1, 3)
        ours = (f"SELECT {listed}window_start, window_end, {calls} FROM TABLE(SESSION(TABLE @t{partition}, DESCRIPTOR(ts), "
                f"INTERVAL '{gap}' SECOND)) GROUP BY {listed}window_start, window_end")
        over = f"OVER ({partition} ORDER BY ts"
        theirs = (f"SELECT {listed}MIN(ts) AS window_start, MAX(ts) + INTERVAL {gap} SECOND AS window_end, {calls} FROM (SELECT *, SUM(first) "
                  f"{over} RANGE UNBOUNDED PRECEDING) AS session FROM (SELECT *, CASE WHEN ts < LAG(ts) {over}) + INTERVAL {gap} SECOND "
                  f"THEN 0 ELSE 1 END AS first FROM @t)) GROUP BY {listed}session")
        # Rows of one time follow each other with distance 0: LAG may take any of them.
        return Query(ours, theirs, unique_times=True)

    def over(self):
        frame, unique = self.one(
            ("RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW", False),
            ("RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", False),
            ("ROWS BETWEEN 5 PRECEDING AND CURRENT ROW", True), ("ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", True),
            ("ROWS BETWEEN 60 PRECEDING AND CURRENT ROW", True))
        window = f"OVER ({self.partition()} ORDER BY ts {frame})"
        calls = self.some(lambda: self.one("COUNT(*)", "SUM(a)", "AVG(x)", "MIN(a)", "MAX(x)", "SUM(m)", "COUNT(b)",
                                           "MAX(name)") + f" {window}", 1, 3)
        return Query(f"SELECT id, k, {calls} FROM @t", unique_times=unique)

    def partition(self) -> str:
        return self.one("PARTITION BY k", "PARTITION BY name", "PARTITION BY k, flag", "")

    def lag(self):
        partition = self.partition()
        call = self.one("LAG(a)", "LAG(name, 2)", "LAG(b, 1, 7)", "FIRST_VALUE(a)", "LAST_VALUE(m)")
        frame = "" if call.startswith("LAG") else " ROWS BETWEEN 3 PRECEDING AND CURRENT ROW"
        text = f"SELECT id, {call} OVER ({partition} ORDER BY ts{frame}) AS c0 FROM @t"
        # FIRST_VALUE and LAST_VALUE pass over NULLs, as in Flink.
        return Query(text, text.replace("VALUE(a)", "VALUE(a IGNORE NULLS)").replace("VALUE(m)", "VALUE(m IGNORE NULLS)"),
                     unique_times=True)

    def union(self):
        return Query(f"SELECT ts, k, a AS v FROM @t WHERE {self.predicate()} UNION ALL "
                     f"SELECT ts, k, b AS v FROM @t WHERE {self.predicate()}")

    def distinct(self):
        return Query(f"SELECT DISTINCT {self.one('k', 'name, flag', 'b, flag', 'k, name')} FROM @t{self.where(0.7)}")

    def set_operation(self):
        operation = self.one("UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL", "UNION ALL")
        columns = self.one("k", "b, flag", "name, b")
        return Query(f"SELECT {columns} FROM @t{self.where(0.5)} {operation} SELECT {columns} FROM @u{self.where(0.5)}")

    def join(self):
        condition = self.one("l.k = r.k", "l.k = r.k AND l.a > r.a", "l.k = r.k AND l.name = r.name", "l.b = r.b AND l.flag = r.flag",
                             "l.k = r.k AND r.x > 0", "l.k = r.k AND l.flag", "l.id = r.id")
        return Query(f"SELECT l.id AS l, r.id AS r, l.m, r.name FROM @t AS l {self.kind()} @u AS r ON {condition}", rows_max=400)

    def join_of_aggregates(self):
        side = "(SELECT k, COUNT(*) AS n, MAX(a) AS s FROM {} GROUP BY k) AS {}"
        condition = self.one("l.k = r.k", "l.n = r.n", "l.k = r.k AND l.s > r.s")
        return Query(f"SELECT l.k AS l, r.k AS r, l.n, r.s FROM {side.format('@t', 'l')} {self.kind()} {side.format('@u', 'r')} "
                     f"ON {condition}", rows_max=400)

    def interval_join(self):
        low, high = self.one((0, 2), (3, 2), (1, 0), (10, 10))
        between = f"l.ts BETWEEN r.ts - INTERVAL '{low}' SECOND AND r.ts + INTERVAL '{high}' SECOND"
        condition = self.one("l.k = r.k", "l.k = r.k AND l.a > r.a", "l.b = r.b")
        return Query(f"SELECT l.id AS l, r.id AS r, l.a, r.m FROM @t AS l {self.kind()} @u AS r ON {condition} AND {between}", rows_max=400)

    def window_join(self):
        both = "l.window_start = r.window_start AND l.window_end = r.window_end"
        condition = self.one("l.k = r.k", "l.k = r.k AND l.a > r.a", "l.b = r.b")
        return self.over_windows(f"SELECT l.id AS l, r.id AS r, l.window_start AS ls, r.window_end AS re FROM (SELECT * FROM @w) AS l "
                                 f"{self.kind()} (SELECT * FROM @v) AS r ON {both} AND {condition}", rows_max=150)

    def window_semi_join(self):
        inside = "r.window_start = l.window_start AND r.window_end = l.window_end"
        test = self.one(f"l.k IN (SELECT r.k FROM (SELECT * FROM @v) AS r WHERE {inside})",
                        f"EXISTS (SELECT * FROM (SELECT * FROM @v) AS r WHERE {inside} AND r.k = l.k)",
                        f"NOT EXISTS (SELECT * FROM (SELECT * FROM @v) AS r WHERE {inside} AND r.k = l.k)")
        return self.over_windows(f"SELECT l.id, l.window_end FROM (SELECT * FROM @w) AS l WHERE {test}", rows_max=150)

    def semi_join(self):
        test = self.one(
            "k IN (SELECT k FROM @u WHERE a > 0)", "k NOT IN (SELECT k FROM @u WHERE k IS NOT NULL AND a > 0)",
            "EXISTS (SELECT * FROM @u AS u WHERE u.k = t.k AND u.a > t.a)", "NOT EXISTS (SELECT * FROM @u AS u WHERE u.k = t.k)",
            "NOT EXISTS (SELECT * FROM @u AS u WHERE u.k = t.k AND u.flag AND u.b < t.b)",
            "k IN (SELECT k FROM @u GROUP BY k HAVING COUNT(*) > 1)",
            "a > (SELECT MIN(a) FROM @u AS u WHERE u.k = t.k)")
        return Query(f"SELECT id, k, a FROM @t AS t WHERE {test}", rows_max=400)

    def temporal_join(self):
        left = self.one("", "LEFT ")
        columns = "SELECT l.id, l.k, r.a AS ra, r.m AS rm FROM @t AS l"
        return Query(f"{columns} {left}JOIN @u FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k",
                     f"{columns} ASOF {left}JOIN @u AS r ON l.k = r.k AND l.ts >= r.ts", rows_max=400, unique_times=True)

    def ordered(self, columns: list[tuple[str, str]]) -> tuple[str, str]:
        return (", ".join(f"{column} {way}" for column, way in columns),
                ", ".join(f"{column} {ORDER[way]}" for column, way in columns))

    def top(self):
        function = self.one("ROW_NUMBER()", "ROW_NUMBER()", "RANK()", "DENSE_RANK()")
        columns = [(self.one("a", "b", "x", "name", "ts", "m"), self.one("ASC", "DESC"))]
        if function == "ROW_NUMBER()":
            columns.append(("id", self.one("ASC", "DESC")))
        kept, most = self.one("id, k", "id, k, r", "*"), self.one(1, 2, 10)
        ours, theirs = self.ordered(columns)
        bound = self.one(f"r <= {most}", f"r <= {most}", f"r = 1", f"r BETWEEN 2 AND {most + 1}")
        text = f"SELECT {kept} FROM (SELECT *, {function} OVER ({self.partition()} ORDER BY @o) AS r FROM @t{self.where(0.3)}) AS ranked WHERE {bound}"
        return Query(text.replace("@o", ours), text.replace("@o", theirs))

    def top_of_aggregates(self):
        ours, theirs = self.ordered([(self.one("n", "s"), self.one("ASC", "DESC")), ("k", "ASC")])
        partition = self.one("", "PARTITION BY MOD(k, 3)")
        inner = f"SELECT k, COUNT(*) AS n, SUM(a) AS s FROM @t{self.where(0.3)} GROUP BY k"
        text = (f"SELECT k, {self.one('n', 'n, s', 's, r')} FROM (SELECT *, ROW_NUMBER() OVER ({partition} ORDER BY @o) AS r FROM ({inner}) "
                f"AS per_key) AS ranked WHERE r <= {self.one(1, 3, 7)}")
        return Query(text.replace("@o", ours), text.replace("@o", theirs))

    def window_top(self):
        ours, theirs = self.ordered([("n", self.one("ASC", "DESC")), ("k", "ASC")])
        inner = "SELECT k, window_start, window_end, COUNT(*) AS n FROM @w GROUP BY k, window_start, window_end"
        text = (f"SELECT k, window_end, n, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY @o) AS r "
                f"FROM ({inner}) AS counted) AS ranked WHERE r <= {self.one(1, 3)}")
        query = self.over_windows(text)
        return Query(query.ours.replace("@o", ours), query.duckdb.replace("@o", theirs))

    def deduplicated(self):
        way = self.one("ASC", "DESC")
        return Query(f"SELECT id, k, a FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {self.one('k', 'name, flag', 'b')} ORDER BY ts {way}) "
                     "AS r FROM @t) AS numbered WHERE r = 1", unique_times=True)

    def grouping(self) -> str:
        return self.one("GROUPING SETS ((k, flag), (k), (flag))", "ROLLUP (k, flag)", "CUBE (k, flag)", "GROUPING SETS ((k), (flag), ())")

    def grouping_sets(self):
        text = f"SELECT k, flag, {self.some(self.aggregate, 1, 3)} FROM @t{self.where(0.3)} GROUP BY {self.grouping()}"
        # Over no rows the empty set has one row in a batch and none in a stream, where nothing has happened yet.
        return Query(text, text + " HAVING COUNT(*) > 0")

    def window_grouping_sets(self):
        sets = self.one("GROUPING SETS ((k, flag), (k), (flag))", "ROLLUP (k, flag)", "CUBE (k, flag)")
        return self.over_windows(f"SELECT window_start, window_end, k, flag, {self.some(self.aggregate, 1, 3)} FROM @w "
                                 f"GROUP BY window_start, window_end, {sets}")

    def limited(self):
        ours, theirs = self.ordered([(self.one("a", "x", "name"), self.one("ASC", "DESC")), ("id", "ASC")])
        text = f"SELECT id, a, x, name FROM @t{self.where(0.5)} ORDER BY @o LIMIT {self.one(1, 5, 40)}"
        return Query(text.replace("@o", ours), text.replace("@o", theirs))
