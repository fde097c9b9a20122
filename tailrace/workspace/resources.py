"""What a workspace works with: settings, definitions, Spark, the lake, its gate and the store."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from tailrace.settings import Settings, check_store_is_reachable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tailrace.definitions import Definitions
    from tailrace.lake.tables import Lake
    from tailrace.quality.gate import Gate
    from tailrace.store.address import Address

# Gets the name of each step that begins, such as "gold".
Progress = Callable[[str], None]


def say_nothing(stage: str) -> None:
    """Report no progress."""


class Resources:
    """The resources of one home; each is imported and opened when it is first needed.

    `views` names the views that are refreshed; all of them if none is named.
    """

    def __init__(self, settings: Settings, *, views: Iterable[str] = ()) -> None:
        self.settings = settings
        self.views = tuple(views)

    @cached_property
    def definitions(self) -> "Definitions":
        """All definitions of the folders that the settings name."""
        from tailrace.definitions import load_definitions

        return load_definitions(self.settings.features)

    @cached_property
    def chosen(self) -> "Definitions":
        """The definitions of the views that gold and the store are refreshed of; maintenance is of all."""
        return self.definitions.only(self.views)

    @cached_property
    def spark(self) -> "SparkSession":
        """The Spark session, which starts with the first use."""
        from tailrace.lake.session import is_submitted, open_session
        from tailrace.workspace.small_data import fitting

        if not is_submitted():  # a cluster need not be asked for executors first
            check_store_is_reachable(self.settings, master=self.settings.spark.master)
        session = open_session(fitting(self.settings))
        check_store_is_reachable(self.settings, master=str(session.sparkContext.master))
        return session

    @cached_property
    def lake(self) -> "Lake":
        """The tables."""
        from tailrace.lake.log_store import check_log_store
        from tailrace.lake.tables import Lake

        check_log_store(
            self.settings.lake,
            spark_setting=self.spark.sparkContext.getConf().get,
            single_writer=self.settings.single_writer,
        )
        retention = timedelta(hours=self.settings.retention_hours)
        return Lake(self.spark, self.settings.lake, retention=retention, gate=self.gate)

    @cached_property
    def gate(self) -> "Gate":
        """The quality gate, which validates new rows of every table."""
        from tailrace.quality.gate import Gate

        return Gate(self.settings.home / "quality")

    @cached_property
    def store(self) -> "Address":
        """Where the online store is; an embedded one is started."""
        from tailrace.store.address import Address

        return Address.of(self.settings)
