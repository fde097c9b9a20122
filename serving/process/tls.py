"""The reader's certificate."""

import ssl

from serving.common.failure import ServingError
from tailrace.settings import TlsSettings


def check_tls(settings: TlsSettings | None) -> None:
    """Raises `ServingError` where the certificate or its key cannot be used."""
    tls_context(settings)


def tls_context(settings: TlsSettings | None) -> ssl.SSLContext | None:
    """What serves HTTPS with TLS 1.2 or newer; None where nothing is set. Raises `ServingError`."""
    if settings is None:
        return None
    for path in (settings.certificate, settings.key):
        try:
            path.read_bytes()
        except OSError as error:
            raise ServingError(f"cannot serve HTTPS: {path} cannot be read, {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without the empty password OpenSSL would ask the terminal for that of an encrypted key, and wait.
        context.load_cert_chain(settings.certificate, settings.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ServingError(
            f"cannot serve HTTPS: {settings.certificate} and {settings.key} are not a certificate with its own key, both "
            f"in PEM and without a password ({getattr(error, 'reason', None) or error})"
        ) from error
    return context
