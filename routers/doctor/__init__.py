"""Finds in a project's code what goes wrong over shards and poolers: `manage.py doctor`."""
