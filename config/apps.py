"""The admin app of this service: Django's own, with our site."""

from django.contrib.admin.apps import AdminConfig


class OnboardingAdminConfig(AdminConfig):
    default_site = "config.adminsite.OnboardingAdminSite"
