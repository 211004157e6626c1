"""Notifications as the stores really send them: from AWS's documentation, from MinIO and RustFS in use and from
versitygw's source."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from operators.records import Failure, MediaReference, Origin, VoidReason
from pipeline.records import Message
from pipeline.refs import parse

AWS = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-west-2",
            "eventTime": "1970-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {
                "x-amz-request-id": "C3D13FE58DE4C810",
                "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD",
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "testConfigRule",
                "bucket": {
                    "name": "amzn-s3-demo-bucket",
                    "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                    "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
                },
                "object": {
                    "key": "red+flower%C3%BC%2B.jpg",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}
AWS_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}
MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "images/holiday/my photo.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2019-10-22T09:27:27Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "minio"},
            "requestParameters": {"accessKey": "minio", "region": "", "sourceIPAddress": "172.16.118.255"},
            "responseElements": {
                "x-amz-request-id": "15CFEDF8D4736ED9",
                "x-minio-deployment-id": "0170a4cc-dca6-4e72-86f1-c0cc760dff7f",
                "x-minio-origin-endpoint": "http://172.17.0.2:9000",
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {
                    "name": "images",
                    "ownerIdentity": {"principalId": "minio"},
                    "arn": "arn:aws:s3:::images",
                },
                "object": {
                    "key": "holiday%2Fmy+photo.jpg",
                    "size": 224662,
                    "eTag": "5fc7298143efe1276d39a3466d4e255f-1",
                    "contentType": "image/jpeg",
                    "userMetadata": {"content-type": "image/jpeg", "X-Amz-Meta-Licence": "CC-BY-4.0"},
                    "sequencer": "15CFEDF8D5304D1A",
                },
            },
            "source": {"host": "172.16.118.255", "port": "", "userAgent": "MinIO (linux; amd64) minio-go/v7.0.0"},
        }
    ],
}
RUSTFS = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "my-bucket/uploads/hello.dat",
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "rustfs:s3",
            "awsRegion": "",
            "eventTime": "2025-11-03T10:02:11.123456789Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principal_id": "rustfsadmin"},
            "requestParameters": {"principalId": "rustfsadmin", "sourceIPAddress": "10.0.0.7"},
            "responseElements": {"x-amz-id-2": "", "x-amz-request-id": ""},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configuration_id": "Config",
                "bucket": {
                    "name": "my-bucket",
                    "owner_identity": {"principal_id": "rustfsadmin"},
                    "arn": "arn:aws:s3:::my-bucket",
                },
                "object": {
                    "key": "uploads%2Fhello.dat",
                    "size": 18,
                    "etag": "0f1b4bd8f1d9e2a6c5c3b8a1f5d7e9aa",
                    "content_type": "application/octet-stream",
                    "user_metadata": {"content-type": "application/octet-stream"},
                    "version_id": "",
                    "sequencer": "1874A5E8F0C3D1E2",
                },
            },
            "source": {"host": "10.0.0.7", "port": "", "userAgent": "aws-cli/2.15"},
        }
    ],
}
VERSITYGW = {
    "Records": [
        {
            "eventVersion": "2.2",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-08-19T16:47:51-07:00",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"PrincipalId": "root"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": "", "x-amz-id-2": ""},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "webhook-global",
                "bucket": {
                    "name": "media",
                    "ownerIdentity": {"PrincipalId": "root"},
                    "arn": "arn:aws:s3:::/media/a+b 100%25.jpg",
                },
                "object": {
                    "key": "a+b 100%25.jpg",
                    "size": 77,
                    "eTag": '"9f86d081884c7d659a2feaa0c55ad015"',
                    "versionId": None,
                    "sequencer": "1",
                },
            },
            "glacierEventData": {
                "restoreEventData": {"lifecycleRestorationExpiryTime": "", "lifecycleRestoreStorageClass": ""}
            },
        }
    ]
}
VERSITYGW_TEST = {
    "Service": "S3",
    "Event": "s3:TestEvent",
    "Time": "2026-08-19T16:47:51-07:00",
    "Bucket": "Test-Bucket",
}


def items(document: Any) -> tuple[Any, ...]:
    return parse(Message(Origin("t", 0, 7, 0), "events", None, json.dumps(document).encode())).items


def changed(document: Any, **fields: Any) -> Any:
    document = copy.deepcopy(document)
    document["Records"][0].update(fields)
    return document


def test_aws() -> None:
    [item] = items(AWS)
    assert item.uri == "s3://amzn-s3-demo-bucket/red flowerü+.jpg"
    assert item.version == "d41d8cd98f00b204e9800998ecf8427e"
    assert (item.size_bytes, item.content_type, item.attributes) == (1024, None, {})


def test_minio() -> None:
    [item] = items(MINIO)
    assert item.uri == "s3://images/holiday/my photo.jpg"
    assert item.version == "5fc7298143efe1276d39a3466d4e255f-1"
    assert item.content_type == "image/jpeg"
    assert item.attributes == {"licence": "CC-BY-4.0"}


def test_rustfs() -> None:
    [item] = items(RUSTFS)
    assert item.uri == "s3://my-bucket/uploads/hello.dat"
    assert (item.version, item.size_bytes) == ("0f1b4bd8f1d9e2a6c5c3b8a1f5d7e9aa", 18)
    assert item.content_type == "application/octet-stream"


def test_versitygw_does_not_encode_keys() -> None:
    [item] = items(VERSITYGW)
    assert item.uri == "s3://media/a+b 100%25.jpg"
    assert item.version == "9f86d081884c7d659a2feaa0c55ad015"


def test_older_versitygw_sends_a_bare_array() -> None:
    assert items(VERSITYGW["Records"]) == items(VERSITYGW)


@pytest.mark.parametrize("document", [AWS_TEST, VERSITYGW_TEST])
def test_test_events_are_void(document: Any) -> None:
    assert items(document) == (VoidReason.TEST_EVENT,)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ObjectRemoved:Delete", VoidReason.REMOVAL),
        ("s3:ObjectRemoved:DeleteMarkerCreated", VoidReason.REMOVAL),
        ("s3:ObjectRemoved:DeleteObjects", VoidReason.REMOVAL),
        ("LifecycleExpiration:Delete", VoidReason.REMOVAL),
        ("s3:LifecycleDelMarkerExpiration:Delete", VoidReason.REMOVAL),
        ("s3:ObjectAccessed:Get", VoidReason.NOT_MINE),
        ("ObjectTagging:Put", VoidReason.NOT_MINE),
        ("s3:ObjectCreated:PutTagging", VoidReason.NOT_MINE),
        ("s3:ObjectCreated:PutRetention", VoidReason.NOT_MINE),
        ("s3:Replication:OperationCompletedReplication", VoidReason.NOT_MINE),
    ],
)
def test_what_announces_no_content_is_void(name: str, reason: VoidReason) -> None:
    assert items(changed(AWS, eventName=name)) == (reason,)


@pytest.mark.parametrize(
    "name", ["ObjectCreated:Post", "s3:ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy"]
)
def test_every_way_to_make_an_object_counts(name: str) -> None:
    [item] = items(changed(AWS, eventName=f"s3:ObjectCreated:{name}"))
    assert isinstance(item, MediaReference)


def test_several_records_are_several_items() -> None:
    removed = changed(AWS, eventName="ObjectRemoved:Delete")["Records"][0]
    first, second, third = items({"Records": [AWS["Records"][0], removed, VERSITYGW["Records"][0]]})
    assert first.origin.item == 0
    assert second is VoidReason.REMOVAL
    assert third.origin == Origin("t", 0, 7, 2)


def test_a_folders_marker_is_void() -> None:
    document = copy.deepcopy(AWS)
    document["Records"][0]["s3"]["object"].update(key="holiday/", size=0)  # type: ignore[index]
    assert items(document) == (VoidReason.NOT_MINE,)


def test_without_an_etag_the_version_id_counts() -> None:
    document = copy.deepcopy(AWS)
    del document["Records"][0]["s3"]["object"]["eTag"]  # type: ignore[index]
    [item] = items(document)
    assert item.version == "096fKKXTRTtl3on89fVO.nfljtsv6qko"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"Records": []}, "Records: must have at least one entry"),
        ({"Records": "x"}, "Records: must be an array"),
        ({"Records": [5]}, "Records[0]: must be an object, not integer"),
        ({"Records": [{}]}, "Records[0].eventName: required field missing"),
        (changed(AWS, eventName=5), "Records[0].eventName: must be a string"),
        (changed(AWS, s3=None), "Records[0].s3: required field missing"),
        (changed(AWS, s3={"bucket": {}}), "Records[0].s3.bucket.name: required field missing"),
        (changed(AWS, s3={"bucket": {"name": "b"}, "object": {"key": ""}}), "Records[0].s3.object.key: must not be"),
        (
            changed(AWS, s3={"bucket": {"name": "b"}, "object": {"key": "%ff"}}),
            "Records[0].s3.object.key: is not UTF-8",
        ),
        (
            changed(AWS, s3={"bucket": {"name": "b"}, "object": {"key": "k", "size": "5"}}),
            "Records[0].s3.object.size: must be an integer",
        ),
    ],
)
def test_a_malformed_record_names_the_field(document: Any, message: str) -> None:
    [failure] = items(document)
    assert isinstance(failure, Failure)
    assert failure.code == "reference.malformed"
    assert failure.message.startswith(message)
