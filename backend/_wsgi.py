"""Entry point of gunicorn (``gunicorn backend._wsgi:app``) and of ``label-studio-ml start``.

``label-studio-ml start`` looks for a ``LabelStudioMLBase`` subclass in the folder's ``model.py``;
it is offered by `backend.plugin`.
"""

from backend.app import create_app

app = create_app()
