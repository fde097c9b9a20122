"""Every error of the product, as one tree.

A family says what may be done about an error: whether trying again may help (`retryable`), the code with which a command
ends (`exit_code`), and the status with which the reader answers (`http_status`). A class says so itself where it differs.

TailraceError: retryable no, exit_code 1, http_status 500
├── UsageError: http_status 400
│   ├── AccessRefused: http_status 403
│   │   ├── BadCredential: http_status 401
│   │   ├── Misdirected: http_status 421
│   │   ├── NoCredential: http_status 401
│   │   ├── NotAllowed
│   │   └── UncheckedCredential: retryable yes, http_status 503
│   ├── AsOfError
│   ├── BackfillError
│   ├── BadRequest
│   ├── ClientLeft: http_status 499
│   ├── CommandError
│   ├── ItemKeyError
│   ├── KeyReused: http_status 422
│   ├── NotAcceptable: http_status 406
│   └── ValueProblem
├── SetupError
│   ├── AddressError
│   ├── CredentialsError: retryable yes
│   ├── DownloadError
│   ├── KeysError
│   ├── LocalError
│   ├── MissingExtra
│   ├── PeerMissing
│   ├── ServingError
│   ├── SettingsError
│   └── TracingError
├── DefinitionError
│   ├── DerivationError
│   ├── ExpectationError
│   ├── OnDemandError
│   ├── OtherDefinition
│   └── TransformError
├── DataError
│   ├── BreakerOpen
│   ├── CodecError
│   │   └── SchemaMismatch
│   ├── Differs
│   ├── DirectError
│   ├── Duplicate
│   ├── EventsError
│   │   ├── HistoryError
│   │   ├── LandingFileError
│   │   ├── NoReadableTimeError
│   │   └── WorkspaceError
│   ├── GateFailed
│   ├── HistoryLost
│   ├── LakeError
│   ├── LandingError
│   ├── NotAnIdError
│   ├── NotPlain
│   ├── OddColumn
│   ├── RepeatedIds
│   ├── SourcesBlocked
│   ├── StoreLost
│   ├── StreamFailed
│   ├── TableUnreadable
│   └── Unequal
├── ConflictError: retryable yes, http_status 409
│   ├── ConcurrentRefreshError
│   ├── HalfRebuilt: retryable no
│   ├── LeaseLost
│   ├── OtherLane: retryable no
│   ├── Overtaken
│   ├── PushFirst
│   ├── PushUnderWay
│   ├── RunsAlready
│   └── StoreAhead
├── UnavailableError: retryable yes, http_status 503
│   ├── Busy
│   ├── EmbeddedStoreError
│   ├── IssuerError
│   ├── KafkaAway
│   ├── LoadFailed
│   ├── LogError
│   ├── NotStarted
│   ├── Overloaded
│   ├── PushError
│   ├── ReaderError
│   ├── RefusedByStore
│   └── StoreError
│       ├── NoTransactions: retryable no
│       └── OtherEnvironment: retryable no
└── InternalError: retryable yes
    ├── NotForked
    ├── UnexpectedError
    └── WorkerError
"""

from pathlib import Path


class TailraceError(Exception):
    """An error that Tailrace raises itself; the message names what it is about, and says what to do next."""

    retryable: bool = False
    exit_code: int = 1
    http_status: int = 500


class UsageError(TailraceError):
    """A command, a request or a value in it is not valid, and has to change."""

    http_status = 400


class CommandError(UsageError):
    """A command that cannot do what was asked; the message says why and what would work."""


class SetupError(TailraceError):
    """A part of this installation is missing or wrong: a setting, a file of keys, an address, a service."""


class DefinitionError(TailraceError):
    """A definition cannot be used; the message names the view, the field and what to write instead."""


class DataError(TailraceError):
    """Data cannot be loaded, read or pushed: a landed file, rows that the gate or the breaker stops, a stored value."""


class ConflictError(TailraceError):
    """Another process is writing the same table or view, or another lane owns it."""

    retryable = True
    http_status = 409


class UnavailableError(TailraceError):
    """The store, Kafka or another service does not answer, or is at its limit."""

    retryable = True
    http_status = 503


class InternalError(TailraceError):
    """A failure that belongs to no other family, which may be a bug."""

    retryable = True


class UnexpectedError(InternalError):
    """An error that nobody foresaw, with what it is about as far as can be found, and the log of it if one was written."""

    def __init__(self, message: str, *, log: Path | None) -> None:
        super().__init__(message)
        self.log = log


def is_retryable(error: BaseException) -> bool:
    """Whether trying again may help; errors that are not Tailrace's own may pass."""
    return error.retryable if isinstance(error, TailraceError) else True
