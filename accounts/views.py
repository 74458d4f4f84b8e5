"""What all views for API keys have in common: who calls, how often they may, and that a repeated write is done once."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import authentication, idempotency, quotas
from accounts.actors import Actor
from accounts.authentication import Partner
from accounts.mandates import OutsideMandate
from accounts.models import Organization
from accounts.quotas import Limit, Standing, TooManyRequests
from accounts.seals import Seal
from onboarding.errors import OnboardingError

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Requests without a key, or with one that is not valid, of one network.
STRANGERS = Limit("strangers", most=100, seconds=60)
# Answers that tell an organization that a device is another one's.
TAKEN = Limit("device_taken", most=100, seconds=3600)


def requests_a_minute() -> Limit:
    """Requests of one key."""
    return Limit("requests", most=settings.API_REQUESTS_PER_MINUTE, seconds=60)


def counts() -> quotas.Counts:
    """The counts of this machine."""
    return quotas.counts(settings.DATA_DIR / "quotas")


class KeyedView(APIView):
    """A view for keys; `scopes` names the scope of each method.

    Every write takes an Idempotency-Key: then all of it runs in one transaction with its kept answer. Verbs that it
    calls may use `atomic` and `on_commit`, but not `atomic(durable=True)`.
    """

    scopes: ClassVar[dict[str, str]] = {}
    # Whether the view keeps callers to the profiles of their mandate. Those that do not are closed to such callers.
    keeps_to_profiles: ClassVar[bool] = False
    metadata_class = None
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    # How the caller's quota stands, once it was counted.
    standing: Standing | None = None

    @property
    def partner(self) -> Partner:
        """The caller. Permissions let nobody else in."""
        user = self.request.user
        assert isinstance(user, Partner)
        return user

    @property
    def organization(self) -> Organization:
        return self.partner.organization

    @property
    def actor(self) -> Actor:
        """The caller, as the history names it."""
        return self.partner.actor(self.request._request)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """REST framework's, with idempotency around the handler and the quota on every answer."""
        self.args, self.kwargs, self.headers = args, kwargs, self.default_response_headers
        self.request = request = self.initialize_request(request, *args, **kwargs)
        try:
            self.initial(request, *args, **kwargs)
            name = request.method.lower()
            known = name in self.http_method_names and hasattr(self, name)
            handler = getattr(self, name) if known else self.http_method_not_allowed
            if known and request.method in WRITES and "Idempotency-Key" in request.headers:
                response = self._once(handler)
            else:
                response = self._finished(handler(request, *args, **kwargs))
        except Exception as error:
            response = self._finished(self.handle_exception(error))
        if self.standing is not None:
            _show(self.standing, response)
        self.response = response  # type: ignore[assignment]
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who calls, whether they may again, and what REST framework asks of every request."""
        network = getattr(request._request, "network", "")
        header = request.headers.get("Authorization", "")
        stranger = counts().look(STRANGERS, network)
        # Keys that were good a moment ago are no guesses: a neighbour's broken script does not lock them out.
        if stranger.is_used_up and not authentication.was_good(header):
            self.standing = stranger
            raise TooManyRequests("There were too many requests without a valid key from here.", standing=stranger)
        try:
            if not isinstance(request.user, Partner):
                raise NotAuthenticated
        except (AuthenticationFailed, NotAuthenticated, OnboardingError):
            self.standing = counts().spend(STRANGERS, network)
            raise
        self.standing = counts().spend(requests_a_minute(), self.partner.key.prefix)
        if self.standing.is_over:
            limit = self.standing.limit
            raise TooManyRequests(f"The key has had its {limit.most} requests of this minute.", standing=self.standing)
        super().initial(request, *args, **kwargs)
        if self.partner.viewer.limited and not self.keeps_to_profiles:
            raise OutsideMandate("The mandate is limited to some profiles, and this cannot be.")

    def _once(self, handler: Callable[..., HttpResponseBase]) -> HttpResponseBase:
        """Run the handler, or give the answer that it gave to the same request before."""
        request, at = self.request, timezone.now()
        seal = Seal(settings.CODE_KEYS, purpose="accounts.answers")
        attempt = idempotency.attempt(
            request.headers["Idempotency-Key"], key=self.partner.key, organization_id=self.organization.pk,
            method=str(request.method), path=request.get_full_path(), body=self.body_digested(),
        )  # fmt: skip
        with transaction.atomic():
            kept = idempotency.begin(attempt, seal=seal, at=at)
            if kept is not None:
                return _replayed(kept)
            try:
                # Apart, so that a refusal undoes what the handler did and is kept all the same.
                with transaction.atomic():
                    response = self._finished(handler(request, *self.args, **self.kwargs))
            except Exception as error:
                response = self._finished(self.handle_exception(error))
            if response.status_code >= 500 or response.status_code == 429:
                # The same request may fare better next time.
                transaction.set_rollback(True)
            else:
                assert isinstance(response, HttpResponse)
                answer = idempotency.Answer(response.status_code, dict(response.items()), response.content)
                idempotency.keep(attempt, answer, seal=seal, at=at)
        return response

    def body_digested(self) -> bytes:
        """What tells one request's body from another's: the body itself, unless a view knows better."""
        return self.request._request.body

    def _finished(self, response: HttpResponseBase) -> HttpResponseBase:
        finished = self.finalize_response(self.request, response, *self.args, **self.kwargs)  # type: ignore[arg-type]
        if isinstance(finished, Response):
            finished.render()
        return finished


def _replayed(kept: idempotency.Answer) -> HttpResponse:
    response = HttpResponse(kept.body, status=kept.status)
    # Not even Django's own Content-Type, which an answer without a body has not.
    del response["Content-Type"]
    for name, text in kept.headers.items():
        response[name] = text
    response["Idempotent-Replayed"] = "true"
    return response


def _show(standing: Standing, response: HttpResponseBase) -> None:
    """The three fields of draft-ietf-httpapi-ratelimit-headers-06, which clients know."""
    response["RateLimit-Limit"] = str(standing.limit.most)
    response["RateLimit-Remaining"] = str(standing.remaining)
    response["RateLimit-Reset"] = str(standing.resets_in_seconds)
