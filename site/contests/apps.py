from django.apps import AppConfig


class ContestsConfig(AppConfig):
    name = "contests"

    def ready(self) -> None:
        from contests import rules

        rules.connect()
