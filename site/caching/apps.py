from django.apps import AppConfig
from django.db.backends.signals import connection_created


class CachingConfig(AppConfig):
    name = "caching"
    verbose_name = "Cache"

    def ready(self) -> None:
        from caching import writes

        connection_created.connect(writes.watch, dispatch_uid="caching.watch")
