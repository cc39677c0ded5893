"""From any exception to an error class and a message that a person understands: no Java stack traces."""

import errno
import re

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.errors import PySparkException

from contracts.callback import RunError
from spark_jobs.errors import JobError, SparkFailed, StorageRefused, StorageUnavailable, StorageUntrusted, Terminated

_LONGEST = 4000
_CLASSED = re.compile(r"\[([A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)*)\]\s*(.*?)(?=\s*SQLSTATE|\n|$)", re.DOTALL)
_JAVA_CLASS = re.compile(r"\b(?:[a-z][\w$]*\.)+[A-Z][\w$]*: ")
_WRAPPERS = frozenset(
    {"TASK_WRITE_FAILED", "FAILED_READ_FILE.NO_HINT", "FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER", "FAILED_EXECUTE_UDF", "INTERNAL_ERROR"}
)
"""Spark's classes that only say where the real cause showed."""

_STORAGE = ("software.amazon.awssdk", "org.apache.hadoop.fs.s3a", "AWSClientIOException", "com.amazonaws")
_UNTRUSTED = ("PKIX path", "SSLPeerUnverifiedException", "CertificateExpiredException", "CertificateNotYetValidException")
_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Status Code: 403", "NoSuchBucket")
_CORRUPT = ("is not a Parquet file", "CANNOT_READ_FILE_FOOTER", "ParquetDecodingException", "could not read footer")
_UNREADABLE = "FAILED_READ_FILE"
"""Spark's class for whatever went wrong in reading a file: a damaged page, or a store that failed meanwhile."""
_CONNECTION = ("java.net.", "javax.net.ssl", "org.apache.http", "SocketTimeoutException", "FileNotFoundException", "InterruptedIOException")
_NO_SPACE = ("No space left on device", "No space available in any of the local directories", "Disk quota exceeded")
"""As the system says it, and Hadoop, of a disk of ours."""
_OF_THE_STORE = "(Service: S3"
"""Where the store itself says it of its own disk."""
_MORE_ROOM = (
    "the disk for the run's temporary files (shuffle, spills, uploads under way) is full: let the run need less room,"
    " give it more executors with `executor_instances` in `resource_profile`, or have an operator give that disk more"
)
_JVM_GONE = "Spark's JVM ended under the run, perhaps killed for want of memory: more `driver_memory` in `resource_profile` may help"
_IN_A_TASK = "Job aborted due to stage failure"
_KILLED_FOR_MEMORY = ("exit code 137", "OOMKilled", "exit code 52(")
"""As the kernel ends a container, and as an executor ends itself."""
_KUBERNETES = "KubernetesClientException"
_EXECUTOR_LOST = ("ExecutorLostFailure", "FetchFailed", "executor was lost")
_WORKER_LOST = "Python worker exited unexpectedly"
_NO_NEWS = "An error occurred while calling "
"""Begins the line that names the call from Python, and nothing of what went wrong."""
_MORE_MEMORY = "ask for more `executor_memory`, or for smaller pieces with more `shuffle_partitions`, in `resource_profile`"


def describe(error: BaseException) -> RunError:
    """What to report for `error`."""
    known = _known(error)
    message = str(known) or type(known).__name__
    return RunError(**{"class": known.error_class}, message=message[:_LONGEST], retryable=known.retryable)


