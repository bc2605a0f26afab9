"""Every way in which the log cannot be written or is not what was written."""

from __future__ import annotations

from localgpt.errors import AuditError, ExitStatus


class EntryInvalid(AuditError):  # noqa: N818 -- named after the condition
    """An unknown kind, an unknown or missing field, or a value that its type does not allow: a defect of the caller."""

    code = "audit.entry-invalid"


class LogPoisoned(AuditError):  # noqa: N818 -- named after the condition
    """A write or sync failed, or the file was unlinked or replaced: nothing is appended or retried any more."""

    code = "audit.poisoned"


class LogLocked(AuditError):  # noqa: N818 -- named after the condition
    """Another process held the log's lock for longer than an append may take."""

    code = "audit.locked"


class LogFull(LogPoisoned):
    """No space was left; the reserve was used to say so in the log's last entry."""

    code = "audit.full"


class LogUnopenable(AuditError):  # noqa: N818 -- named after the condition
    """The directory or a file in it cannot be created or opened."""

    code = "audit.unopenable"


class TamperError(AuditError):
    """The log is not what was written. The leaves say how."""

    code = "audit.tampered"
    exit_status = ExitStatus.REFUSED


class LogTruncated(TamperError):  # noqa: N818 -- named after the attack
    """Entries that were acknowledged are gone from the end."""

    code = "audit.truncated"


class LogMissing(TamperError):  # noqa: N818 -- named after the attack
    """There is a head but no log."""

    code = "audit.log-missing"


class LogReplaced(TamperError):  # noqa: N818 -- named after the attack
    """The file that is being written is not the one that its name leads to any more."""

    code = "audit.replaced"


class HeadMissing(TamperError):  # noqa: N818 -- named after the attack
    """There is a log but no head that this device key wrote."""

    code = "audit.head-missing"


class HeadSpoiled(TamperError):  # noqa: N818 -- named after the attack
    """A slot of the head was changed, and not by an interrupted write: no entry follows the other slot's."""

    code = "audit.head-spoiled"


class HeadMismatch(TamperError):  # noqa: N818 -- named after the attack
    """The entry that the head names is another one now."""

    code = "audit.head-mismatch"


class EntryForged(TamperError):  # noqa: N818 -- named after the attack
    """A line reads as an entry and was not written with this device key."""

    code = "audit.entry-forged"


class EntryCorrupted(TamperError):  # noqa: N818 -- named after the attack
    """A line is no entry, or its chain, number or fields are wrong."""

    code = "audit.entry-corrupted"


class EpochSpoiled(TamperError):  # noqa: N818 -- named after the attack
    """The file of the open epoch is gone or changed, or its key is not the one that the log names."""

    code = "audit.epoch-spoiled"


class CheckpointForged(TamperError):  # noqa: N818 -- named after the attack
    """A checkpoint is not signed by the log's identity and its epoch's own key, or is for other entries."""

    code = "audit.checkpoint-forged"


class CheckpointMissing(TamperError):  # noqa: N818 -- named after the attack
    """An epoch was closed and its checkpoint is gone, or a checkpoint was signed for entries that are gone."""

    code = "audit.checkpoint-missing"


class PinMismatch(TamperError):  # noqa: N818 -- named after the attack
    """A head that was pinned elsewhere is not that of this log."""

    code = "audit.pin-mismatch"


class PinUnreachable(LogPoisoned):
    """A pin that has to hold every entry cannot be reached."""

    code = "audit.pin-unreachable"


class LogStalled(LogPoisoned):
    """The disk did not answer for longer than an entry may take."""

    code = "audit.stalled"


class LogForeign(AuditError):  # noqa: N818 -- named after the condition
    """The files are those of another program or another version."""

    code = "audit.foreign"


class ProofRejected(TamperError):  # noqa: N818 -- named after the condition
    """A proof does not show that the entry is in a log with this identity."""

    code = "audit.proof-rejected"


class IdentityForeign(TamperError):  # noqa: N818 -- named after the attack
    """The log was begun with another identity key than the one that was expected."""

    code = "audit.identity-foreign"


class ShareUsed(AuditError):  # noqa: N818 -- named after the condition
    """One turn has written as much as one turn may: its further effects are refused."""

    code = "audit.share-used"
