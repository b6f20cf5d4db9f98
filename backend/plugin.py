"""The same hooks as a ``LabelStudioMLBase``, for people who run ``label-studio-ml``'s own server.

``label-studio-ml`` 2.x comes from git only. Its server calls the hooks inside its requests; the
rounds still run in ``maskloop worker``, which must run beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from backend.hooks import UNPUBLISHED, Hooks, project_id_of
from backend.labelconfig import LabelConfigError
from backend.settings import load_settings

try:
    from label_studio_ml.model import LabelStudioMLBase
    from label_studio_ml.response import ModelResponse
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise ImportError(
        f"backend.plugin needs label-studio-ml 2.x ({error}), which is on GitHub only: pip install "
        "git+https://github.com/HumanSignal/label-studio-ml-backend.git "
        "(or serve Maskloop by itself: maskloop serve)."
    ) from error

__all__ = ["Maskloop"]


@lru_cache(maxsize=1)
def _hooks() -> Hooks:
    """One store and queue for the whole process: the server makes a model for each request."""
    return Hooks.from_settings(load_settings())


class Maskloop(LabelStudioMLBase):  # type: ignore[misc]
    """Maskloop under ``label-studio-ml start`` (2.x)."""

    def setup(self) -> None:
        """Get to know the project; the version is what was published last."""
        if not self.project_id:
            return
        project_id = project_id_of(self.project_id)
        try:
            answer = _hooks().setup(project_id, self.label_config or "")
        except LabelConfigError:
            # The server makes a model for every request, and an error here fails them all; what
            # can't be served is said in `maskloop status`.
            answer = {"model_version": UNPUBLISHED}
        self.set("model_version", answer["model_version"])

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> ModelResponse:
        """The stored masks of tasks: one answer a task, in order."""
        del kwargs
        answers = _hooks().predict(
            tasks,
            context,
            project_id=project_id_of(self.project_id),
            label_config=self.label_config,
        )
        return ModelResponse(predictions=answers)

    def fit(self, event: str, data: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Take note of an event; the worker does the work."""
        del kwargs
        return _hooks().fit(event, data)
