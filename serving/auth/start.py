"""Whom a reader would answer, seen before it starts."""

from serving.common.failure import ServingError
from tailrace.settings import AccessSettings
from tailrace.settings.loopback import is_loopback


def check_access(access: AccessSettings, *, host: str, local: bool) -> None:
    """Raises `ServingError` for a reader that would answer everybody, or nobody, or whose keys cannot be read."""
    if local:
        if not is_loopback(host):
            raise ServingError(f"--local answers everybody, and others reach {host}; listen on 127.0.0.1")
        return
    if access.keys is None and access.issuer is None:
        raise ServingError(
            "nobody could ask this reader: set TAILRACE_READER_KEYS to a file of keys (`tailrace keys add` makes it) or "
            "TAILRACE_READER_ISSUER to an issuer of tokens; --local answers everybody, on this machine only"
        )
    if access.keys is not None:
        from serving.auth.keys import KeysError, read_keys

        try:
            read_keys(access.keys)
        except KeysError as error:
            raise ServingError(str(error)) from error
