"""Entry of gunicorn (``gunicorn backend._wsgi:app``) and of ``label-studio-ml start backend``.

gunicorn gets our own application. ``label-studio-ml start backend`` runs this file as a script,
and gets its own server with our plugin in it; ``maskloop worker`` must run beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def _serve_plugin() -> None:
    # Run as a script, this folder comes first on the path, where its modules could hide others.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    sys.path.append(str(here.parent))

    try:
        from backend.plugin import Maskloop
    except ImportError as error:
        raise SystemExit(f"Error: {error}") from None

    from label_studio_ml.api import init_app

    parser = argparse.ArgumentParser(description="Maskloop under label-studio-ml's own server")
    parser.add_argument("-p", "--port", type=int, default=int(os.environ.get("PORT", "9090")))
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("-d", "--debug", action="store_true")
    parser.add_argument("--basic-auth-user")
    parser.add_argument("--basic-auth-pass")
    given = parser.parse_args()
    server = init_app(Maskloop, given.basic_auth_user, given.basic_auth_pass)
    server.run(host=given.host, port=given.port, debug=given.debug)


if __name__ == "__main__":
    _serve_plugin()
else:
    from backend.app import create_app

    app = create_app()
