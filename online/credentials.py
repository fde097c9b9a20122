"""Whose name requests to the store are signed with."""

import os
from urllib.parse import urlsplit

from online.signing import Credentials


class CredentialsError(Exception):
    """No credentials for a store that needs them; the message says where they are looked for."""


def credentials_for(url: str) -> Credentials:
    """The credentials of the AWS default chain for AWS; for any other endpoint the AWS variables or a stand-in.

    Endpoints other than AWS, the embedded store among them, mostly take any name.
    """
    host = urlsplit(url).hostname or ""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access or not secret:
            return Credentials("tailrace", "tailrace")
        return Credentials(access, secret, os.environ.get("AWS_SESSION_TOKEN"))
    import boto3

    found = boto3.Session().get_credentials()
    if found is None:
        raise CredentialsError(
            f"no AWS credentials for {url}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
        )
    frozen = found.get_frozen_credentials()
    return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token)
