from django.apps import AppConfig


class FrontConfig(AppConfig):
    name = "front"

    def ready(self) -> None:
        from front import starts

        starts.connect()
