"""Notifications as servers write them that cannot run here: MinIO, Amazon S3, SNS, EventBridge."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

KEY = "cam 1/a+b/hallé%20&.jpg"


def minio(key: str = KEY, name: str = "s3:ObjectCreated:Put", **about: Any) -> dict[str, Any]:
    """Return a record of MinIO with the key as it is given."""
    return {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "eventName": name,
        "userIdentity": {"principalId": "AK"},
        "requestParameters": {"principalId": "AK", "region": "", "sourceIPAddress": "10.0.0.9"},
        "responseElements": {
            "x-amz-id-2": "dd9025ba",
            "x-amz-request-id": "18A1B2C3",
            "x-minio-deployment-id": "1-2-3",
            "x-minio-origin-endpoint": "http://10.0.0.2:9000",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": "frames", "ownerIdentity": {"principalId": "AK"}},
            "object": {
                "key": key,
                "size": 160,
                "eTag": "55a0b7",
                "contentType": "image/jpeg",
                "userMetadata": {"content-type": "image/jpeg"},
                "sequencer": "18A1B2C3D4E5F607",
                **about,
            },
        },
        "source": {"host": "10.0.0.9", "port": "", "userAgent": "MinIO (linux; amd64)"},
    }


def listen(key: str = KEY, **about: Any) -> bytes:
    """Return a line of MinIO's Listen."""
    return b"   " + json.dumps({"Records": [minio(key, **about)]}).encode() + b"\n"


def webhook(key: str = KEY, name: str = "s3:ObjectCreated:Put", **about: Any) -> bytes:
    """Return what MinIO sends to webhooks and MQTT: Go's QueryEscape, and the plain path beside."""
    record = minio(quote_plus(key), name, **about)
    return json.dumps({"EventName": name, "Key": f"frames/{key}", "Records": [record]}).encode()


def aws(key: str = KEY, name: str = "ObjectCreated:Put", **about: Any) -> dict[str, Any]:
    """Return a record of Amazon S3; slashes stay in its keys."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "responseElements": {"x-amz-request-id": "C3D13FE5", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {
            "bucket": {"name": "frames", "arn": "arn:aws:s3:::frames"},
            "object": {
                "key": quote(key, safe="/").replace("%20", "+"),
                "size": 1024,
                "eTag": "d41d8c",
                "versionId": "096fKKXT",
                "sequencer": "0055AED6DCD90281E5",
                **about,
            },
        },
    }


def records(*of: dict[str, Any]) -> bytes:
    return json.dumps({"Records": list(of)}).encode()


def sns(message: bytes | str, kind: str = "Notification") -> bytes:
    """Return the envelope of SNS."""
    return json.dumps(
        {
            "Type": kind,
            "MessageId": "22b80b92",
            "TopicArn": "arn:aws:sns:us-west-2:1:frames",
            "Subject": "Amazon S3 Notification",
            "Message": message if isinstance(message, str) else message.decode(),
            "Timestamp": "2026-05-02T00:54:06.655Z",
            "SignatureVersion": "1",
        }
    ).encode()


def event_bridge(
    kind: str = "Object Created", reason: str = "PutObject", **more: Any
) -> dict[str, Any]:
    """Return an event of Amazon S3 as EventBridge has it."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::frames"],
        "detail": {
            "version": "0",
            "bucket": {"name": "frames"},
            "object": {
                "key": KEY,
                "size": 5,
                "etag": "b1946ac9",
                "version-id": "IYV3p45B",
                "sequencer": "00617F08299329D189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "reason": reason,
            **more,
        },
    }
