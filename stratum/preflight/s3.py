"""The object store: it holds what Stratum asks of a store, tried with objects of our own that are removed again."""

import hashlib
import secrets
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from contracts.layout import StorageRoot
from stratum.preflight import clock, contract_version, store, web
from stratum.preflight.errors import Unreachable
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.runner import Check
from stratum.preflight.target import Target
from stratum.preflight.upload_expiry import expiry_days, judge_expiry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GROUP = "s3"
_DONE = (200, 201, 204)
_RIGHTS = (
    "Allow s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, ListBucket and ListMultipartUploadParts under the tenant's prefix."
)
_WRONG_CHECKSUM = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch")
"""AWS, MinIO, Ceph and SeaweedFS answer the first."""
_CONDITIONAL = (
    "Stratum seals by create-only PUTs (If-None-Match: *): use a store that keeps them, such as AWS S3, MinIO, Ceph or SeaweedFS of this "
    "year, and no proxy that drops the header."
)


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    if target.s3_endpoint is None:
        return [
            Check(
                GROUP, "address", lambda: skipped("STRATUM_S3_ENDPOINT is not set", "Set it to the store's address, http(s)://host:port.")
            )
        ]
    if target.s3_access_key is None or target.s3_secret_key is None:
        remedy = "Set them to the credentials of the control plane."
        return [Check(GROUP, "credentials", lambda: skipped("STRATUM_S3_ACCESS_KEY or STRATUM_S3_SECRET_KEY is not set", remedy))]
    s3 = S3(target, target.s3_endpoint)
    return [
        Check(GROUP, "reachable", s3.reachable),
        Check(GROUP, "clock", s3.clock, needs=("reachable",)),
        *_of_roots(s3, target),
    ]


def _of_roots(s3: "S3", target: Target) -> list[Check]:
    """Those of each root, each with its own time: an installation with many tenants is no slower an answer to any."""
    asked: dict[str, Callable[[StorageRoot], Finding]] = {
        "create-only": s3.create_only,
        "read, list, delete": s3.read_after_write,
        "multipart": s3.multipart,
        "unfinished uploads": s3.unfinished_uploads,
        "checksums": s3.checksums,
        "presigned PUT": s3.presigned_put,
        "storage contract": s3.storage_contract,
    }
    try:
        roots, unknown = store.roots(target), "no storage root is known"
        remedy = "Name one: --storage-root s3://bucket/prefix; or set STRATUM_DATABASE_URL, which has the tenants'."
    except Unreachable as error:
        roots, unknown = (), f"the storage roots are in the database, which cannot be asked: {error}"
        remedy = "Name one: --storage-root s3://bucket/prefix."
    if not roots:
        nothing = skipped(unknown, remedy)
        return [
            Check(GROUP, "bucket", lambda: nothing, needs=("reachable",)),
            *(Check(GROUP, name, lambda: nothing, needs=("bucket",)) for name in asked),
        ]
    found = []
    for root in roots:
        where = f", {root.uri}" if len(roots) > 1 else ""
        bucket = f"bucket{where}"
        found.append(Check(GROUP, bucket, partial(s3.bucket, root), needs=("reachable",)))
        found += [Check(GROUP, f"{name}{where}", partial(look, root), needs=(bucket,)) for name, look in asked.items()]
    return found


