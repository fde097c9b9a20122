"""The errors a command tells in one line; any other becomes an `UnexpectedError`, and its traceback goes to a log.

Their modules are most of the product: this one is imported once there is an error.
"""

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
from tailrace.errors import CommandError, UnexpectedError
from tailrace.events.errors import EventsError
from tailrace.local.service import LocalError

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
