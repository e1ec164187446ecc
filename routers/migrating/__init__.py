"""Migrations over all shards: `manage.py migrate_shards`."""
