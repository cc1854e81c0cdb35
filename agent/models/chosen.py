"""The profile of the model that config.toml names."""

from pathlib import Path

from agent.config import ServingConfig
from agent.models import default_model
from agent.models.detect import profile_of
from agent.models.profile import EMBEDDED, ModelProfile


def configured_profile(serving: ServingConfig, data_folder: Path) -> ModelProfile:
    """Return the profile of ``[agent.serving] model``; the embedded model's where no model is on this machine.

    Raises UserError as ``profile_of``.
    """
    folder = default_model.present(serving.model, data_folder)
    return EMBEDDED if folder is None else profile_of(folder, serving.profile)
