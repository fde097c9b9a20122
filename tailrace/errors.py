"""The errors a command tells in one line; any other becomes an `UnexpectedError`, and its traceback goes to a log."""

from pathlib import Path

from contracts.slots import AsOfError
from features.language import DefinitionError
from jobs.backfill import BackfillError
from jobs.bronze.batches import LandingError
from jobs.gold.refresh import ConcurrentRefreshError
from jobs.gold.transform import TransformError
from jobs.streaming.alone import HalfRebuilt, RunsAlready
from jobs.streaming.follow import StreamFailed
from jobs.streaming.parked import RefusedByStore
from lake.gate import GateFailed
from lake.tables import LakeError
from lake.validation import ExpectationError
from online.codec import CodecError
from online.control import LeaseLost
from online.credentials import CredentialsError
from online.direct.log import LogError
from online.embedded import EmbeddedStoreError
from online.keys import ItemKeyError
from online.lanes import OtherLane
from online.wire import StoreError
from serving import ServingError
from serving.access.keys import KeysError
from settings import SettingsError
from sinks.breaker import BreakerOpen
from sinks.deeds import PushError
from sinks.lease import PushUnderWay
from sinks.protocol import PushFirst, StoreAhead
from tailrace.events.errors import EventsError
from tailrace.local.service import LocalError


class CommandError(Exception):
    """A command that cannot do what was asked; the message says why and what would work."""


class UnexpectedError(Exception):
    """An error that nobody foresaw, with what it is about as far as can be found, and the log of it if one was written."""

    def __init__(self, message: str, *, log: Path | None) -> None:
        super().__init__(message)
        self.log = log


TOLD = (
    AsOfError,
    BackfillError,
    BreakerOpen,
    CodecError,
    CommandError,
    ConcurrentRefreshError,
    CredentialsError,
    DefinitionError,
    EmbeddedStoreError,
    EventsError,
    ExpectationError,
    GateFailed,
    ItemKeyError,
    KeysError,
    LakeError,
    LandingError,
    LeaseLost,
    LocalError,
    LogError,
    OSError,  # a file that is not there or may not be written: it names the file
    OtherLane,
    PushError,
    PushFirst,
    PushUnderWay,
    RefusedByStore,
    HalfRebuilt,
    RunsAlready,
    ServingError,
    SettingsError,
    StoreAhead,
    StoreError,
    StreamFailed,
    TransformError,
    UnexpectedError,
)
