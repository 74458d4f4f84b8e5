"""Phones on the admin site: devices, redirect profiles, the history, sightings."""

from onboarding.admin import devices, history, profiles

__all__ = ["devices", "history", "profiles"]