class S3:
    """One store. `server` is there after `reachable` has passed."""

    server = ""
    _ahead: float | None = None

    def __init__(self, target: Target, endpoint: str) -> None:
        self._target = target
        self._endpoint = endpoint
        self._client: S3Client = store.client(target, endpoint)

    def reachable(self) -> Finding:
        """Ask the store for anything: even a refusal shows that it is there."""
        try:
            with web.client(self._target.ca_bundle) as client:
                response = client.get(self._endpoint)
        except httpx.HTTPError as error:
            return failed(
                f"{self._endpoint}: {web.words(error)}",
                "Start the store, open the way to it, or correct STRATUM_S3_ENDPOINT (and STRATUM_CA_BUNDLE).",
            )
        self.server = response.headers.get("Server", "")
        if "Date" in response.headers:  # in whole seconds
            self._ahead = parsedate_to_datetime(response.headers["Date"]).timestamp() + 0.5 - time.time()
        return passed(f"{self._endpoint} ({self.server or 'it does not say what it is'})")

    def bucket(self, root: StorageRoot) -> Finding:
        """The bucket exists, and the credentials may list it."""
        try:
            self._client.list_objects_v2(Bucket=root.bucket, Prefix=root.prefix, MaxKeys=1)
        except ClientError as error:
            status = store.status_of(error)
            if status == 404:
                return failed(
                    f"bucket {root.bucket} does not exist",
                    f"Create it: aws s3 mb s3://{root.bucket}, or `python -m control_plane provision`.",
                )
            return failed(f"{root.uri}: the store answered {status} {store.code_of(error)}", f"Correct the credentials, or: {_RIGHTS}")
        return passed(root.uri)

    def clock(self) -> Finding:
        """Requests are signed with the time: most stores refuse those that are off by 15 minutes."""
        if self._ahead is None:
            return skipped("the store does not tell its time")
        return clock.judge(self._ahead, "the store", "this machine", uncertain=0.5)

    def create_only(self, root: StorageRoot) -> Finding:
        """Racing PUTs with If-None-Match: exactly one may win, the others must hear 412 or 409."""
        key = self._key(root, "race")
        start = Barrier(store.RACERS)

        def put(number: int) -> str:
            start.wait()
            try:
                self._client.put_object(Bucket=root.bucket, Key=key, Body=str(number).encode(), IfNoneMatch="*")
            except ClientError as error:
                return f"{store.status_of(error)}"
            except BotoCoreError as error:
                return type(error).__name__
            return "created"

        try:
            with ThreadPoolExecutor(store.RACERS) as pool:
                answers = Counter(pool.map(put, range(store.RACERS)))
        finally:
            self._client.delete_object(Bucket=root.bucket, Key=key)
        return judge_race(answers)

    def read_after_write(self, root: StorageRoot) -> Finding:
        """What was put is read and listed at once, and gone once it is deleted."""
        key, body = self._key(root, "object"), secrets.token_bytes(1024)
        try:
            with store.told("PUT, GET, LIST, DELETE"):
                self._client.put_object(Bucket=root.bucket, Key=key, Body=body)
                found = self._client.get_object(Bucket=root.bucket, Key=key)["Body"].read()
                listed = self._listed(root, key)
                self._client.delete_object(Bucket=root.bucket, Key=key)
                left = self._listed(root, key)
        except Unreachable as error:
            return failed(str(error), _RIGHTS)
        if found != body or not listed or left:
            problem = "other bytes were read" if found != body else "the listing does not follow at once"
            return failed(problem, "Stratum needs a store with strong consistency; put no cache in front of it.")
        return passed("what is written is read and listed at once")

    def _listed(self, root: StorageRoot, key: str) -> bool:
        return self._client.list_objects_v2(Bucket=root.bucket, Prefix=key)["KeyCount"] > 0

    def multipart(self, root: StorageRoot) -> Finding:
        """Begin an upload in parts, as Spark's committer does, and give it up: nothing may appear."""
        key = self._key(root, "parts")
        try:
            with store.told("multipart upload"):
                upload = self._client.create_multipart_upload(Bucket=root.bucket, Key=key)["UploadId"]
                self._client.upload_part(Bucket=root.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
                self._client.abort_multipart_upload(Bucket=root.bucket, Key=key, UploadId=upload)
                appeared = self._listed(root, key)
        except Unreachable as error:
            return failed(str(error), _RIGHTS)
        if appeared:
            return failed("a given-up upload is visible", "Use a store that shows uploads only once they are complete.")
        return passed("begun, given up, and nothing is visible")

    def unfinished_uploads(self, root: StorageRoot) -> Finding:
        """When the store removes uploads that nobody finished: after the longest run, and some day."""
        try:
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=root.bucket).get("Rules", [])
        except ClientError as error:
            if store.status_of(error) in (401, 403):
                return skipped("the lifecycle rules may not be read", "Allow s3:GetLifecycleConfiguration, to have them judged.")
            rules = []  # none are set, or the store knows none
        longest = max(action.limits.time_limit_seconds for action in self._target.catalog.actions.values())
        days, is_minio = expiry_days(rules, root.prefix), "minio" in self.server.lower()
        return judge_expiry(days, longest, is_minio=is_minio, is_local=self._target.local_home is not None)

    def checksums(self, root: StorageRoot) -> Finding:
        """A body that does not fit its checksum is refused; which kinds the store knows."""
        key = self._key(root, "checksum")
        wrong = b64encode(hashlib.md5(b"another body", usedforsecurity=False).digest()).decode()
        try:
            self._client.put_object(Bucket=root.bucket, Key=key, Body=b"body", ContentMD5=wrong)
            found = judge_wrong_checksum(200, "")
        except ClientError as error:
            found = judge_wrong_checksum(store.status_of(error), store.code_of(error))
        try:
            return passed(f"{found.detail}; {self._newer_checksums(root, key)}") if found.status == "pass" else found
        finally:
            self._client.delete_object(Bucket=root.bucket, Key=key)

    def _newer_checksums(self, root: StorageRoot, key: str) -> str:
        try:
            put = self._client.put_object(Bucket=root.bucket, Key=key, Body=b"body", ChecksumAlgorithm="CRC32")
        except ClientError as error:
            return f"CRC32 is answered {store.status_of(error)} {store.code_of(error)}, and not needed"
        return "CRC32 is kept" if put.get("ChecksumCRC32") else "CRC32 is taken"

    def presigned_put(self, root: StorageRoot) -> Finding:
        """As clients upload: to the public address, once, and no more than was announced; anything else is refused."""
        endpoint = self._target.s3_public_endpoint or self._endpoint
        keys = [self._key(root, name) for name in ("presigned", "longer")]
        body = b"uploaded"
        signer = store.client(self._target, endpoint)
        once, another = (
            signer.generate_presigned_url(
                "put_object",
                Params={"Bucket": root.bucket, "Key": key, "IfNoneMatch": "*", "ContentLength": len(body)},
                ExpiresIn=300,
                HttpMethod="PUT",
            )
            for key in keys
        )
        sent = ((once, body), (once, body), (another, body + b", and more"))
        try:
            with web.client(self._target.ca_bundle) as client:
                *statuses, longer = [client.put(url, content=each, headers={"If-None-Match": "*"}).status_code for url, each in sent]
        except httpx.HTTPError as error:
            return warned(
                f"{endpoint} is not reachable from here: {web.words(error)}",
                "Uploading clients reach the store there: correct STRATUM_S3_PUBLIC_ENDPOINT, or run this where they run.",
            )
        finally:
            for key in keys:
                self._client.delete_object(Bucket=root.bucket, Key=key)
        return judge_presigned(statuses, longer, endpoint)

    def storage_contract(self, root: StorageRoot) -> Finding:
        """The manifests that lie there already are of a version that this code reads."""
        with store.told("LIST and GET of manifests"):
            return contract_version.judge(contract_version.sample(self._client, root))

    def _key(self, root: StorageRoot, name: str) -> str:
        # no identifier begins with '_': this never meets data
        return f"{root.prefix}_preflight/{secrets.token_hex(8)}/{name}"


