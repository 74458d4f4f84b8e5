"""Phones on the admin site: devices, redirect profiles, short codes, the history, sightings."""

from onboarding.admin import devices, history, profiles, shortcodes

__all__ = ["devices", "history", "profiles", "shortcodes"]
