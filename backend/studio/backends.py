"""Connecting the service to a Label Studio project, with the webhook that it needs."""

from __future__ import annotations

import base64
from typing import Any

from backend.studio.connection import Connection, StudioError

__all__ = ["PRIVATE_ADDRESS_REMEDY", "Backends"]

PRIVATE_ADDRESS_REMEDY = (
    "Label Studio refuses backends on private addresses by default. Start Label Studio with "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false (both are needed), or with "
    "USE_DEFAULT_BANNED_SUBNETS=false, and try again."
)


class Backends(Connection):
    """The part of the client that connects the service."""

    def connect_backend(
        self,
        project_id: int,
        url: str,
        *,
        title: str = "Maskloop",
        username: str = "",
        password: str = "",
    ) -> int:
        """Connect the service to a project, or bring an existing connection up to date.

        Args:
            project_id: Label Studio's id.
            url: Address of the service, as Label Studio reaches it. The service must be running.
            title: Name of the connection.
            username: Basic auth user; empty for none.
            password: Basic auth password.

        Returns:
            The connection's id.

        Raises:
            StudioError: When Label Studio can't reach the service, or may not.
        """
        url = url.rstrip("/")
        body: dict[str, Any] = {"project": project_id, "url": url, "title": title}
        body["auth_method"] = "BASIC_AUTH" if username else "NONE"
        if username:
            body |= {"basic_auth_user": username, "basic_auth_pass": password}
        rows = self._backends(project_id)
        known = [row for row in rows if row["url"].rstrip("/") == url]
        moved = [row for row in rows if row.get("title") == title]
        try:
            if known or moved:
                row = (known or moved)[0]
                self.request("PATCH", f"/api/ml/{row['id']}", json=body)
            else:
                row = self.request("POST", "/api/ml", json=body)
            if row["url"].rstrip("/") != url:
                self._drop_webhook(project_id, row["url"])
            self._ensure_webhook(project_id, url, username, password)
        except StudioError as error:
            if error.status == 403 or "reserved network" in str(error):
                self._drop_refused(project_id, url, rows)
            raise _explained(error, url) from error
        return int(row["id"])

    def _backends(self, project_id: int) -> list[dict[str, Any]]:
        return list(self.request("GET", "/api/ml", params={"project": project_id}))

    def _drop_refused(self, project_id: int, url: str, before: list[dict[str, Any]]) -> None:
        """Remove the row that Label Studio leaves, and shows as connected, when it refuses."""
        ids = {row["id"] for row in before}
        for row in self._backends(project_id):
            if row["url"].rstrip("/") == url and row["id"] not in ids:
                self.request("DELETE", f"/api/ml/{row['id']}")

    def _ensure_webhook(self, project_id: int, url: str, username: str, password: str) -> None:
        """Have one webhook to the service, which may enter.

        Label Studio makes one with a new connection, but without the connection's user and
        password, none when an address changes, and none, silently, where the address is refused.
        """
        headers = {}
        if username:
            secret = base64.b64encode(f"{username}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {secret}"
        body = {
            "project": project_id,
            "url": f"{url}/webhook",
            "headers": headers,
            "send_payload": True,
            "send_for_all_actions": True,
            "is_active": True,
        }
        hooks = self._webhooks(project_id, url)
        if not hooks:
            self.request("POST", "/api/webhooks/", json=body)
        elif any(hooks[0].get(key) != value for key, value in body.items()):
            self.request("PATCH", f"/api/webhooks/{hooks[0]['id']}/", json=body)

    def _drop_webhook(self, project_id: int, url: str) -> None:
        for hook in self._webhooks(project_id, url):
            self.request("DELETE", f"/api/webhooks/{hook['id']}/")

    def _webhooks(self, project_id: int, url: str) -> list[dict[str, Any]]:
        wanted = f"{url.rstrip('/')}/webhook"
        hooks = self.request("GET", "/api/webhooks/", params={"project": project_id})
        return [hook for hook in hooks if hook["url"] == wanted]


def _explained(error: StudioError, url: str) -> StudioError:
    """Why a backend could not be connected, and what to do about it."""
    text = str(error)
    if error.status == 403 or "reserved network" in text:
        text = PRIVATE_ADDRESS_REMEDY
    elif "authentication parameters" in text:
        text = (
            f"The service at {url} wants a user and a password: the same BASIC_AUTH_USER and "
            "BASIC_AUTH_PASS that it was started with."
        )
    elif "connect to ML backend" in text:
        text = (
            f"Label Studio can't reach the service at {url}. Start it (maskloop serve), and give "
            "the address as Label Studio's machine sees it: inside a container, localhost is the "
            "container itself."
        )
    return StudioError(text, status=error.status)
