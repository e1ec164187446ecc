from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate


class RoutersConfig(AppConfig):
    name = "routers"
    verbose_name = "Sharding"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from routers import schema, sqlite
        from routers.checks import check_models, check_settings, refuse_leaks
        from routers.doctor.rules import check_code
        from routers.ownership.guard import protect
        from routers.reference import carry

        checks.register(check_settings)
        checks.register(check_models, checks.Tags.models)
        checks.register(check_code, "sharding")
        connection_created.connect(sqlite.register_key_function, dispatch_uid="routers.sqlite")
        connection_created.connect(carry.carry_on_sqlite, dispatch_uid="routers.reference")
        connection_created.connect(protect, dispatch_uid="routers.ownership")
        pre_migrate.connect(schema.prepare, sender=self, dispatch_uid="routers.prepare")
        post_migrate.connect(schema.finish, sender=self, dispatch_uid="routers.finish")
        refuse_leaks()
