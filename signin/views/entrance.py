"""The pages on the way in: name and password, second factor, passkey, a new password by link."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import User
from onboarding.errors import OnboardingError
from signin import entering, factors, guard, passwords
from signin.forms import CodeForm, NewPasswordForm, SignInForm
from signin.views import requests

_PASSWORDLESS, _SECOND = "passwordless", "second"


@never_cache
@csrf_protect
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Name and password. Whoever is signed in already is led on."""
    if request.method != "POST":
        return _led_on(request) or _sign_in_page(request, SignInForm())
    form, at = SignInForm(request.POST), timezone.now()
    if not form.is_valid():
        return _sign_in_page(request, form)
    try:
        person = entering.check_password(
            form.cleaned_data["username"], form.cleaned_data["password"], source=requests.source(request), at=at
        )
        if not factors.of(person).any:
            return _enter(request, person, factor="")
    except OnboardingError as error:
        form.refuse(error)
        return _sign_in_page(request, form)
    if request.user.is_authenticated:
        logout(request)
    entering.remember(request, person, at=at)
    return requests.to("admin:second_factor", request)


@never_cache
@csrf_protect
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """A code or a passkey, of somebody who has shown the password."""
    at = timezone.now()
    person = entering.pending(request, at=at)
    if person is None:
        return requests.to("admin:login", request)
    form = CodeForm(request.POST or None)
    try:
        if "credential" in request.POST:
            state = requests.challenge(request, purpose=f"{_SECOND}.{person.pk}")
            answer = requests.passkey_answer(request)
            entering.check_second_passkey(person, answer, state, source=requests.source(request), at=at)
            return _enter(request, person, factor="webauthn")
        if form.is_bound and form.is_valid():
            kind = entering.check_code(person, form.cleaned_data["code"], source=requests.source(request), at=at)
            return _enter(request, person, factor=kind)
    except OnboardingError as error:
        form = CodeForm()
        form.refuse(error)
    return _second_factor_page(request, person, form)


@never_cache
@csrf_protect
@require_POST
def passkey_options(request: HttpRequest) -> HttpResponse:
    """What the browser needs to ask for a passkey of whoever sits before it."""
    options, state = factors.begin_proving_passkey(None)
    response = JsonResponse(options)
    requests.keep_challenge(response, state, purpose=_PASSWORDLESS)
    return response


@never_cache
@csrf_protect
@require_POST
def passkey(request: HttpRequest) -> HttpResponse:
    """Sign in by a passkey alone: it is something one has, and it verified its person."""
    state = requests.challenge(request, purpose=_PASSWORDLESS)
    answer = requests.passkey_answer(request)
    try:
        person = entering.check_passkey(answer, state, source=requests.source(request), at=timezone.now())
        return _enter(request, person, factor="webauthn")
    except OnboardingError as error:
        form = SignInForm()
        form.refuse(error)
        return _sign_in_page(request, form)


@method_decorator(csrf_protect, name="dispatch")
class NewPassword(PasswordResetConfirmView):
    """Choose a password through a link. Django's view: it takes the token out of the address first."""

    form_class = NewPasswordForm
    template_name = "signin/new_password.html"
    success_url = reverse_lazy("admin:login")
    title = "Choose a new password"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        shown = requests.page(self.request, self.template_name, title=str(self.title)).context_data
        return super().get_context_data(**(shown or {}) | kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        person = self.user
        assert isinstance(person, User)
        try:
            passwords.choose(
                person,
                password=form.cleaned_data["new_password1"],
                actor=requests.actor(self.request, person),
                at=timezone.now(),
            )
        except OnboardingError as error:
            form.add_error("new_password1", error.detail)
            return self.form_invalid(form)
        messages.success(self.request, "Your new password is set. Sign in with it.")
        response = HttpResponseRedirect(str(self.success_url))
        # Whoever was locked out by somebody else's guessing gets in from here.
        requests.know_device(response, person)
        return response


def _led_on(request: HttpRequest) -> HttpResponse | None:
    """Where somebody who is signed in goes; None for those who are not."""
    if not guard.is_signed_in(request):
        return None
    if not guard.lacks_factor(request):
        return HttpResponseRedirect(requests.next_address(request))
    assert isinstance(request.user, User)
    if factors.of(request.user).any:
        # Not signed in properly: from the beginning.
        logout(request)
        return None
    return requests.to("admin:require_factor", request)


def _enter(request: HttpRequest, person: User, *, factor: str) -> HttpResponse:
    """Sign in and lead on. Raises FactorNeeded."""
    failed = entering.enter(
        request,
        person,
        factor=factor,
        actor=requests.actor(request, person),
        browser=request.headers.get("User-Agent", ""),
        at=timezone.now(),
    )
    if failed is not None:
        tries = failed.passwords + failed.codes
        messages.warning(
            request,
            f"{tries} failed attempt{'' if tries == 1 else 's'} to sign in as you, the last from"
            f" {failed.last_address or 'an unknown address'} on {failed.last_at:%d %B at %H:%M} UTC.",
        )
    if factor == "recovery_codes":
        left = factors.of(person).recovery_codes_left
        messages.warning(request, f"You used a recovery code; {left} are left. Make new ones on the page Your account.")
    response = _led_on(request) or HttpResponseRedirect(reverse("admin:login"))
    requests.know_device(response, person)
    return response


def _sign_in_page(request: HttpRequest, form: SignInForm) -> HttpResponse:
    return requests.page(request, "signin/sign_in.html", title="Sign in", form=form, app_path=request.get_full_path())


def _second_factor_page(request: HttpRequest, person: User, form: CodeForm) -> HttpResponse:
    has = factors.of(person)
    options: dict[str, Any] | None = None
    state: dict[str, Any] = {}
    if has.passkeys:
        options, state = factors.begin_proving_passkey(person)
    response = requests.page(
        request, "signin/second_factor.html", title="Second factor", form=form, has=has, person=person, options=options
    )
    if options is not None:
        requests.keep_challenge(response, state, purpose=f"{_SECOND}.{person.pk}")
    return response
