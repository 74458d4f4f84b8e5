"""Who may open which page: nobody, those on their way to a second factor, or everybody who signed in properly."""

from datetime import datetime

from django.conf import settings
from django.http import HttpRequest

from accounts import standing
from accounts.models import User
from signin import sessions

# Changes of factors and password ask for the password again after this time.
_CONFIRMED_SECONDS = 900


def may_enter(request: HttpRequest) -> bool:
    """Whether the pages of the admin site are open to this person."""
    return is_signed_in(request) and not lacks_factor(request)


def is_signed_in(request: HttpRequest) -> bool:
    """Whether this is somebody of the admin site, of whom not every organization is suspended."""
    user = request.user
    return isinstance(user, User) and user.is_active and user.is_staff and standing.of(request).may_enter


def requires_factor(request: HttpRequest) -> bool:
    """Whether an organization of this person, or the operator's rule, requires a second factor."""
    person = standing.of(request)
    return person.requires_second_factor or (person.is_operator and settings.REQUIRE_OPERATOR_SECOND_FACTOR)


def lacks_factor(request: HttpRequest) -> bool:
    """Whether one is required that this session has not shown."""
    return requires_factor(request) and not request.session.get(sessions.ENTERED, {}).get("factor")


def is_confirmed(request: HttpRequest, *, at: datetime) -> bool:
    """Whether the person showed who they are a short while ago."""
    confirmed_at: float = request.session.get(sessions.ENTERED, {}).get("confirmed_at", 0.0)
    return at.timestamp() - confirmed_at <= _CONFIRMED_SECONDS


def note(request: HttpRequest, **values: object) -> None:
    """Change what the session tells of how the person entered: `factor`, `confirmed_at`."""
    request.session[sessions.ENTERED] = request.session.get(sessions.ENTERED, {}) | values
