"""How Spark is set for the stream."""

from dataclasses import replace

from settings import read_settings
from tailrace.stream_process import of_stream


def test_java_options_that_are_set_come_after_the_stream_s_own_and_win():
    spark = replace(read_settings({}).spark, java_options="-XX:TieredStopAtLevel=4 -Xss4m")

    assert of_stream(spark).java_options == "-XX:TieredStopAtLevel=1 -XX:TieredStopAtLevel=4 -Xss4m"