def _known(error: BaseException) -> JobError:
    if isinstance(error, JobError):
        return error
    if isinstance(error, Terminated):
        return SparkFailed("TERMINATED", str(error))
    if isinstance(error, Py4JNetworkError | ConnectionError):
        return SparkFailed("SPARK_LOST", _JVM_GONE)
    if isinstance(error, PySparkException | Py4JError):
        return _of_spark(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SparkFailed("NO_SPACE", f"{_MORE_ROOM} ({error})")
    return SparkFailed("UNEXPECTED_ERROR", f"{type(error).__name__}: {error}")


def _of_spark(error: Exception) -> JobError:
    text = _full_text(error)
    if full := _want_of_room(text):  # a spill that fails for want of room ends as want of memory
        return SparkFailed("NO_SPACE", f"{_MORE_ROOM} ({full})")
    if memory := _want_of_memory(text):
        return SparkFailed("OUT_OF_MEMORY", memory, hopeless=True)  # the same data in the same memory
    store_failed = _names_a_store(text)
    if any(mark in text for mark in _CORRUPT) and not store_failed:
        return _corrupt(text)
    if any(mark in text for mark in _STORAGE) and any(mark in text for mark in _UNTRUSTED):
        return StorageUntrusted(_first_line(text, *_UNTRUSTED))
    if classed := _innermost_class(error, text):
        return SparkFailed(*classed)
    if _UNREADABLE in text and not store_failed and not any(mark in text for mark in _EXECUTOR_LOST):
        return _corrupt(text)
    if any(mark in text for mark in _DENIED):
        return StorageRefused(f"the object store refuses: {_first_line(text, *_DENIED)}")
    if any(mark in text for mark in _STORAGE):
        return StorageUnavailable(f"the object store cannot be reached or fails: {_first_line(text, *_STORAGE)}")
    if any(mark in text for mark in _EXECUTOR_LOST):
        return SparkFailed("EXECUTOR_LOST", _first_line(text, *_EXECUTOR_LOST))
    if _WORKER_LOST in text:
        # the kernel ends the largest process of a pod that is out of memory: that need not be the executor, and leaves no other trace
        words = "a Python process on an executor was killed or crashed, most often since the pod's memory was used up"
        return SparkFailed("EXECUTOR_LOST", f"{words}: {_MORE_MEMORY}")
    if _KUBERNETES in text:
        return SparkFailed("KUBERNETES_UNAVAILABLE", f"the Kubernetes API cannot be used: {_first_line(text, _KUBERNETES)}")
    return SparkFailed("SPARK_FAILED", _first_line(text))


def _corrupt(text: str) -> JobError:
    # the line of Spark's own class names the file; its causes tell only what was wrong in it
    marks = (_UNREADABLE,) if _UNREADABLE in text else _CORRUPT
    return SparkFailed("CORRUPT_INPUT", f"an input file cannot be read: {_first_line(text, *marks)}")


def _names_a_store(text: str) -> bool:
    """Whether an exception tells of a store or of the way to it. Lines of a stack do not count: sound reads pass there too."""
    told = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("at "))
    return any(mark in told for mark in (*_STORAGE, *_DENIED, *_CONNECTION))


def _want_of_memory(text: str) -> str | None:
    """Whose memory was too small, and what to ask for; None: memory was not the trouble."""
    if any(mark in text for mark in _EXECUTOR_LOST) and any(mark in text for mark in _KILLED_FOR_MEMORY):
        return f"an executor needed more memory than it has and was killed: {_MORE_MEMORY}"
    if "OutOfMemoryError" not in text:
        return None
    if _IN_A_TASK in text:
        return f"an executor ran out of memory: {_MORE_MEMORY}"
    return "the driver ran out of memory: ask for more `driver_memory` in `resource_profile`"


def _want_of_room(text: str) -> str | None:
    """Which of a disk's words say that it is full; None: none of ours is."""
    ours = "\n".join(line for line in text.splitlines() if _OF_THE_STORE not in line)
    return next((mark for mark in _NO_SPACE if mark in ours), None)


def _full_text(error: Exception) -> str:
    """The message and those of its causes in Java."""
    java = getattr(error, "_origin", None) or getattr(error, "java_exception", None)
    parts = [str(error)]
    while java is not None and len(parts) < 20:
        parts.append(str(java.toString()))
        java = java.getCause()
    return "\n".join(parts)


def _innermost_class(error: Exception, text: str) -> tuple[str, str] | None:
    """Spark's error class and its message without the plan: the innermost one, since outer ones name the place only."""
    found = [match.groups() for match in _CLASSED.finditer(text) if match[1] not in _WRAPPERS]
    if found:
        return found[-1][0], _without_plan(found[-1][1])
    condition = error.getCondition() if isinstance(error, PySparkException) else None
    if condition and condition not in _WRAPPERS:
        return condition, _without_plan(str(error))
    return None


def _without_plan(message: str) -> str:
    return re.split(r";?\n", message.strip(), maxsplit=1)[0].strip()


def _first_line(text: str, *marks: str) -> str:
    """The first line that holds one of `marks`, without the names of Java classes, and without repeating itself."""
    lines = [line.strip(" :") for line in text.splitlines() if line.strip() and not line.strip().startswith(("at ", _NO_NEWS))]
    chosen = next((line for line in lines if any(mark in line for mark in marks)), lines[0] if lines else "")
    return re.split(r":\s{2,}", _JAVA_CLASS.sub("", chosen), maxsplit=1)[0]
