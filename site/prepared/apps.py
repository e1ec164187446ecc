from django.apps import AppConfig


class PreparedConfig(AppConfig):
    name = "prepared"
