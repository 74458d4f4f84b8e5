from django.apps import AppConfig


class RedirectConfig(AppConfig):
    name = "redirect"
    verbose_name = "Door"
