"""Who waits for a connection at the poolers: PgBouncer's SHOW POOLS, by its monitoring login."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing

from prometheus_client.core import GaugeMetricFamily, Metric

from routers.conf import settings

__all__ = ["pools"]

CONNECT_SECONDS = 2
LABELS = ["pooler", "database"]


def pools() -> Iterable[Metric]:
    """Clients waiting and the longest wait, by pooler and database; whether the pooler answered.

    Empty without SHARDING["POOLER_CONSOLES"]. The pooler's own console is no pool.
    """
    if not settings().pooler_consoles:
        return []
    up = GaugeMetricFamily("routers_pooler_up", "Whether the pooler answers", labels=LABELS[:1])
    waiting = GaugeMetricFamily(
        "routers_pool_clients_waiting", "Clients that wait for a connection", labels=LABELS
    )
    longest = GaugeMetricFamily(
        "routers_pool_wait_seconds", "How long the first of them has waited", labels=LABELS
    )
    for console in settings().pooler_consoles:
        pooler, found = _ask(console)
        up.add_metric([pooler], float(found is not None))
        for database, (clients, seconds) in sorted((found or {}).items()):
            waiting.add_metric([pooler, database], clients)
            longest.add_metric([pooler, database], seconds)
    return [up, waiting, longest]


def _ask(console: str) -> tuple[str, dict[str, tuple[int, float]] | None]:
    """host:port, and database → (clients waiting, seconds of the longest); None where away."""
    import psycopg2
    from psycopg2.extensions import parse_dsn

    where = parse_dsn(console)
    pooler = f"{where.get('host', 'localhost')}:{where.get('port', '6432')}"
    try:
        with closing(psycopg2.connect(console, connect_timeout=CONNECT_SECONDS)) as connection:
            connection.autocommit = True  # the console knows no transaction
            with connection.cursor() as cursor:
                cursor.execute("SHOW POOLS")
                names = [column.name for column in cursor.description or ()]
                rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except psycopg2.Error:
        return pooler, None
    return pooler, _sum(rows)


def _sum(rows: list[dict[str, object]]) -> dict[str, tuple[int, float]]:
    """A database has a pool for each of its users."""
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for row in rows:
        database = str(row["database"])
        if database != "pgbouncer":
            clients, seconds = found[database]
            waited = float(str(row["maxwait"])) + float(str(row["maxwait_us"])) / 1e6
            found[database] = clients + int(str(row["cl_waiting"])), max(seconds, waited)
    return dict(found)
