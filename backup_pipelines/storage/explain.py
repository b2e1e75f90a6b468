"""What the object store's client says, in one sentence that tells what to do."""

import re

from obstore.exceptions import AlreadyExistsError

from backup_pipelines.errors import BackupError, Damaged, Failed, NoStore

# Of a refused request, and of one object of many that were to be removed.
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>|\(code: (\w+)\)")
_MESSAGE = re.compile(
    r"<Message>\s*(.*?)\s*</Message>|request failed for key [^\n]*: (.*) \(code: ", re.DOTALL
)

# The innermost cause of a request that brought no answer.
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)")

_REFUSED = re.compile(r"status code: 40[13] ")

# An answer's body is XML, and may hold the access key.
_BODY = re.compile(r"\s*:?\s*<.*", re.DOTALL)

_HINTS = {
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not that of AWS_ACCESS_KEY_ID",
    "InvalidAccessKeyId": "the server does not know AWS_ACCESS_KEY_ID",
    "InvalidToken": "AWS_SESSION_TOKEN is not that of AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session has ended: get new credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "AuthorizationHeaderMalformed": "AWS_REGION is not the bucket's",
}
_NOT_GRANTED = (
    'check the AWS_* variables, and grant what docs/operations.md lists under "Object storage"'
)


def explained(error: BaseException, address: str, bucket: str, server: str) -> BackupError:
    """The error of ours for one of the client's; `bucket` is empty for a local folder."""
    text = str(error)
    if bucket and _found(_CODE, text) == "NoSuchBucket":
        return no_bucket(bucket, server)
    if isinstance(error, FileNotFoundError):
        return Damaged(f"{address} is missing")
    if isinstance(error, AlreadyExistsError):
        return Failed(f"{address} exists already and objects are never changed")
    reason = _reason(text, server) if bucket else _first_line(text)
    return Failed(f"the store failed at {address}: {reason}")


def no_bucket(bucket: str, server: str) -> NoStore:
    """The error of whatever needs a bucket that is not there."""
    return NoStore(
        f"the bucket {bucket} does not exist at {server}: correct BACKUP_STORE_URL, or take a "
        "backup, which creates it where it may"
    )


def _reason(text: str, server: str) -> str:
    # The last place of the chain: the machine's role, by its metadata service.
    if "/latest/api/token" in text or "/latest/meta-data" in text:
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or give this machine a role"
        )
    code = _found(_CODE, text)
    # An answer to HEAD has no body, and so no code.
    if _REFUSED.search(text) or code == "AccessDenied" or code in _HINTS:
        return _refusal(text, server)
    certificate = _CERTIFICATE.search(text)
    if certificate is not None:
        return f"{server} is not trusted ({certificate[1]}): name its authority in AWS_CA_BUNDLE"
    cause = next(iter(_CAUSE.findall(text)), "no answer")
    if "kind: Interrupted" in text:
        return f"{server} broke the connection off ({cause})"
    if "kind: Connect" in text:
        return f"{server} cannot be reached ({cause}): check AWS_ENDPOINT_URL"
    if "kind: Timeout" in text:
        return f"{server} did not answer in time"
    return _first_line(text)


def _refusal(text: str, server: str) -> str:
    code, message = _found(_CODE, text), _found(_MESSAGE, text)
    said = code or "403 Forbidden"
    if message and code not in _HINTS:
        said += f", {' '.join(message.split()).rstrip('.')}"
    return f"{server} refused access ({said}): {_HINTS.get(code, _NOT_GRANTED)}"


def _first_line(text: str) -> str:
    line = next(iter(text.strip().splitlines()), "")
    code = _found(_CODE, text)
    plain = _BODY.sub("", line)
    return f"{plain} ({code})" if code and code not in plain else plain


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return next(filter(None, match.groups()), "") if match else ""
