from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate


class RoutersConfig(AppConfig):
    name = "routers"
    verbose_name = "Sharding"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from routers import keys, schema
        from routers.checks import check_models, check_settings

        checks.register(check_settings)
        checks.register(check_models, checks.Tags.models)
        connection_created.connect(keys.register_sqlite_function, dispatch_uid="routers.keys")
        pre_migrate.connect(schema.prepare, sender=self, dispatch_uid="routers.prepare")
        post_migrate.connect(schema.finish, sender=self, dispatch_uid="routers.finish")
