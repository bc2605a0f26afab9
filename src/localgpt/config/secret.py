"""A secret that does not print itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NoReturn

from localgpt.config.errors import SecretUnset

_REFERENCE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))\Z")


def variable_name(text: str) -> str | None:
    """Give the variable's name when the *whole* of `text` is ``${VAR}`` or ``$VAR``."""
    found = _REFERENCE.match(text)
    return None if found is None else found.group(1) or found.group(2)


class Secret:
    """A provider key, a token. Only `reveal` gives it away; printing, formatting, logging and pickling do not.

    `where` says where it was written (a key of the configuration, or a variable), for error texts.
    """

    __slots__ = ("_value", "variable", "where")

    def __init__(self, value: str | None, *, variable: str | None, where: str) -> None:
        self._value = value
        self.variable = variable
        self.where = where

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str], *, where: str) -> Secret:
        """Take `text` literally, or from the environment when the whole of it is ``${VAR}`` or ``$VAR``."""
        variable = variable_name(text)
        return cls(text if variable is None else environ.get(variable) or None, variable=variable, where=where)

    @property
    def is_set(self) -> bool:
        return self._value is not None

    @property
    def shown(self) -> str:
        """What may be printed: the name of the variable, never its value."""
        return "(hidden)" if self.variable is None else f"${{{self.variable}}}"

    def reveal(self) -> str:
        """Give the secret.

        Raises:
            SecretUnset: when it comes from an environment variable that is not set.
        """
        if self._value is None:
            raise SecretUnset(
                f"{self.where} is taken from the environment variable {self.variable}, which is not set",
                cure=f"export {self.variable}=…, or choose another model: localgpt config set agent.default_model NAME",
            )
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.shown})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.variable) == (other._value, other.variable)

    def __hash__(self) -> int:
        return hash((Secret, self.variable))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied into another process")
