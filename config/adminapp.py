"""The admin app of this service: Django's own, with our site. Apart from the site, which needs the models."""

from django.contrib.admin.apps import AdminConfig


class OnboardingAdminConfig(AdminConfig):
    default_site = "config.adminsite.OnboardingAdminSite"
