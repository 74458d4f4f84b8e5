"""What can be done with the lists that people keep under a name: save, forget. They are a person's own."""

from urllib.parse import parse_qsl, urlencode

from django.db import transaction

from accounts.models import User
from onboarding.errors import OnboardingError
from onboarding.models import SavedFilter

# So many still fit above a list.
MOST_SAVED = 20
MAX_NAME_LENGTH = 40
MAX_QUERY_LENGTH = 500

# What a list's address may hold; anything else, as the page that was open, is not kept.
_KEPT = frozenset({"q", "state", "stalled", "profile", "model", "organization", "o"})


class InvalidFilter(OnboardingError):
    """The list cannot be kept like that."""

    code = "invalid_filter"
    remedy = "Correct the name, or forget a list that you no longer need."


def query(address: str) -> str:
    """The part of a list's query string that is worth keeping. Pure."""
    asked = parse_qsl(address[:4000].lstrip("?"), max_num_fields=50)
    return urlencode(sorted((name, value) for name, value in asked if name in _KEPT and value.isprintable()))


@transaction.atomic
def save(*, user: User, name: str, address: str) -> SavedFilter:
    """Keep the list with this query string as `name`, in the place of one of that name. Raises InvalidFilter."""
    name, kept = name.strip(), query(address)
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidFilter(f"A name has 1 to {MAX_NAME_LENGTH} printable characters.", field="name")
    if not kept:
        raise InvalidFilter("This list is not filtered.", remedy="Search or filter first, then save the list.")
    if len(kept) > MAX_QUERY_LENGTH:
        raise InvalidFilter("What is searched for is too long to be kept.", remedy="Search for less.")
    others = SavedFilter.objects.filter(user=user).exclude(name=name)
    if others.count() >= MOST_SAVED:
        raise InvalidFilter(f"You have {MOST_SAVED} saved lists, the most there may be.")
    row, _ = SavedFilter.objects.update_or_create(user=user, name=name, defaults={"query": kept})
    return row


def forget(*, user: User, name: str) -> None:
    """Forget a list that this person saved; one that is gone already is no error."""
    SavedFilter.objects.filter(user=user, name=name).delete()
