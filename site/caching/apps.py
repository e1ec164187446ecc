from django.apps import AppConfig
from django.core.checks import Tags, register
from django.core.signals import request_started
from django.db.backends.signals import connection_created


class CachingConfig(AppConfig):
    name = "caching"
    verbose_name = "Cache"
    tables_by_sql = ("caching_service",)  # no model's: for those who compare schema and models

    def ready(self) -> None:
        from caching import checks, moments, writes
        from routers.moving.signals import account_moved

        register(checks.check_models, Tags.models)
        register(checks.check_templates, Tags.templates)
        connection_created.connect(writes.watch, dispatch_uid="caching.watch")
        request_started.connect(moments.begin, dispatch_uid="caching.moments")
        account_moved.connect(writes.bump_moved, dispatch_uid="caching.moved")
