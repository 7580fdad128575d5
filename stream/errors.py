"""Every error this project raises, as one tree.

    VeristreamError
    ├── ConfigurationError      a setting, flag or extra is wrong or missing; nothing was started
    ├── ContractError           a record breaks the wire contract; it goes to the dead-letter topic
    │   ├── MalformedEvent      headers or JSON that cannot be read
    │   └── UnsupportedVersion  a schema major this release does not know
    ├── ImageError              the bytes are not a picture we open; dead-lettered
    │   ├── NotAnImage          no known magic bytes, or none at all
    │   ├── MediaTypeMismatch   the bytes are one format, the event says another
    │   ├── TruncatedImage      the file ends or breaks before its picture does
    │   ├── AnimatedImage       several frames in a format of which only single pictures are judged
    │   └── ImageTooLarge       over the byte, pixel or metadata limits
    ├── BlobError
    │   ├── BlobNotFound        the object or file is not there (dead-lettered)
    │   ├── BlobForbidden       a scheme, root or bucket that is not allowed (dead-lettered)
    │   ├── BlobCorrupt         size or SHA-256 differ from the claim (dead-lettered)
    │   ├── BlobChanged         somebody else wrote it since it was read
    │   └── BlobUnavailable     the store does not answer (retryable)
    ├── StateUnavailable        Redis does not answer (retryable; costs the cache only)
    ├── BrokerError
    │   ├── BrokerUnavailable   no broker answers (retryable)
    │   ├── DeliveryFailed      a record was not acknowledged
    │   ├── TransactionLost     a transaction's outcome is unknown; read on from the committed offsets (retryable)
    │   ├── WorkerFenced        another worker took this transactional id; stop
    │   └── OffsetsLost         committed offsets are no longer in the topic; a person decides
    ├── ModelError
    │   ├── BundleInvalid       a file is missing, changed or refused
    │   ├── ProviderUnavailable the execution provider asked for is not to be had
    │   ├── InferenceFailed     the model failed on a batch, or returned non-finite scores
    │   ├── SlotConflict        somebody else changed the model slots first; look again and decide anew
    │   ├── SlotRefused         the slots as they are do not allow this step
    │   └── ReferenceInvalid    what a model's embeddings are compared with is broken, another model's, or too little
    ├── EvaluationFailed        Evidently failed on a window, or the process that runs it ended (retryable)
    ├── RetrainError
    │   ├── DatasetUnfit        the labelled pictures make no set to learn from; the message gives every reason
    │   ├── JobFailed           a retraining job cannot go on
    │   ├── JobInterrupted      a retraining job ended before its outcome; run again, it goes on (retryable)
    │   └── JobRunning          another process is at work on this job, or is the coordinator (retryable)
    ├── ProcessingFailed        something nobody foresaw happened to one record: a bug; it is dead-lettered
    └── DeadLetterError
        ├── DeadLetterLost      the dead-letter topic refused a record; the worker stops
        └── BreakerOpen         too many dead letters: a bad deploy must not drain the topic

An error says what happened, where, and what to do: ``what`` is a sentence, ``where`` names the topic, file or address,
``remedy`` is the next step for whoever is on call. ``retryable`` says whether the same call may succeed later.
"""

from typing import ClassVar


class VeristreamError(Exception):
    """Root of every error raised on purpose.

    Args:
        what: What happened, as a sentence without a full stop.
        where: The record, file, setting or address it happened at.
        remedy: What to do about it.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.what} ({self.where})" if self.where else self.what
        return f"{text}. {self.remedy}" if self.remedy else text


class ConfigurationError(VeristreamError):
    """A setting, flag or optional extra is wrong or missing."""


class ContractError(VeristreamError):
    """A record breaks the wire contract."""


class MalformedEvent(ContractError):
    """Headers or data cannot be read as the event they claim to be."""


class UnsupportedVersion(ContractError):
    """The event's schema has a major version this release does not know."""


class ImageError(VeristreamError):
    """The bytes are not a picture that may be opened."""


class NotAnImage(ImageError):
    """No known magic bytes, or no bytes at all."""


class MediaTypeMismatch(ImageError):
    """The bytes are one format and the event says another."""


class TruncatedImage(ImageError):
    """The file ends or breaks before its picture does."""


class AnimatedImage(ImageError):
    """Several frames in a format of which only single pictures are judged."""


class ImageTooLarge(ImageError):
    """Over the limits on bytes, pixels or metadata."""


class BlobError(VeristreamError):
    """A claim check could not be redeemed."""


class BlobNotFound(BlobError):
    """The object or file is not there."""


class BlobForbidden(BlobError):
    """The URI's scheme, root or bucket is not allowed."""


class BlobCorrupt(BlobError):
    """Size or SHA-256 differ from what the event claims."""


class BlobChanged(BlobError):
    """The object is no longer what the writer had read."""


class BlobUnavailable(BlobError):
    """The store does not answer."""

    retryable = True


class StateUnavailable(VeristreamError):
    """Redis does not answer."""

    retryable = True


class BrokerError(VeristreamError):
    """Kafka refused or failed."""


class BrokerUnavailable(BrokerError):
    """No broker answers."""

    retryable = True


class DeliveryFailed(BrokerError):
    """A record was handed over and not acknowledged."""


class TransactionLost(BrokerError):
    """A transaction may or may not have been committed; the committed offsets tell."""

    retryable = True


class WorkerFenced(BrokerError):
    """Another worker took over this transactional id or this group membership."""


class OffsetsLost(BrokerError):
    """The group's committed offsets are no longer in the topic."""


class ModelError(VeristreamError):
    """A model could not be loaded or run."""


class BundleInvalid(ModelError):
    """A bundle's file is missing, changed or refused."""


class ProviderUnavailable(ModelError):
    """The execution provider asked for is not to be had here."""


class InferenceFailed(ModelError):
    """The model failed on a batch or returned non-finite numbers."""


class SlotConflict(ModelError):
    """Somebody else changed the model slots first."""


class SlotRefused(ModelError):
    """The model slots do not allow this step."""


class ReferenceInvalid(ModelError):
    """A reference that embeddings are compared with cannot be read or built, or belongs to another model."""


class EvaluationFailed(VeristreamError):
    """Evidently failed on a window, or the process that runs it ended."""

    retryable = True


class RetrainError(VeristreamError):
    """Retraining went wrong."""


class DatasetUnfit(RetrainError):
    """The labelled pictures make no set to learn from."""


class JobFailed(RetrainError):
    """A retraining job cannot go on."""


class JobInterrupted(RetrainError):
    """A retraining job ended before its outcome; run again, it goes on where it was."""

    retryable = True


class JobRunning(RetrainError):
    """Another process is at work on this job, or is the coordinator."""

    retryable = True


class ProcessingFailed(VeristreamError):
    """Something nobody foresaw happened to one record; a bug to report."""


class DeadLetterError(VeristreamError):
    """Dead-lettering itself went wrong."""


class DeadLetterLost(DeadLetterError):
    """The dead-letter topic refused a record."""


class BreakerOpen(DeadLetterError):
    """Too many records in a row, or too large a share, were dead-lettered."""
