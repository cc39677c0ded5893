"""Errors of the control plane. Those under `Refusal` become RFC 9457 problem responses."""

from typing import Any
from uuid import UUID


class ControlPlaneError(Exception):
    """Something went wrong in the control plane."""


class UnknownSchema(ControlPlaneError):
    """The database has a schema that this version does not know."""


class MigrationFailed(ControlPlaneError):
    """The database could not be brought to this version's schema."""


class StorageUnavailable(ControlPlaneError):
    """The object store does not answer, or answers with an error that may pass."""


class StorageRefused(StorageUnavailable):
    """The object store answers, and does not let us: as a rule a matter of one bucket's policy, which somebody may mend."""


class ObjectMissing(ControlPlaneError):
    """There is no object under this key."""


class TooMuch(ControlPlaneError):
    """An object, or a listing, is larger than anybody wants to read."""


class TurnOver(ControlPlaneError):
    """A sweep has done enough for one tenant; what is left is for a later one."""


class AlreadyExists(ControlPlaneError):
    """A create-only PUT found something under its key."""


class ProposalRejected(ControlPlaneError):
    """What a run says it made is not what lies there, or not what it was granted."""


class EventRefused(ControlPlaneError):
    """What a message of the launcher says cannot be true; nothing of it is used."""


class Unmakable(ControlPlaneError):
    """No message can be made of a row of the outbox. The words are for the owner of the process."""


class Refusal(ControlPlaneError):
    """A request that is answered with a problem document. `detail` says what happened and what to do."""

    status = 400
    type = "bad-request"
    title = "The request cannot be carried out"

    def __init__(
        self,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        suggestions: list[str] | None = None,
        owner_process_id: UUID | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.suggestions = suggestions
        self.owner_process_id = owner_process_id
        self.retry_after = retry_after


class Unauthenticated(Refusal):
    """No credential, or one that is unknown, expired or revoked."""

    status, type, title = 401, "unauthenticated", "A valid credential is needed"


class Forbidden(Refusal):
    """The credential's role does not allow this."""

    status, type, title = 403, "forbidden", "The role does not allow this"


class ImageNotAllowed(Refusal):
    """The operator does not let this tenant run the action's image."""

    status, type, title = 403, "image-not-allowed", "The image is not allowed"


class NotFound(Refusal):
    """Nothing of this tenant has this name."""

    status, type, title = 404, "not-found", "Not found"


class Missing(NotFound):
    """An entity, a data version of it or a dataset in that: at least one does not exist. `missing.with_suggestions` says which."""

    def __init__(self, entity_id: str, data_version: str, dataset: str) -> None:
        super().__init__(f"There is no sealed dataset {entity_id}/{data_version}/{dataset}.")
        self.entity_id, self.data_version, self.dataset = entity_id, data_version, dataset


class Conflict(Refusal):
    """The state of things does not allow this now."""

    status, type, title = 409, "conflict", "Conflict with the present state"


class NameTaken(Conflict):
    """Another process or upload has, or had, the dataset name."""

    type, title = "name-taken", "The dataset name is taken"


class RunSuperseded(Conflict):
    """Another run was granted the attempt."""

    type, title = "run-superseded", "Another run has this attempt"


class AttemptEnded(Refusal):
    """The attempt is over; the run must stop."""

    status, type, title = 410, "attempt-ended", "The attempt is over"


class Retired(Refusal):
    """The dataset was retired: its files are gone, or go, and its name is never free again."""

    status, type, title = 410, "retired", "The dataset was retired"


class TooLarge(Refusal):
    """The body, or a file, is over the limit."""

    status, type, title = 413, "too-large", "Too large"


class UriTooLong(Refusal):
    """Path or query is over the limit."""

    status, type, title = 414, "uri-too-long", "The URL is too long"


class HeadersTooLarge(Refusal):
    """The headers are too many, or over the limit."""

    status, type, title = 431, "headers-too-large", "The headers are too large"


class TooSlow(Refusal):
    """The request did not arrive in time."""

    status, type, title = 408, "too-slow", "The request took too long to arrive"


class Invalid(Refusal):
    """The request is understood and wrong; `errors` points to each wrong field."""

    status, type, title = 422, "invalid", "The request is not valid"


class Malformed(Refusal):
    """The body is not JSON in UTF-8, or nests too deep."""

    type, title = "malformed", "The body cannot be read"


class UploadRefused(Invalid):
    """What was uploaded can never be sealed: not what was announced, not Parquet, or not one table."""


class StorageUsedUp(Conflict):
    """The tenant stores as many bytes as it may."""

    type, title = "storage-used-up", "The storage quota is used up"


class TooManyHeld(Refusal):
    """As many accepted processes of the tenant wait as may."""

    status, type, title = 429, "too-many-held", "Too many processes wait"


class RateLimited(Refusal):
    """More requests come than may; `Retry-After` says when the next one is taken."""

    status, type, title = 429, "rate-limited", "Too many requests"


class Unavailable(Refusal):
    """A dependency is down; the same request may be sent again."""

    status, type, title = 503, "unavailable", "A dependency is unavailable"


class Busy(Unavailable):
    """The server works on as much as it may, or was not done in time; the same request may be sent again."""

    type, title = "busy", "The server is busy"


class OutcomeUnknown(Unavailable):
    """The database did not say whether it stored the change; the same request may be sent again."""

    type, title = "outcome-unknown", "It is not known whether this was done"
