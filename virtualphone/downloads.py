"""One download as the phone does it: redirects followed, challenges answered, the end put into class A, B or C.

Source: the seed, "HTTP Status Code Handling on Resync and Upgrade"; the table itself is in `statuses`.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from urllib.parse import urljoin

from virtualphone import logins, statuses, wire
from virtualphone.statuses import Reaction

# Which header carries the challenge, and which the answer to it.
_CHALLENGES = {401: ("www-authenticate", "Authorization"), 407: ("proxy-authenticate", "Proxy-Authorization")}


@dataclass(frozen=True, slots=True)
class Download:
    """How a download ended. `kind` names it for people and for counting: `HTTP 404`, `timeout`."""

    reaction: Reaction
    kind: str
    detail: str = ""
    body: bytes = b""
    seconds: float = 0.0
    retry_after: str = ""
    hops: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        return self.reaction is Reaction.SUCCESS


def fetch(
    transport: wire.Transport,
    url: str,
    *,
    user_agent: str,
    moved: MutableMapping[str, str],
    login: tuple[str, str] | None = None,
    post: bytes | None = None,
    content_type: str = "",
) -> Download:
    """GET, or POST if there is something to post. Never raises: every failure is a class.

    `moved` is what the phone has learned from 301s; this and future requests go to the new location.
    """
    method = "GET" if post is None else "POST"
    own_headers = {"User-Agent": user_agent, "Accept": "*/*"} | ({"Content-Type": content_type} if content_type else {})
    headers = dict(own_headers)
    hops: list[str] = []
    logins_left, seconds = statuses.MAX_CREDENTIAL_RETRIES, 0.0
    while True:
        url = moved.get(url, url)
        try:
            response = transport.exchange(method, url, headers, post)
        except wire.WireError as error:
            return Download(Reaction.FAILURE, error.kind, error.detail, seconds=seconds, hops=tuple(hops))
        seconds += response.seconds
        reaction = statuses.reaction(response.status)
        location = response.headers.get("location", "")
        if reaction is Reaction.MOVED and location and len(hops) < statuses.MAX_REDIRECTS:
            try:
                there = urljoin(url, location)
            except ValueError as error:
                return Download(Reaction.FAILURE, "bad URL", str(error), seconds=seconds, hops=tuple(hops))
            if response.status == 301:
                moved[url] = there
            hops.append(f"{response.status} → {there}")
            # Credentials were for the server that asked for them.
            headers = dict(own_headers)
            url = there
            continue
        if reaction is Reaction.CHALLENGED and login and logins_left:
            challenge, answer = _CHALLENGES[response.status]
            value = logins.authorization(response.headers.get(challenge, ""), method, url, login)
            if value is not None:
                logins_left -= 1
                headers[answer] = value
                continue
        if reaction in {Reaction.MOVED, Reaction.CHALLENGED}:
            reaction = Reaction.FAILURE
        return Download(
            reaction,
            f"HTTP {response.status}",
            body=response.body,
            seconds=seconds,
            retry_after=response.headers.get("retry-after", ""),
            hops=tuple(hops),
        )
