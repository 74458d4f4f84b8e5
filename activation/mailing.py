"""Codes by mail. The rows are the queue: `mail_due_at` says when the next try is, and nothing else has to survive.

A try is leased by one guarded update that puts the next one off, so two workers do not send the same mail, and a worker
that dies in between has only delayed it (the person may get it twice). After the last try the reason stays in the row.
"""

import logging
import smtplib
from datetime import datetime, timedelta

from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend

from activation import handover
from activation.models import IssuedCode
from activation.status import CodeStatus, status
from activation.vault import SealBroken, Vault

logger = logging.getLogger(__name__)

# Put off by so much before each try: five of them within about three hours.
_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (2, 10, 30, 120, 120))
_MOST_AT_ONCE = 200


class ServerAway(Exception):
    """The mail server does not answer."""


def send_due(*, at: datetime, vault: Vault) -> int:
    """Send the mails that are due, oldest first; gives how many went out."""
    rows = list(
        IssuedCode.objects.filter(mail_due_at__lte=at)
        .select_related("organization")
        .order_by("mail_due_at", "id")[:_MOST_AT_ONCE]
    )
    if not rows:
        return 0
    sent = 0
    connection = mail.get_connection()
    try:
        for row in rows:
            if _lease(row, at=at):
                sent += _send(row, connection, at=at, vault=vault)
    except ServerAway as error:
        # The others are not tried in vain: each would keep this worker until its own timeout.
        logger.warning("The mail server cannot be used: %s", error)
        IssuedCode.objects.filter(mail_due_at__lte=at).update(mail_due_at=at + _DELAYS[0])
    finally:
        connection.close()
    return sent


def _lease(row: IssuedCode, *, at: datetime) -> bool:
    delay = _DELAYS[min(row.mail_tries, len(_DELAYS) - 1)]
    taken = IssuedCode.objects.filter(pk=row.pk, mail_due_at=row.mail_due_at, mail_tries=row.mail_tries)
    return bool(taken.update(mail_due_at=at + delay, mail_tries=row.mail_tries + 1))


def _send(row: IssuedCode, connection: BaseEmailBackend, *, at: datetime, vault: Vault) -> bool:
    # Read anew: it may have been redeemed or revoked since the list was made.
    row.refresh_from_db()
    if status(row, at=at) != CodeStatus.ISSUED:
        return _give_up(row, "it can no longer be used")
    if row.organization.suspended_at is not None:
        return _give_up(row, "the organization is suspended")
    try:
        subject, text = handover.letter(row, vault.open(bytes(row.seal)))
        mail.EmailMessage(subject, text, to=[row.email], connection=connection).send()
    except SealBroken:
        return _give_up(row, "its seal cannot be opened")
    except smtplib.SMTPRecipientsRefused:
        return _give_up(row, "the mail server refuses the address")
    except OSError as error:
        # Among them all of smtplib's. The error's text may repeat the mail; its name does not.
        name = type(error).__name__
        if row.mail_tries >= len(_DELAYS):
            _give_up(row, f"the mail server cannot be used ({name})")
        if isinstance(error, smtplib.SMTPResponseException):
            # It refuses this mail for now, and may take the next.
            logger.warning("The mail of activation code %s was not accepted: %s", row.pk, name)
            return False
        raise ServerAway(name) from error
    IssuedCode.objects.filter(pk=row.pk).update(mail_due_at=None, mailed_at=at, mail_error="")
    return True


def _give_up(row: IssuedCode, reason: str) -> bool:
    IssuedCode.objects.filter(pk=row.pk).update(mail_due_at=None, mail_error=reason)
    return False
