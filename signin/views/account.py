"""Your account: the password, second factors, sessions. Everybody's own, and nobody else's."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

from allauth.mfa.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts import standing
from accounts.models import User
from onboarding.errors import OnboardingError
from signin import browsers, entering, factors, guard, passwords, recording, sessions
from signin.forms import ChangePasswordForm, CodeForm, ConfirmForm, PasskeyNameForm
from signin.views import requests

View = Callable[..., HttpResponse]
_SECRET = "app_secret"  # noqa: S105  (a key of the session)
_ADDING = "adding"


def own(view: View, *, on_the_way: bool = False, confirmed: bool = False) -> View:
    """A page of whoever is signed in. `on_the_way`: also of those who must set up a second factor first; `confirmed`:
    asks for the password again after a while."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not guard.is_signed_in(request):
            return HttpResponseRedirect(f"{reverse('admin:login')}?next={quote(request.get_full_path())}")
        assert isinstance(request.user, User)
        if guard.lacks_factor(request):
            if factors.of(request.user).any:
                return HttpResponseRedirect(reverse("admin:login"))
            if not on_the_way:
                return HttpResponseRedirect(reverse("admin:require_factor"))
        if confirmed and not guard.is_confirmed(request, at=timezone.now()):
            return HttpResponseRedirect(f"{reverse('admin:confirm')}?next={quote(request.get_full_path())}")
        return view(request, *args, **kwargs)

    return never_cache(csrf_protect(sensitive_post_parameters()(shown)))


def index(request: HttpRequest) -> HttpResponse:
    person, at = _person(request), timezone.now()
    shown = [
        {
            "handle": sessions.handle(row.session_key),
            "is_this": row.session_key == request.session.session_key,
            "browser": browsers.name(row.browser),
            "user_agent": row.browser,
            "address": row.address,
            "since": row.signed_in_at,
            "last_seen": row.last_seen_at,
        }
        for row in sessions.of(person, at=at)
    ]
    return requests.page(
        request,
        "signin/account.html",
        title="Your account",
        person=person,
        has=factors.of(person),
        required=guard.requires_factor(request),
        organizations=standing.of(request).names,
        sessions=shown,
    )


def require_factor(request: HttpRequest) -> HttpResponse:
    """Where those are led who must set up a second factor before anything else."""
    if not guard.lacks_factor(request):
        return HttpResponseRedirect(reverse("admin:account"))
    return requests.page(request, "signin/require_factor.html", title="Set up a second factor")


def confirm(request: HttpRequest) -> HttpResponse:
    """The password once more."""
    form, at = ConfirmForm(request.POST or None), timezone.now()
    if form.is_bound and form.is_valid():
        try:
            entering.confirm(_person(request), form.cleaned_data["password"], at=at)
        except OnboardingError as error:
            form.refuse(error)
        else:
            guard.note(request, confirmed_at=at.timestamp())
            return HttpResponseRedirect(requests.next_address(request))
    return requests.page(request, "signin/confirm.html", title="Confirm that it is you", form=form)


def password(request: HttpRequest) -> HttpResponse:
    person, at = _person(request), timezone.now()
    form = ChangePasswordForm(request.POST or None)
    if form.is_bound and form.is_valid():
        try:
            entering.confirm(person, form.cleaned_data["password"], at=at)
            changed = passwords.change(
                person,
                password=form.cleaned_data["new_password"],
                session_key=_key(request),
                actor=requests.actor(request, person),
                at=at,
            )
        except OnboardingError as error:
            form.refuse(error)
        else:
            # Sessions are bound to the password; this one goes on under the new.
            update_session_auth_hash(request, changed)
            messages.success(request, "Your password is changed. Your other sessions have ended.")
            return HttpResponseRedirect(reverse("admin:account"))
    return requests.page(request, "signin/password.html", title="Change your password", form=form)


def app(request: HttpRequest) -> HttpResponse:
    """Set up an authenticator app: a QR code to scan or a secret to type, proven by the first code."""
    person, at = _person(request), timezone.now()
    seal = get_adapter()
    form = CodeForm(request.POST or None)
    if _SECRET not in request.session:
        request.session[_SECRET] = seal.encrypt(factors.new_secret())
    secret = seal.decrypt(request.session[_SECRET])
    if form.is_bound and form.is_valid():
        try:
            codes = factors.add_app(
                person,
                secret=secret,
                code=form.cleaned_data["code"],
                session_key=_key(request),
                actor=requests.actor(request, person),
                at=at,
            )
        except OnboardingError as error:
            form.refuse(error)
        else:
            del request.session[_SECRET]
            return _added(request, "totp", "Your authenticator app is set up.", codes)
    return requests.page(
        request,
        "signin/app.html",
        title="Authenticator app",
        form=form,
        qr=factors.qr(person, secret),
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        has=factors.of(person),
    )


