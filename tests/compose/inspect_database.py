"""Runs inside a database's container, as superuser: which accounts have rows, who is connected."""

import json
import sys
from pathlib import Path

import psycopg2

TABLES = ("test", "testtask", "candidate", "testsession", "answer")

name = sys.argv[1]
secrets = json.loads(Path("/var/lib/fulcrum/secrets.json").read_text())
connection = psycopg2.connect(
    host="127.0.0.1", dbname=name, user="postgres", password=secrets["superuser"]
)
cursor = connection.cursor()
accounts: dict[int, int] = {}
for table in TABLES:
    cursor.execute("SELECT FROM pg_tables WHERE tablename = %s", [f"assessments_{table}"])
    if not cursor.rowcount:  # the catalog has none of them
        continue
    cursor.execute(f"SELECT account_id, count(*) FROM assessments_{table} GROUP BY 1")
    for account, count in cursor.fetchall():
        accounts[account] = accounts.get(account, 0) + count
cursor.execute(
    "SELECT usename, host(client_addr) FROM pg_stat_activity"
    " WHERE usename LIKE 'fulcrum_%' AND backend_type IN ('client backend', 'walsender')"
)
clients = sorted({tuple(row) for row in cursor.fetchall()})
slugs: dict[str, int] = {}
if name == "catalog":
    cursor.execute("SELECT slug, id FROM accounts_account")
    slugs = dict(cursor.fetchall())
print(json.dumps({"accounts": accounts, "clients": clients, "slugs": slugs}))
