"""Activation codes on the admin site: issue, follow, read again on the record, hand over; and locked-out phones."""

from activation.admin import codes, readings

__all__ = ["codes", "readings"]
