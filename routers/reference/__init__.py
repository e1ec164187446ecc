"""Reference models: written in the catalog, carried to every shard, proved equal."""
