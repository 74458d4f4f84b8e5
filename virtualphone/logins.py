"""Answers a server's challenge for credentials: Basic (RFC 7617) and Digest (RFC 7616, with its MD5 and SHA-256)."""

import hashlib
import re
import secrets
from base64 import b64encode
from urllib.parse import urlsplit

_DIRECTIVE = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,"]+))')
_ALGORITHMS = {"md5": hashlib.md5, "sha-256": hashlib.sha256}


def authorization(challenge: str, method: str, url: str, login: tuple[str, str]) -> str | None:
    """The value of the (Proxy-)Authorization header, or None for a challenge that phones cannot answer."""
    scheme, _, rest = challenge.strip().partition(" ")
    if scheme.lower() == "basic":
        return f"Basic {b64encode(':'.join(login).encode()).decode()}"
    if scheme.lower() == "digest":
        directives = {name.lower(): quoted or plain for name, quoted, plain in _DIRECTIVE.findall(rest)}
        return _digest(directives, method, url, login)
    return None


def _digest(directives: dict[str, str], method: str, url: str, login: tuple[str, str]) -> str | None:
    algorithm = directives.get("algorithm", "MD5")
    offered = [word.strip() for word in directives.get("qop", "").split(",") if word.strip()]
    if algorithm.lower() not in _ALGORITHMS or (offered and "auth" not in offered):
        return None

    def hashed(*parts: str) -> str:
        return _ALGORITHMS[algorithm.lower()](":".join(parts).encode()).hexdigest()

    user, password = login
    realm, nonce = directives.get("realm", ""), directives.get("nonce", "")
    parts = urlsplit(url)
    uri = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secret, subject = hashed(user, realm, password), hashed(method, uri)
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": uri}
    bare = f"algorithm={algorithm}"
    if offered:
        fields["cnonce"] = secrets.token_hex(8)
        fields["response"] = hashed(secret, nonce, "00000001", fields["cnonce"], "auth", subject)
        bare += ", qop=auth, nc=00000001"
    else:
        fields["response"] = hashed(secret, nonce, subject)
    if "opaque" in directives:
        fields["opaque"] = directives["opaque"]
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + f", {bare}"
