from django.db import migrations

MAKE = """
CREATE TABLE caching_service (
    id integer PRIMARY KEY CHECK (id = 1),
    epoch bigint NOT NULL,
    is_off boolean NOT NULL
)
"""


class Migration(migrations.Migration):
    """The row of caching.service, in the catalog and on every shard; it is never copied."""

    operations = [
        migrations.RunSQL(
            [MAKE, "INSERT INTO caching_service VALUES (1, 1, false)"],
            "DROP TABLE caching_service",
            hints={"placement": "reference"},
        )
    ]
