"""One connection to a Label Studio server: tokens, time limits, retries, errors in plain words."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import requests

__all__ = ["Connection", "StudioError"]

_IDEMPOTENT = frozenset({"GET", "PATCH", "PUT", "DELETE"})
_PASSING = frozenset({429, 500, 502, 503, 504})
_TURNED_AWAY = frozenset({429})
"""The request was not looked at, so that any may be repeated."""
_LONGEST_WAIT = 30.0
_ACCESS_SECONDS = 240.0
"""How long an access token is used; Label Studio lets it live for 300 s."""


class StudioError(Exception):
    """Label Studio could not do what was asked; the message says why, and what to do.

    Attributes:
        status: HTTP status of the answer; None when there was no answer.
        tasks: Ids of the tasks that are at fault, where the error is about tasks.
    """

    def __init__(
        self, message: str, *, status: int | None = None, tasks: Collection[int] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.tasks = tuple(tasks)


class Connection:
    """Requests to one server, with the token in the form that the server wants.

    A legacy token is sent as it is. A personal access token is a refresh token: it is exchanged
    for an access token, which is renewed before it runs out and when the server refuses it.

    Args:
        url: Address of Label Studio, as this machine reaches it.
        api_key: Legacy token or personal access token.
        timeout: Seconds that one request may take.
        attempts: How often a request that may be repeated safely is tried in all.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: float = 60.0,
        attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._api_key = api_key.strip()
        self._timeout = timeout
        self._attempts = attempts
        self._sleep = sleep
        self._http = requests.Session()
        self._http.trust_env = False  # ~/.netrc would replace the token
        self._http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._proxies = requests.utils.get_environ_proxies(self.url)
        self._access: tuple[str, float] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def authorization(self) -> str:
        """The value of the ``Authorization`` header: ``Token …`` or ``Bearer …``.

        Raises:
            StudioError: When a personal access token can't be exchanged.
        """
        if self._api_key.count(".") != 2:
            return f"Token {self._api_key}"
        with self._lock:
            # Another thread may find the token refused, and let go of it, at any moment.
            token, since = self._access or ("", 0.0)
            if not token or time.monotonic() - since > _ACCESS_SECONDS:
                asked = {"refresh": self._api_key}
                answer = self._send("POST", "/api/token/refresh", repeat=True, json=asked)
                self._check("POST", "/api/token/refresh", answer)
                token = str(_json(answer, self.url)["access"])
                self._access = (token, time.monotonic())
            return f"Bearer {token}"

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the answer's JSON (None where it has no body).

        Args:
            method: HTTP method. All but POST are repeated when the server is out of order.
            path: Path from the server's root.
            **options: ``params``, ``json``, ``files`` and ``timeout`` of ``requests``; ``repeat``
                for a POST that does no harm when it comes twice.

        Raises:
            StudioError: When there is no answer, or one that says no.
        """
        answer = self._authorized(method, path, **options)
        if answer.status_code == 401 and self._access is not None:
            self._access = None
            answer = self._authorized(method, path, **options)
        self._check(method, path, answer)
        return _json(answer, self.url) if answer.content else None

    def _authorized(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": self.authorization()}
        return self._send(method, path, headers=headers, **options)

    def _send(
        self, method: str, path: str, *, repeat: bool = False, **options: Any
    ) -> requests.Response:
        options = {"timeout": self._timeout, "proxies": self._proxies, **options}
        options["allow_redirects"] = method == "GET"
        repeatable = repeat or method in _IDEMPOTENT
        for attempt in range(1, self._attempts + 1):
            wait = 0.5 * 2 ** (attempt - 1)
            try:
                answer = self._http.request(method, self.url + path, **options)
            except requests.RequestException as error:
                if attempt == self._attempts or not repeatable or not _is_passing(error):
                    raise StudioError(self._explain_silence(error)) from error
            else:
                passing = _PASSING if repeatable else _TURNED_AWAY
                if attempt == self._attempts or answer.status_code not in passing:
                    return answer
                asked = answer.headers.get("Retry-After", "")
                wait = max(wait, float(asked) if asked.isdecimal() else 0.0)
            self._sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _explain_silence(self, error: requests.RequestException) -> str:
        if isinstance(error, requests.Timeout):
            return (
                f"Label Studio at {self.url} did not answer in {self._timeout:.0f} s; "
                "it may be overloaded, or the address may be wrong."
            )
        if isinstance(error, requests.exceptions.SSLError):
            return (
                f"The certificate of Label Studio at {self.url} was not accepted: {error}. If it "
                "is of an authority of your own, name the file of that in REQUESTS_CA_BUNDLE."
            )
        message = (
            f"Label Studio can't be reached at {self.url}: {_reason(error)}. "
            "Is it running, and is LABEL_STUDIO_URL right?"
        )
        if urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1"):
            message += (
                " Inside a container, localhost is the container itself: use the service's name"
                " (http://label-studio:8080) or http://host.docker.internal:8080."
            )
        return message

    def _check(self, method: str, path: str, answer: requests.Response) -> None:
        status = answer.status_code
        if status < 300:
            return
        detail = _detail(answer)
        if status < 400:
            message = (
                f"{self.url} redirects to {answer.headers.get('Location', 'another address')}; "
                "set LABEL_STUDIO_URL to where Label Studio is in the end."
            )
        elif status == 401:
            message = (
                f"Label Studio at {self.url} refused LABEL_STUDIO_API_KEY ({detail}). Take a "
                "personal access token from Account & Settings, or a legacy token where the "
                "organisation allows them (Organization → API Tokens Settings)."
            )
        elif status == 403:
            message = (
                f"The user of LABEL_STUDIO_API_KEY may not do this in Label Studio: {detail} "
                f"({method} {path})."
            )
        elif status == 404:
            message = (
                f"Label Studio at {self.url} has no {path}, or the user of LABEL_STUDIO_API_KEY "
                f"may not see it ({detail})."
            )
        elif status in (408, 413):
            message = f"The request was too large or too slow for Label Studio: {detail} ({path})."
        else:
            message = f"Label Studio answered {status} to {method} {path}: {detail}"
        raise StudioError(message, status=status)


def _is_passing(error: requests.RequestException) -> bool:
    return isinstance(error, (requests.ConnectionError, requests.Timeout)) and not isinstance(
        error, requests.exceptions.SSLError
    )


def _reason(error: BaseException) -> str:
    """The innermost cause, without the pool and object names around it."""
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "No route to host"):
        if known in text:
            return known.lower()
    if "resolve" in text:
        return "the host name is not known"
    return text if text else type(error).__name__


def _detail(answer: requests.Response) -> str:
    """What an error answer says, as one line of at most 500 characters."""
    try:
        body = answer.json()
    except ValueError:
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        return f"{answer.reason or 'an answer'} ({kind or 'no body'})"
    if not isinstance(body, dict):
        return str(body)[:500]
    problems = body.get("validation_errors")
    if isinstance(problems, dict) and problems:
        parts = []
        for name, messages in problems.items():
            text = "; ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
            parts.append(text if name == "non_field_errors" else f"{name}: {text}")
        return " ".join(parts)[:500]
    return str(body.get("detail") or body)[:500]


def _json(answer: requests.Response, url: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise StudioError(
            f"{url} answered, but not as Label Studio does; is LABEL_STUDIO_URL right?",
            status=answer.status_code,
        ) from None
