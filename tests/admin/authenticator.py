"""A passkey in software: makes and uses one as a browser would hand it to the service (WebAuthn level 2, ES256)."""

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

ORIGIN = "https://testserver"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


class Passkey:
    """One credential. `verifies`: it asks for a finger or a PIN."""

    def __init__(self, *, verifies: bool = True, origin: str = ORIGIN) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = secrets.token_bytes(32)
        self._verifies, self.origin = verifies, origin
        self.user_handle = ""

    def make(self, options: Any) -> str:
        """The answer to the options of adding one."""
        asked = options["publicKey"]
        self.user_handle = asked["user"]["id"]
        data = AttestedCredentialData.create(Aaguid.NONE, self._id, ES256.from_cryptography_key(self._key.public_key()))
        attestation = AttestationObject.create("none", self._state(asked["rp"]["id"], ATTESTED, data), {})
        return self._answer(
            attestationObject=websafe_encode(attestation), clientDataJSON=self._client("webauthn.create", asked)
        )

    def use(self, options: Any, *, rp: str = "testserver") -> str:
        """The answer to the options of signing in."""
        asked = options["publicKey"]
        client, state = self._client("webauthn.get", asked), self._state(asked.get("rpId", rp), 0)
        signed = bytes(state) + hashlib.sha256(websafe_decode(client)).digest()
        signature = self._key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(
            authenticatorData=websafe_encode(state), clientDataJSON=client, signature=websafe_encode(signature),
            userHandle=self.user_handle,
        )  # fmt: skip

    def _client(self, kind: str, asked: Any) -> str:
        said = {"type": kind, "challenge": asked["challenge"], "origin": self.origin, "crossOrigin": False}
        return websafe_encode(json.dumps(said).encode())

    def _state(self, rp: str, flags: int, data: AttestedCredentialData | None = None) -> AuthenticatorData:
        flags |= PRESENT | (VERIFIED if self._verifies else 0)
        return AuthenticatorData.create(hashlib.sha256(rp.encode()).digest(), flags, 0, data or b"")

    def _answer(self, **response: str) -> str:
        return json.dumps({
            "id": websafe_encode(self._id), "rawId": websafe_encode(self._id), "type": "public-key",
            "clientExtensionResults": {}, "response": response,
        })  # fmt: skip
