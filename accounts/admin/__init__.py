"""Organizations, their people, keys, mandates and audit on the admin site. `scope` says who may see and do what."""

from accounts.admin import audit, keys, mandates, organizations, people

__all__ = ["audit", "keys", "mandates", "organizations", "people"]
