"""Amazon's S3, SNS and EventBridge on loopback, as moto plays them, in a process of its own."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.places import free_port

ACCESS_KEY, SECRET_KEY, REGION = "AKMOTO", "moto-secret", "eu-west-1"
_ACCOUNT = "123456789012"


class Moto:
    """The server, and what an administrator does to it."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._clients = ExitStack()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + 30
        while not self._is_up():
            assert self._process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, "moto does not answer"
            time.sleep(0.05)
        self.s3, self.sns = self._to("s3"), self._to("sns")
        self.events, self.sqs = self._to("events"), self._to("sqs")

    def make_bucket(self) -> str:
        name = f"edge-{secrets.token_hex(5)}"
        where = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def put(self, bucket: str, key: str, body: bytes = b"x") -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def push_through_sns(self, bucket: str, address: str) -> None:
        """Have SNS post what is created and removed to an address; S3 sends a test first."""
        topic = self.sns.create_topic(Name=bucket)["TopicArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=address)
        kinds = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={
                "TopicConfigurations": [{"TopicArn": topic, "Events": kinds}]
            },
        )

    def queue_of_event_bridge(self, bucket: str) -> str:
        """Have EventBridge put what happens into a queue; return its address.

        Moto's API destinations, which would post it, send no body.
        """
        self.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        queue: str = self.sqs.create_queue(QueueName=bucket)["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{_ACCOUNT}:{bucket}"
        self.events.put_rule(Name=bucket, EventPattern=json.dumps({"source": ["aws.s3"]}))
        self.events.put_targets(Rule=bucket, Targets=[{"Id": "1", "Arn": arn}])
        return queue

    def received(self, queue: str) -> list[str]:
        """Return what waits in a queue."""
        found = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [one["Body"] for one in found.get("Messages", [])]

    def close(self) -> None:
        self._clients.close()
        self._process.terminate()
        self._process.wait(10)

    def _to(self, service: str) -> Any:
        client = boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )
        return self._clients.enter_context(closing(client))

    def _is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1):
                return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """Return a running server; half a second."""
    server = Moto(tmp_path_factory.mktemp("moto") / "log")
    yield server
    server.close()
