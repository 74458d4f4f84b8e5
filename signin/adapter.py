"""What allauth is told: how secrets are sealed, and how this service is named to authenticator apps and passkeys."""

from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings

from accounts.models import User
from accounts.seals import Seal


def _seal() -> Seal:
    return Seal(settings.CODE_KEYS, purpose="signin.second-factor")


class Adapter(DefaultMFAAdapter):
    """Named in settings as MFA_ADAPTER."""

    def encrypt(self, text: str) -> str:
        return _seal().close(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _seal().open(encrypted_text.encode()).decode()

    def get_totp_label(self, user: User) -> str:
        return user.get_username()

    def get_totp_issuer(self) -> str:
        return f"{settings.UNFOLD['SITE_TITLE']} ({urlsplit(settings.PUBLIC_URL).hostname})"

    def _get_user_identifier(self, user: User) -> str:
        return user.get_username()

    def _get_site_name(self) -> str:
        return str(settings.UNFOLD["SITE_TITLE"])
