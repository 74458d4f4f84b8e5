"""What the operator trusts: manufacturers' authorities, and the lists of certificates that they revoked."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import Exact


class Authority(models.Model):
    """A manufacturer's authority: phones whose certificates it signed are believed. The certificate never changes."""

    name = models.CharField(max_length=80, help_text="What people call it, as Cisco Manufacturing CA SHA2.")
    certificate = models.BinaryField(help_text="DER.")
    fingerprint = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the certificate, hexadecimal.")
    # By what revocation lists find their authority; certificates that renew each other share it.
    mark = models.CharField(max_length=64, db_index=True)
    is_root = models.BooleanField(help_text="An end of chains; others only help to build them.")
    allows_sha1 = models.BooleanField(
        default=False, help_text="Whether chains below it may be signed with SHA-1, which can be forged at some cost."
    )
    expires_at = models.DateTimeField()
    added_at = models.DateTimeField()
    added_by = models.CharField(max_length=160)

    class Meta:
        verbose_name_plural = "authorities"
        constraints = [
            models.UniqueConstraint(fields=["name"], name="authority_name_once"),
            models.CheckConstraint(condition=Exact(Length("fingerprint"), 64), name="authority_fingerprint_whole"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="authority_by_end")]

    def __str__(self) -> str:
        return self.name


class RevocationList(models.Model):
    """The newest list of revoked certificates that one authority gave out and the operator loaded."""

    mark = models.CharField(max_length=64, unique=True, help_text="Which authority's: its name and key, hashed.")
    issuer = models.CharField(max_length=80, help_text="The authority's name.")
    content = models.BinaryField(help_text="DER.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content, hexadecimal.")
    revoked = models.PositiveIntegerField(help_text="How many certificates it names.")
    issued_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True, blank=True, help_text="When a newer list was promised.")
    added_at = models.DateTimeField()
    added_by = models.CharField(max_length=160)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(next_at=None) | Q(next_at__gte=models.F("issued_at")), name="revocation_list_forward"
            )
        ]

    def __str__(self) -> str:
        return f"{self.issuer}, {self.issued_at:%Y-%m-%d}"