def judge_race(answers: Counter[str]) -> Finding:
    """Judge how racing create-only PUTs were answered."""
    detail = ", ".join(f"{count} x {answer}" for answer, count in sorted(answers.items()))
    created, refused = answers["created"], answers["412"] + answers["409"]
    if created > 1:
        return failed(f"{created} of {answers.total()} racing PUTs of one key were told that they created it ({detail})", _CONDITIONAL)
    if created == 1 and created + refused == answers.total():
        return passed(f"{answers.total()} racing PUTs: one created, the others refused")
    if created == 1:
        return warned(f"one PUT created; some others were not answered as they should ({detail})", "See the store's log for these errors.")
    return failed(f"no PUT with If-None-Match succeeded ({detail})", f"{_CONDITIONAL} Where all are 403: {_RIGHTS}")


def judge_wrong_checksum(status: int, code: str) -> Finding:
    """Judge the answer to a body that does not fit its Content-MD5: other refusals show nothing of what the store compares."""
    if status == 200:
        return warned(
            "a body that does not fit its Content-MD5 is accepted", "Use TLS to the store: it is what protects bodies on the way."
        )
    if status == 400 and code in _WRONG_CHECKSUM:
        return passed(f"wrong ones are refused: {code}")
    return warned(
        f"a body that does not fit its Content-MD5 is answered {status} {code}, which does not show that the two are compared",
        f"It should be 400 BadDigest: see the store's log, and what a proxy does with Content-MD5. Where it is 403: {_RIGHTS}",
    )


def judge_presigned(statuses: Sequence[int], longer: int, endpoint: str) -> Finding:
    """Judge the answers to the same presigned create-only PUT, sent twice, and to one with a longer body than was signed."""
    detail = f"{endpoint} answered {statuses[0]}, then {statuses[1]}"
    if statuses[0] not in _DONE:
        return failed(
            detail, "Let STRATUM_S3_PUBLIC_ENDPOINT reach the same store under the name that is signed: a proxy must keep Host and headers."
        )
    if statuses[1] not in (409, 412):
        return failed(f"{detail}: the object was replaced", _CONDITIONAL)
    if longer in _DONE:
        return warned(
            f"{endpoint} takes a longer body than the signed Content-Length allows: uploads may fill the store past max_stored_bytes",
            "Use a store that judges every signed header, or limit tenants' storage at the store too.",
        )
    return passed(f"{endpoint}: created once, refused the second time, and refused where the body is too long")
