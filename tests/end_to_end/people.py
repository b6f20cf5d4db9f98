"""More people on the running Label Studio, each with an account of their own."""

from __future__ import annotations

import re
import time

import requests

from backend.studio import Studio

PASSWORD = "annotator-1"


def join(studio: Studio) -> Studio:
    """Sign a new user up by the organisation's invitation; returns that user's client."""
    path = studio.request("GET", "/api/invite")["invite_url"]
    link = f"{studio.url}{path}"
    with requests.Session() as browser:
        page = browser.get(link, timeout=60)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        form = {
            "csrfmiddlewaretoken": token[1],
            "email": f"annotator-{time.time_ns()}@example.com",
            "password": PASSWORD,
            "how_find_us": "x",
            "elaborate": "",
        }
        browser.post(link, data=form, headers={"Referer": link}, timeout=60)
        answer = browser.get(f"{studio.url}/api/current-user/token", timeout=60)
        return Studio(studio.url, str(answer.json()["token"]))
