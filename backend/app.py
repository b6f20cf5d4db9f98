"""The Flask application: thin routes of Label Studio's ML backend protocol, and our own few."""

from __future__ import annotations

import hmac
import logging
from typing import Any

from flask import Flask, Response, jsonify, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from backend.hooks import Hooks, RequestError, project_id_of
from backend.labelconfig import LabelConfigError
from backend.metrics import render_metrics
from backend.schema import trouble
from backend.settings import Settings, load_settings
from backend.status import status_of
from backend.status_page import status_page

__all__ = ["create_app"]

log = logging.getLogger(__name__)

# "Retrieve predictions" sends all selected tasks with their annotations in one call.
_LARGEST_BODY = 512 * 1024 * 1024

# A webhook brings one task with its annotation. What is larger is found by the regular check.
_LARGEST_BELL = 64 * 1024 * 1024

# Load balancers ask for /health without credentials, and so come the webhooks that Label Studio
# makes by itself, even where the connection has some. Neither tells anything: a webhook is a bell,
# and without credentials a faint one (see `Hooks.fit`).
_OPEN_ROUTES = frozenset({"/health", "/", "/webhook"})


def create_app(settings: Settings | None = None, hooks: Hooks | None = None) -> Flask:
    """Build the application.

    Args:
        settings: The service's settings; read from the environment when not given.
        hooks: The hooks; built from the settings when not given.

    Returns:
        A WSGI application that needs no torch.
    """
    settings = settings or load_settings()
    hooks = hooks or Hooks.from_settings(settings)
    app = Flask("maskloop")
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    _guard(app, settings)
    _protocol_routes(app, hooks, settings)
    _own_routes(app, hooks, settings)
    _error_answers(app)
    return app


def _protocol_routes(app: Flask, hooks: Hooks, settings: Settings) -> None:
    @app.get("/")
    @app.get("/health")
    def health() -> Response:
        return jsonify({"status": "UP", "model_class": "Maskloop"})

    @app.post("/setup")
    def setup() -> Response:
        body = _body()
        return jsonify(hooks.setup(project_id_of(body.get("project")), _config(body, "schema")))

    @app.post("/predict")
    def predict() -> Response:
        body = _body()
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RequestError(f"'tasks' must be a list of tasks, got {_shorten(tasks)}.")
        params = body.get("params")
        results = hooks.predict(
            tasks,
            params.get("context") if isinstance(params, dict) else None,
            project_id=project_id_of(body.get("project")),
            label_config=_config(body, "label_config") or None,
        )
        return jsonify({"results": results})

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        request.max_content_length = _LARGEST_BELL
        body = _body()
        event = body.get("action")
        if not isinstance(event, str):
            raise RequestError(f"'action' must name an event, got {_shorten(event)}.")
        answer = hooks.fit(event, body, trusted=_may_enter(settings))
        return jsonify({"status": "ok", **answer}), 200

    @app.get("/versions")
    def versions() -> Response:
        wanted = request.args.get("project")
        return jsonify({"versions": hooks.versions(project_id_of(wanted) if wanted else None)})


def _own_routes(app: Flask, hooks: Hooks, settings: Settings) -> None:
    @app.get("/status")
    def status() -> Response:
        wanted = request.args.get("project")
        only = project_id_of(wanted) if wanted else None
        told = status_of(hooks.store, settings, only)
        # Programs ask for anything or for JSON, browsers for a page, and Chromium for types of its
        # own before that.
        offered = ["application/json", "text/html"]
        page = request.accept_mimetypes.best_match(offered) == "text/html"
        answer = Response(status_page(told), mimetype="text/html") if page else jsonify(told)
        answer.vary.add("Accept")
        return answer

    @app.get("/metrics")
    def metrics() -> Response:
        text, content_type = render_metrics(hooks.store)
        return Response(text, content_type=content_type)


def _guard(app: Flask, settings: Settings) -> None:
    @app.before_request
    def check() -> tuple[Response, int] | None:
        # Wrong credentials are refused everywhere: whoever has some means to be known.
        is_open = request.path in _OPEN_ROUTES and request.authorization is None
        if is_open or request.path == "/health" or _may_enter(settings):
            return None
        answer = jsonify({"error": "This service asks for basic authentication."})
        answer.headers["WWW-Authenticate"] = 'Basic realm="Maskloop"'
        return answer, 401


def _may_enter(settings: Settings) -> bool:
    """Whether the request has the credentials that the settings ask for, if any."""
    user = settings.basic_auth_user
    password = settings.basic_auth_pass.get_secret_value()
    if not user and not password:
        return True
    given = request.authorization
    return given is not None and given.type == "basic" and all(
        hmac.compare_digest(str(a or "").encode(), b.encode())
        for a, b in ((given.username, user), (given.password, password))
    )  # fmt: skip


def _error_answers(app: Flask) -> None:
    @app.errorhandler(RequestError)
    @app.errorhandler(LabelConfigError)
    def wrong_request(error: ValueError) -> tuple[Response, int]:
        return jsonify({"error": str(error)}), 400

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        return jsonify({"error": f"{error.name}: {error.description}"}), error.code or 500

    @app.errorhandler(OperationalError)
    def no_store(error: OperationalError) -> tuple[Response, int]:
        log.error("%s %s: %s", request.method, request.path, trouble(error))
        return jsonify({"error": trouble(error)}), 503

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        log.exception("%s %s", request.method, request.path)
        sentence = f"{type(error).__name__} while answering; the service's log says where."
        return jsonify({"error": sentence}), 500


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object (Content-Type: application/json).")
    return body


def _config(body: dict[str, Any], key: str) -> str:
    text = body.get(key) or ""
    if not isinstance(text, str):
        raise RequestError(f"{key!r} must be a labelling configuration, got {_shorten(text)}.")
    return text


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
