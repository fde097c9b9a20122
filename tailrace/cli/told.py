"""The errors a command tells in one line; any other becomes an `UnexpectedError`, and its traceback goes to a log.

Their modules are most of the product: this one is imported once there is an error.
"""

from jobs.backfill import BackfillError
from jobs.bronze.batches import LandingError
from jobs.gold.refresh import ConcurrentRefreshError
from jobs.gold.transform import TransformError
from jobs.streaming.alone import HalfRebuilt, RunsAlready
from jobs.streaming.follow import StreamFailed
from jobs.streaming.parked import RefusedByStore
from serving import ServingError
from serving.auth.keys import KeysError
from sinks.breaker import BreakerOpen
from sinks.deeds import PushError
from sinks.lease import PushUnderWay
from sinks.protocol import PushFirst, StoreAhead
from tailrace.definitions import DefinitionError
from tailrace.errors import CommandError, UnexpectedError
from tailrace.events.errors import EventsError
from tailrace.lake.tables import LakeError
from tailrace.local.service import LocalError
from tailrace.quality.gate import GateFailed
from tailrace.quality.validation import ExpectationError
from tailrace.schemas.slots import AsOfError
from tailrace.settings import SettingsError
from tailrace.store.codec import CodecError
from tailrace.store.control import LeaseLost
from tailrace.store.direct.log import LogError
from tailrace.store.dynamodb.credentials import CredentialsError
from tailrace.store.dynamodb.wire import StoreError
from tailrace.store.embedded import EmbeddedStoreError
from tailrace.store.keys import ItemKeyError
from tailrace.store.lanes import OtherLane

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
