"""Organizations, their people and their keys on the admin site. `scope` says who may see and do what."""

from accounts.admin import keys, organizations, people

__all__ = ["keys", "organizations", "people"]
