"""Notifications that are no S3 records: Ceph RGW's pubsub, and Amazon EventBridge. Made to records.

Sources: RGW's ``rgw_pubsub.h`` as 16.2.15 writes it; the Amazon S3 user guide, "EventBridge event
message structure". Both have plain keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge.sources.buckets.records_s3 import malformed

_RGW: Final = {
    # put, copy and multipart are the same to a change feed
    "OBJECT_CREATE": "ObjectCreated:*",
    "OBJECT_DELETE": "ObjectRemoved:Delete",
    "DELETE_MARKER_CREATE": "ObjectRemoved:DeleteMarkerCreated",
}
_CREATED: Final = {
    "PutObject": "Put",
    "POST Object": "Post",
    "CopyObject": "Copy",
    "CompleteMultipartUpload": "CompleteMultipartUpload",
}
_OTHERS: Final = {
    "Object Tags Added": "ObjectTagging:Put",
    "Object Tags Deleted": "ObjectTagging:Delete",
    "Object ACL Updated": "ObjectAcl:Put",
    "Object Restore Initiated": "ObjectRestore:Post",
    "Object Restore Completed": "ObjectRestore:Completed",
    "Object Restore Expired": "ObjectRestore:Delete",
}


def of_pubsub(event: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the record of one of RGW's ``events``. It has no size and no eTag.

    Raises:
        Rejected: ``malformed_notification``.

    """
    name = event.get("event")
    if not isinstance(name, str):
        raise malformed(f"{where}.event", name, "OBJECT_CREATE or the like")
    info = _object(event, "info", where)
    bucket = _object(info, "bucket", f"{where}.info")
    key = _object(info, "key", f"{where}.info")
    return {
        "eventVersion": "2.2",
        "eventSource": "ceph:s3",
        "awsRegion": "",
        "eventTime": event.get("timestamp"),
        "eventName": _RGW.get(name, name),
        "s3": {
            "bucket": {"name": bucket.get("name"), "id": bucket.get("bucket_id")},
            "object": {"key": key.get("name"), "versionId": key.get("instance")},
        },
        "eventId": event.get("id"),
    }


def of_event_bridge(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an EventBridge event of Amazon S3.

    Raises:
        Rejected: ``malformed_notification``.

    """
    detail = _object(event, "detail", "EventBridge")
    bucket = _object(detail, "bucket", "detail")
    about = _object(detail, "object", "detail")
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": event.get("region"),
        "eventTime": event.get("time"),
        "eventName": _name(event.get("detail-type"), detail),
        "responseElements": {"x-amz-request-id": detail.get("request-id")},
        "s3": {
            "bucket": {"name": bucket.get("name")},
            "object": {
                "key": about.get("key"),
                "size": about.get("size"),
                "eTag": about.get("etag") or about.get("eTag"),
                "versionId": about.get("version-id"),
                "sequencer": about.get("sequencer"),
            },
        },
        "eventId": event.get("id"),
    }


def _name(kind: object, detail: Mapping[str, Any]) -> str:
    if not isinstance(kind, str) or not kind.startswith("Object "):
        raise malformed("detail-type", kind, "what happened to an object, like Object Created")
    if kind == "Object Created":
        reason = detail.get("reason")
        how = _CREATED.get(reason) if isinstance(reason, str) else None
        return f"ObjectCreated:{how or '*'}"
    if kind == "Object Deleted":
        marked = detail.get("deletion-type") == "Delete Marker Created"
        expired = detail.get("reason") == "Lifecycle Expiration"
        return ("LifecycleExpiration:" if expired else "ObjectRemoved:") + (
            "DeleteMarkerCreated" if marked else "Delete"
        )
    return _OTHERS.get(kind, kind.replace(" ", ""))


def _object(within: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = within.get(name)
    if not isinstance(value, Mapping):
        raise malformed(f"{where}.{name}", value, "an object")
    return value
