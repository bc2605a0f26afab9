"""What can be wrong with a configuration file, a directory or a model's name."""

from __future__ import annotations

from localgpt.errors import ConfigError, ExitStatus


class ConfigMissing(ConfigError):  # noqa: N818 -- named after the condition
    """A configuration file was named, and it is not there."""

    code = "config.missing"


class ConfigUnreadable(ConfigError):  # noqa: N818 -- named after the condition
    """The configuration file exists but cannot be read as text."""

    code = "config.unreadable"


class BrokenToml(ConfigError):  # noqa: N818 -- named after the condition
    """The configuration file is not TOML."""

    code = "config.broken-toml"


class UnknownKey(ConfigError):  # noqa: N818 -- named after the condition
    """A key that this program does not know, where a silently ignored key would weaken a defence."""

    code = "config.unknown-key"


class BadValue(ConfigError):  # noqa: N818 -- named after the condition
    """A known key with a value of the wrong type, range or spelling."""

    code = "config.bad-value"


class UnsafeSetting(ConfigError):  # noqa: N818 -- named after the attack
    """A setting that would switch a defence off. No configuration file can do that."""

    code = "config.unsafe-setting"


class SecretUnset(ConfigError):  # noqa: N818 -- named after the condition
    """A secret is taken from an environment variable, and that variable is not set."""

    code = "config.secret-unset"


class SecretInArguments(ConfigError):  # noqa: N818 -- named after the attack
    """A secret was given on the command line, where other users and the shell's history can read it."""

    code = "config.secret-in-arguments"


class BadProfileName(ConfigError):  # noqa: N818 -- named after the condition
    """A profile or agent name that cannot be part of a path."""

    code = "config.bad-name"


class NoHome(ConfigError):  # noqa: N818 -- named after the condition
    """Neither the environment nor the user database names a home directory."""

    code = "config.no-home"


class DirectoryUnusable(ConfigError):  # noqa: N818 -- named after the condition
    """A directory of this program cannot be made or written."""

    code = "config.directory-unusable"
    exit_status = ExitStatus.FAILED


class DirectoryForeign(ConfigError):  # noqa: N818 -- named after the attack
    """A directory of this program belongs to somebody else, or others may write to it."""

    code = "config.directory-foreign"
    exit_status = ExitStatus.REFUSED


class UnknownModel(ConfigError):  # noqa: N818 -- named after the condition
    """A model name whose provider is not known."""

    code = "config.unknown-model"
