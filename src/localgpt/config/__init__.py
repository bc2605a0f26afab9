"""Configuration: where things are, what the user chose, and which model that names."""

from localgpt.config.models import PROVIDERS, ModelRef, Provider, base_url, default_model, parse_model, provider_key
from localgpt.config.paths import Paths, ensure_directories, ensure_directory, resolve_paths
from localgpt.config.read import Loaded, load
from localgpt.config.schema import Config
from localgpt.config.secret import Secret

__all__ = [
    "PROVIDERS",
    "Config",
    "Loaded",
    "ModelRef",
    "Paths",
    "Provider",
    "Secret",
    "base_url",
    "default_model",
    "ensure_directories",
    "ensure_directory",
    "load",
    "parse_model",
    "provider_key",
    "resolve_paths",
]
