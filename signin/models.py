"""Who is signed in where, and how often signing in failed. Second factors themselves are allauth's `Authenticator`."""

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from accounts.models import User


class Session(AbstractBaseSession):
    """Django's session, with whose it is and from where, so that people can see and end theirs."""

    # Without an index of its own: the one below finds the sessions of a person too.
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, db_index=False, related_name="sessions")
    signed_in_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    address = models.CharField(max_length=45, blank=True, default="")
    browser = models.CharField(max_length=200, blank=True, default="", help_text="The User-Agent as it was sent.")
    factor = models.CharField(max_length=16, blank=True, default="", help_text="The second factor that was shown.")

    class Meta(AbstractBaseSession.Meta):
        indexes = [models.Index(fields=["user", "-signed_in_at"], name="session_by_user")]

    def __str__(self) -> str:
        return f"session of {self.user}"


class FailedSignIns(models.Model):
    """Failed attempts since the last entry of the audit about them: one row a person, and one for unknown names."""

    # A plain number: 0 is for unknown names.
    user_id = models.BigIntegerField(primary_key=True)
    passwords = models.PositiveIntegerField(default=0)
    codes = models.PositiveIntegerField(default=0, help_text="Second factors, after the right password.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    last_address = models.CharField(max_length=45, blank=True, default="")

    def __str__(self) -> str:
        return f"failed sign-ins of {self.user_id or 'unknown names'}"
