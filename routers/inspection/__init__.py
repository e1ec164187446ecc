"""What is on the shards, and whether it is where it should be: `manage.py shards`."""
