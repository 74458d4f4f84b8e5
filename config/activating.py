"""The phones' activation endpoint as the environment describes it: both doors' parts, which do not know each other."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from activation import views
from activation.vault import Vault
from onboarding.proving import Prover
from redirect.directory import Directory, DirectoryUnusable
from redirect.tokens import LinkMaker, Tokens
from trust.identity import Shown

_DOOR = settings.DOOR

# Also what Django's own checks see: the path is answered under any Host, see `config.wsgi`.
PATH = _DOOR.activation_path

_prover = Prover(Directory(_DOOR.directory).authorities, trusted_proxies=_DOOR.trusted_proxies)


def _proof(environ: Mapping[str, Any], /, *, at: float) -> Shown | None:
    """Without a directory nothing is proven; codes are redeemed all the same."""
    try:
        return _prover.shown(environ, at=at)
    except DirectoryUnusable:
        return None


activate = views.endpoint(
    vault=Vault(settings.CODE_KEYS),
    make_links=LinkMaker(
        Tokens(_DOOR.secret_key),
        beacon_url=f"{_DOOR.public_url}{_DOOR.beacon_path}",
        report_url=f"{_DOOR.public_url}{_DOOR.report_path}",
    ).make,
    trusted_proxies=_DOOR.trusted_proxies,
    prove=_proof,
)
