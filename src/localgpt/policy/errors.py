"""Every way in which a policy document, its manifest or its state can be wrong. One leaf a condition or attack."""

from __future__ import annotations

from dataclasses import dataclass

from localgpt.errors import ExitStatus, PolicyError


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the document, counted from 1. Columns count characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class DocumentError(PolicyError):
    """The document cannot become a policy. `position` is None when the whole document is meant."""

    code = "policy.document"

    def __init__(self, message: str, position: Position | None = None, *, cure: str | None = None) -> None:
        super().__init__(message if position is None else f"{position}: {message}", cure=cure)
        self.position = position


class DocumentTooLarge(DocumentError):  # noqa: N818 -- named after the condition
    """More than 64 KiB."""

    code = "policy.too-large"


class DocumentNotUtf8(DocumentError):  # noqa: N818 -- named after the condition
    """Bytes that are not UTF-8."""

    code = "policy.not-utf8"


class ControlCharacter(DocumentError):  # noqa: N818 -- named after the condition
    """A control or invisible formatting character, which would show a reader something else than the engine reads."""

    code = "policy.control-character"


class ProseTooLong(DocumentError):  # noqa: N818 -- named after the condition
    """More prose than is sent to the model; cutting it would drop a rule silently."""

    code = "policy.prose-too-long"


class FenceError(DocumentError):
    """A policy block that is not closed, nested, or spelled so that it would be prose."""

    code = "policy.fence"


class TomlSyntax(DocumentError):  # noqa: N818 -- named after the condition
    """A policy block that is not TOML."""

    code = "policy.toml"


class DuplicateKey(DocumentError):  # noqa: N818 -- named after the condition
    """A key given twice: two readers could pick different values."""

    code = "policy.duplicate-key"


class UnknownKey(DocumentError):  # noqa: N818 -- named after the condition
    """A key that the engine does not know: a typing error in a rule would be a rule that does nothing."""

    code = "policy.unknown-key"


class WrongType(DocumentError):  # noqa: N818 -- named after the condition
    """A value of the wrong type or outside its range."""

    code = "policy.wrong-type"


class BadPattern(DocumentError):  # noqa: N818 -- named after the condition
    """A path, host or argv pattern that could not match what it seems to say."""

    code = "policy.bad-pattern"


class FlowTable(DocumentError):  # noqa: N818 -- named after the condition
    """A table about flows (zone, limit, flow, clearance, region) that does not say what it must."""

    code = "policy.flow-table"


class RuleShape(DocumentError):  # noqa: N818 -- named after the condition
    """A rule with no subject, with two, or with a key that belongs to another verdict."""

    code = "policy.rule-shape"


class UnknownPolicy(DocumentError):  # noqa: N818 -- named after the condition
    """`extends` names no shipped policy, stands twice, or is no name."""

    code = "policy.unknown-policy"


class ManifestCorrupted(PolicyError):  # noqa: N818 -- named after the condition
    """The manifest is not a manifest of a known version in its one spelling."""

    code = "policy.manifest-corrupted"


class TamperError(PolicyError):
    """A document and a manifest that do not belong together."""

    code = "policy.tampered"


class ContentChanged(TamperError):  # noqa: N818 -- named after the attack
    """The document is not the one that was signed."""

    code = "policy.content-changed"


class SignatureMismatch(TamperError):  # noqa: N818 -- named after the attack
    """The manifest was not made with the device key, or was changed since."""

    code = "policy.signature-mismatch"


class SignedByOtherKey(TamperError):  # noqa: N818 -- named after the attack
    """The manifest names another device key."""

    code = "policy.other-key"


class SignedElsewhere(TamperError):  # noqa: N818 -- named after the attack
    """A genuine manifest of another document path, moved or copied here."""

    code = "policy.other-path"


class SignerChanged(TamperError):  # noqa: N818 -- named after the attack
    """Another mode or public key than the one under which the policy was signed here last."""

    code = "policy.other-signer"


class PolicyRollback(TamperError):  # noqa: N818 -- named after the attack
    """A genuine but older document and manifest, put back."""

    code = "policy.rollback"


class PublicKeyMalformed(PolicyError):  # noqa: N818 -- named after the condition
    """The public key of the configuration or of a file is not spelled as one."""

    code = "policy.bad-public-key"


class StateCorrupted(PolicyError):  # noqa: N818 -- named after the condition
    """The snapshot or the pin in the state directory is not what this device key wrote."""

    code = "policy.state-corrupted"


class DocumentUnreadable(PolicyError):  # noqa: N818 -- named after the condition
    """The document is there and cannot be read, or is no regular file."""

    code = "policy.unreadable"


class NothingToSign(PolicyError):  # noqa: N818 -- named after the condition
    """There is no document."""

    code = "policy.nothing-to-sign"


class ChangedWhileReading(PolicyError):  # noqa: N818 -- named after the attack
    """The document is not the one that the user was shown and agreed to sign."""

    code = "policy.changed-while-reading"


class SigningFailed(PolicyError):  # noqa: N818 -- named after the condition
    """The manifest or the state cannot be written."""

    code = "policy.signing-failed"


class BuiltinBroken(PolicyError):  # noqa: N818 -- named after the condition
    """The shipped rules are missing or damaged: the installation is broken."""

    code = "policy.builtin-broken"


class GrantRefused(PolicyError):  # noqa: N818 -- named after the condition
    """A grant that cannot be spelled exactly, or may not be given here."""

    code = "policy.grant-refused"


class CasesMalformed(PolicyError):  # noqa: N818 -- named after the condition
    """A table of cases that is not one."""

    code = "policy.cases-malformed"
    exit_status = ExitStatus.USAGE


class BadDeclaration(PolicyError):  # noqa: N818 -- named after the condition
    """A declaration of tools or sources that cannot be used."""

    code = "policy.bad-declaration"
