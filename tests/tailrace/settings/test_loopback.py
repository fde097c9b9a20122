"""Which hosts are this machine and no other."""

import pytest

from tailrace.settings.places import names_loopback

OURS = [
    "localhost",
    "LocalHost:7701",
    "127.0.0.1",
    "127.0.0.1:7701",
    "127.8.9.1:1",
    "[::1]",
    "[::1]:7701",
    "localhost:",
]
THEIRS = [
    "",
    ":7701",
    "evil.example",
    "evil.example:7701",
    "localhost.evil.example",
    "127.0.0.1.evil.example:7701",
    "evil.example:7701@127.0.0.1",
    "localhost@evil.example",
    "localhost:7701:7701",
    "localhost:port",
    "127.1",
    "2130706433",
    "0.0.0.0",
    "10.0.0.1",
    "[::]",
    "[fe80::1]:7701",
    "::1",
    "[localhost]",
    "localhost/",
    "localhost ",
]


@pytest.mark.parametrize("host", OURS)
def test_this_machine_is_known_by_its_names(host):
    assert names_loopback(host)


@pytest.mark.parametrize("host", THEIRS)
def test_another_name_may_lead_anywhere(host):
    assert not names_loopback(host)
