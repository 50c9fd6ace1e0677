"""The failures that calls raise. All are PyroError; each kind of the engine has a class of its own."""

from __future__ import annotations


class PyroError(RuntimeError):
    """A failure: one sentence, its kind, and if there is one a hint on what to do."""

    kind = "internal"

    def __init__(self, message: str, *, kind: str | None = None, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint
        if kind is not None:
            self.kind = kind


class InvalidArgumentError(PyroError, ValueError):
    """An argument makes no sense."""

    kind = "invalid"


class NotFoundError(PyroError, LookupError, ValueError):
    """There is no such environment, VM or task."""

    kind = "not_found"


class InvalidStateError(PyroError):
    """The VM or task is not in a state in which this can be done."""

    kind = "state"


class LimitReachedError(PyroError):
    """As many VMs and tasks live as may."""

    kind = "limit_reached"


class GuestUnavailableError(PyroError):
    """No guest can boot on this host."""

    kind = "guest_unavailable"


class GuestLostError(PyroError):
    """The guest died while it worked."""

    kind = "guest_lost"


class PyroTimeoutError(PyroError, TimeoutError):
    """Something of pyro's own took too long. (A command's timeout is a result, not an error.)"""

    kind = "timeout"


class BadSeedError(PyroError):
    """What source_path names cannot be imported."""

    kind = "bad_seed"


class NoSpaceError(PyroError):
    """A disk is full, the host's or the guest's."""

    kind = "no_space"


class EnvironmentUnavailableError(PyroError):
    """An environment cannot be had."""

    kind = "environment"


class CancelledError(PyroError):
    """The call was cancelled."""

    kind = "cancelled"


class BridgeError(PyroError):
    """The pyro process that does the work ended or broke off. The next call starts another."""

    kind = "bridge"


class BinaryNotFoundError(BridgeError):
    """There is no pyro executable."""

    kind = "binary_not_found"


class BinaryTooOldError(BridgeError):
    """The pyro executable does not speak what this package needs."""

    kind = "binary_too_old"


def error_of(kind: str, message: str, hint: str) -> PyroError:
    """Make the error of a kind; an unknown kind is a plain PyroError that carries it."""
    for cls in (
        InvalidArgumentError, NotFoundError, InvalidStateError, LimitReachedError, GuestUnavailableError, GuestLostError,
        PyroTimeoutError, BadSeedError, NoSpaceError, EnvironmentUnavailableError, CancelledError,
    ):
        if cls.kind == kind:
            return cls(message, hint=hint)
    return PyroError(message, kind=kind, hint=hint)
