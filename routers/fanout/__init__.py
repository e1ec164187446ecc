"""Reading over several shards at once: `routers.fan_out`, and finding a row by its id alone."""
