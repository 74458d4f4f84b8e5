"""The phones' activation endpoint as the environment describes it: both doors' parts, which do not know each other."""

from django.conf import settings

from activation import views
from activation.vault import Vault
from redirect.tokens import LinkMaker, Tokens

_DOOR = settings.DOOR

# Also what Django's own checks see: the path is answered under any Host, see `config.wsgi`.
PATH = _DOOR.activation_path

activate = views.endpoint(
    vault=Vault(settings.CODE_KEYS),
    make_links=LinkMaker(
        Tokens(_DOOR.secret_key),
        beacon_url=f"{_DOOR.public_url}{_DOOR.beacon_path}",
        report_url=f"{_DOOR.public_url}{_DOOR.report_path}",
    ).make,
    trusted_proxies=_DOOR.trusted_proxies,
)
