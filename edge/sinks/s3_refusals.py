"""What an S3 server's refusal means: whose fault it is, in words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from edge.errors import PartFailed, Rejected

_BUSY = ("is overloaded or has a fault of its own", "it is tried again; look at the server's log")
_REGION = ("is in another region", "set store.region to the bucket's region")
_ACCOUNT = ("does not serve this account", "look at the account and its credentials on the server")
_FULL = ("is full, or the account's quota is used up", "free space there or raise the quota")
_KEY = "check store.access_key and store.secret_key"

_SHUT: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId": ("does not know the access key", _KEY),
    "SignatureDoesNotMatch": ("says that the secret key is wrong", _KEY),
    "AccessDenied": (
        "forbids it: the bucket belongs to another account, or the key has too few rights",
        "the key needs s3:PutObject, s3:GetObject and s3:ListBucket on that bucket",
    ),
    "BucketAlreadyExists": (
        "says that the bucket belongs to another account",
        "choose another store.bucket, or use the key of its owner",
    ),
    "NoSuchBucket": ("has no such bucket", "it is made at the next try; or make it yourself"),
    "InvalidBucketName": ("does not accept the name of the bucket", "change store.bucket"),
    "TooManyBuckets": ("allows no more buckets to this account", "make store.bucket by hand"),
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidLocationConstraint": _REGION,
    "InvalidRegion": _REGION,
    "PermanentRedirect": _REGION,
    "Redirect": _REGION,
    "QuotaExceeded": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "UserSuspended": _ACCOUNT,
    "AccountProblem": _ACCOUNT,
    "AllAccessDisabled": _ACCOUNT,
    "ExpiredToken": _ACCOUNT,
    "InvalidToken": _ACCOUNT,
    "SlowDown": _BUSY,
    "BadDigest": ("got other bytes than were sent", "it is tried again; look at the network"),
    "RequestTimeout": ("got no bytes in time", "it is tried again; store.timeout is the limit"),
}
#: 4xx that say nothing about the object
_NOT_THE_OBJECT = {401, 403, 404, 405, 407, 408, 409, 421, 425, 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One answer that was not a success."""

    status: int
    #: S3's error code, empty where the server sent none
    code: str
    #: the server's own words
    text: str = ""
    #: seconds that this box's clock is ahead of the server's
    clock_ahead: float = 0.0

    def error(self, where: str, *, encrypts: bool) -> PartFailed | Rejected:
        """Return what to raise.

        Args:
            where: the store's address and bucket, without credentials.
            encrypts: server-side encryption was asked for; then a 4xx may be about that.

        """
        if self.code == "RequestTimeTooSkewed":
            return self._clock_is_off(where)
        said = self.code or f"HTTP status {self.status}"
        said += f" ({self.text})" if self.text else ""
        if encrypts and "kms" in said.lower():  # RGW calls a missing key InvalidAccessKeyId
            return _encryption(where, said)
        if self.code in _SHUT:
            cause, hint = _SHUT[self.code]
            return PartFailed(f"{where} {cause}: {said}", hint=hint, reason="store_shut")
        if not 400 <= self.status < 500 or self.status in _NOT_THE_OBJECT:
            cause, hint = _BUSY
            return PartFailed(f"{where} {cause}: {said}", hint=hint, reason="store_shut")
        if encrypts:
            return _encryption(where, said)
        return Rejected(f"{where} refuses this object: {said}", reason="store_refused")

    def _clock_is_off(self, where: str) -> PartFailed:
        way = "ahead of" if self.clock_ahead > 0 else "behind"
        return PartFailed(
            f"{where} refuses the time: this box's clock is {abs(self.clock_ahead):.0f} s {way} "
            "the store's",
            hint="set the clock of the box (or of the store): is NTP running?",
            reason="store_shut",
        )


def _encryption(where: str, said: str) -> PartFailed:
    return PartFailed(
        f"{where} refuses, it seems because of the encryption asked for: {said}",
        hint="check store.sse and store.sse_key_id",
        reason="store_shut",
    )