def add_passkey(request: HttpRequest) -> HttpResponse:
    person, at = _person(request), timezone.now()
    purpose = f"{_ADDING}.{person.pk}"
    form = PasskeyNameForm(request.POST or None)
    if form.is_bound and form.is_valid():
        try:
            codes = factors.add_passkey(
                person,
                name=form.cleaned_data["name"],
                answer=requests.passkey_answer(request),
                state=requests.challenge(request, purpose=purpose),
                session_key=_key(request),
                actor=requests.actor(request, person),
                at=at,
            )
        except OnboardingError as error:
            form.refuse(error)
        else:
            return _added(request, "webauthn", f"The passkey “{form.cleaned_data['name']}” is added.", codes)
    options, state = factors.begin_adding_passkey(person)
    response = requests.page(request, "signin/passkey.html", title="Add a passkey", form=form, options=options)
    requests.keep_challenge(response, state, purpose=purpose)
    return response


@require_POST
def rename_passkey(request: HttpRequest, passkey_id: int) -> HttpResponse:
    person = _person(request)
    form = PasskeyNameForm(request.POST)
    if form.is_valid():
        factors.rename_passkey(
            person,
            passkey_id,
            name=form.cleaned_data["name"],
            actor=requests.actor(request, person),
            at=timezone.now(),
        )
        messages.success(request, "The passkey has its new name.")
    return HttpResponseRedirect(reverse("admin:account"))


def remove_factor(request: HttpRequest, kind: str, passkey_id: int | None = None) -> HttpResponse:
    """Asks once, then removes."""
    person = _person(request)
    has = factors.of(person)
    name = next((key.name for key in has.passkeys if key.id == passkey_id), "authenticator app")
    if request.method == "POST":
        try:
            factors.remove(
                person,
                kind=kind,
                passkey_id=passkey_id,
                required=guard.requires_factor(request),
                session_key=_key(request),
                actor=requests.actor(request, person),
                at=timezone.now(),
            )
            if not factors.of(person).any:
                # Should one be required later, this session has shown none that still is.
                guard.note(request, factor="")
            messages.success(request, f"Removed: {name}. Your other sessions have ended.")
        except OnboardingError as error:
            messages.error(request, f"{error.detail} {error.remedy}")
        return HttpResponseRedirect(reverse("admin:account"))
    return requests.page(
        request,
        "signin/remove_factor.html",
        title=f"Remove {name}?",
        is_last=len(has.passkeys) + bool(has.app_added_at) < 2,
    )


def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Asks once, then makes ten new ones, shown once."""
    person = _person(request)
    if not factors.of(person).any:
        return HttpResponseRedirect(reverse("admin:account"))
    if request.method != "POST":
        return requests.page(request, "signin/make_codes.html", title="Make new recovery codes?")
    codes = factors.make_recovery_codes(person, actor=requests.actor(request, person), at=timezone.now())
    return _codes_page(request, codes)


@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """One session by its handle, or all the others."""
    person = _person(request)
    chosen = request.POST.get("handle", "")
    ended = sessions.end(person, handles={chosen} if chosen else None, but=None if chosen else _key(request))
    if ended:
        recording.record(
            requests.actor(request, person), person, "session.revoked", at=timezone.now(), after={"sessions": ended}
        )
    messages.success(request, "1 session ended." if ended == 1 else f"{ended} sessions ended.")
    return HttpResponseRedirect(reverse("admin:account"))


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _key(request: HttpRequest) -> str:
    return request.session.session_key or ""


def _added(request: HttpRequest, factor: str, said: str, codes: list[str]) -> HttpResponse:
    """The session has shown the new factor by setting it up; recovery codes are shown if they are new."""
    guard.note(request, factor=factor)
    if codes:
        return _codes_page(request, codes, said=said)
    messages.success(request, said)
    return HttpResponseRedirect(reverse("admin:account"))


def _codes_page(request: HttpRequest, codes: list[str], *, said: str = "") -> HttpResponse:
    person = _person(request)
    shown = [f"{code[:4]} {code[4:]}" for code in codes]
    text = "\n".join([f"Recovery codes of {person.get_username()}, each good once:", "", *shown, ""])
    return requests.page(
        request, "signin/recovery_codes.html", title="Your recovery codes", codes=shown, said=said,
        download=f"data:text/plain;charset=utf-8,{quote(text)}",
    )  # fmt: skip
