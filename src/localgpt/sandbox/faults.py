"""Why a command did not run confined: one class a condition. Nothing here is ever answered by running it unconfined."""

from __future__ import annotations

from localgpt.errors import ExitStatus, SandboxError


class PlatformUnsupported(SandboxError):  # noqa: N818 -- named after the condition
    """This operating system or processor has no confinement here yet."""

    code = "sandbox.platform"


class KernelTooOld(SandboxError):  # noqa: N818 -- named after the condition
    """The kernel lacks Landlock or seccomp filters, or they are switched off."""

    code = "sandbox.kernel"


class NotConfined(SandboxError):  # noqa: N818 -- named after the condition
    """The zygote could not be set up, or its self-test reached something that it must not reach."""

    code = "sandbox.not-confined"


class RungLost(SandboxError):  # noqa: N818 -- named after the condition
    """A weaker confinement than the one that was proven first is all that could be had; nothing ran in it."""

    code = "sandbox.rung-lost"


class ZygoteDied(SandboxError):  # noqa: N818 -- named after the condition
    """The process that serves commands ended or stopped answering. The next run starts a fresh one."""

    code = "sandbox.zygote-died"


class ExecutorClosed(SandboxError):  # noqa: N818 -- named after the condition
    """`run` was called outside the executor's ``with`` block."""

    code = "sandbox.closed"
    exit_status = ExitStatus.FAILED


class PoolBusy(SandboxError):  # noqa: N818 -- named after the condition
    """Every zygote that a pool may have is at work, and none became free in time."""

    code = "sandbox.busy"
    exit_status = ExitStatus.FAILED


class PlanInvalid(SandboxError):  # noqa: N818 -- named after the condition
    """A path or limit of a plan cannot be used."""

    code = "sandbox.plan"
    exit_status = ExitStatus.USAGE


class RelativeRoot(PlanInvalid):
    """A path of a plan is not absolute and normalised."""

    code = "sandbox.plan.relative"


class MissingRoot(PlanInvalid):
    """A root of a plan does not exist."""

    code = "sandbox.plan.missing"


class SwappedRoot(PlanInvalid):
    """A root became a symbolic link, or vanished, after the plan was made."""

    code = "sandbox.plan.swapped"
    exit_status = ExitStatus.REFUSED


class RootHoldsSecrets(PlanInvalid):
    """A root contains a store of credentials that the plan does not deny."""

    code = "sandbox.plan.secrets"
    exit_status = ExitStatus.REFUSED


class RootNotGrantable(PlanInvalid):
    """A root that nobody may add to a plan: the kernel's own folders, or one that holds what must stay the user's."""

    code = "sandbox.plan.root"
    exit_status = ExitStatus.REFUSED


class RuntimeInsideWriteRoot(PlanInvalid):
    """A command could rewrite the interpreter or the program that confines it."""

    code = "sandbox.plan.runtime"
    exit_status = ExitStatus.REFUSED


class DeniedNotEnforceable(PlanInvalid):
    """A denied path lies inside a write root, which only a mount namespace can hide."""

    code = "sandbox.plan.denied"
    exit_status = ExitStatus.REFUSED


class HostsUnsupported(PlanInvalid):
    """The plan names hosts, and there is no network namespace to keep commands to them."""

    code = "sandbox.plan.hosts"
    exit_status = ExitStatus.REFUSED


class BadHost(PlanInvalid):
    """What a plan names as a host is none, or is spelled so that two programs could read two."""

    code = "sandbox.plan.bad-host"


class ProxyFailed(SandboxError):  # noqa: N818 -- named after the condition
    """A process of the proxy ended or sent what is no message."""

    code = "sandbox.proxy"


class CommandInvalid(SandboxError):  # noqa: N818 -- named after the condition
    """The command line, environment or working directory cannot be used."""

    code = "sandbox.command"
    exit_status = ExitStatus.USAGE


class CommandNotFound(CommandInvalid):
    """No such program in what the plan lets a command see, or its ``#!`` interpreter is not there."""

    code = "sandbox.command.not-found"
    exit_status = ExitStatus.FAILED


class CommandNotExecutable(CommandInvalid):
    """The program is there but may not be executed, or is not a program."""

    code = "sandbox.command.not-executable"
    exit_status = ExitStatus.FAILED


class WorkingDirectoryOutside(CommandInvalid):
    """The working directory lies outside the plan's roots or does not exist."""

    code = "sandbox.command.cwd"


class CommandNotStarted(CommandInvalid):
    """The kernel could not start the program: too long a command line, too many processes, no memory."""

    code = "sandbox.command.not-started"
    exit_status = ExitStatus.FAILED


class NamespacesRefused(CommandInvalid):
    """The program would make namespaces for a sandbox of its own, which no command may; it ended without them."""

    code = "sandbox.command.namespaces"
    exit_status = ExitStatus.FAILED
