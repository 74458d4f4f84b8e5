"""CodeStatus: where an issued code stands, computed from its times: nothing has to run for a code to expire."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol


class CodeStatus(StrEnum):
    ISSUED = "issued"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVOKED = "revoked"

    @property
    def label(self) -> str:
        return self.value.capitalize()


class Times(Protocol):
    """What a status depends on; IssuedCode has it."""

    expires_at: datetime
    redeemed_at: datetime | None
    revoked_at: datetime | None


def status(row: Times, *, at: datetime) -> CodeStatus:
    """The status at a moment. Revoked wins over redeemed: such a code gives its phone no second answer."""
    if row.revoked_at is not None:
        return CodeStatus.REVOKED
    if row.redeemed_at is not None:
        return CodeStatus.REDEEMED
    return CodeStatus.EXPIRED if row.expires_at <= at else CodeStatus.ISSUED
