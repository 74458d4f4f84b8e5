"""Signatures as Standard Webhooks has them (standardwebhooks.com): HMAC-SHA-256 of id, time and body.

While a secret is being rotated, both the new one and the old one sign.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


def new_secret() -> str:
    """A secret as partners are given it: `whsec_` and 32 random octets in base64 (the standard asks for 24 to 64)."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def headers(signers: Sequence[Webhook], *, message_id: str, at: datetime, body: str) -> dict[str, str]:
    """What proves a message, the newest signer first. `at` is when this attempt is made."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signer.sign(message_id, at, body) for signer in signers),
    }
