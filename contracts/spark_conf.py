"""Spark's settings, the same for whoever submits a job and for the job itself. No secret is among them: the job hands the
storage keys to Hadoop at run time, so that they show in no command line, pod or event log."""

from urllib.parse import urlsplit


def spark_conf(s3_endpoint: str, s3_region: str, *, shuffle_partitions: int | None = None) -> dict[str, str]:
    """Settings of a `SparkSession` that reads and writes Stratum's datasets.

    Args:
        s3_endpoint: `http://host:port` or `https://host`.
        s3_region: the name that requests are signed for.
        shuffle_partitions: partitions after a shuffle, before Spark merges small ones; None keeps Spark's default.
    """
    conf = _SESSION | _COMMITTER | _s3a(s3_endpoint, s3_region)
    if shuffle_partitions is not None:
        conf["spark.sql.shuffle.partitions"] = str(shuffle_partitions)
    return conf


_SESSION = {
    "spark.ui.enabled": "false",
    "spark.log.level": "WARN",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A query names declared views only: no files as tables, no ${variables} of the configuration.
    "spark.sql.runSQLOnFiles": "false",
    "spark.sql.variable.substitute": "false",
}

_COMMITTER = {
    # Files become visible at job commit, all at once, without renames, which S3 does not have.
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
    "spark.hadoop.fs.s3a.committer.name": "magic",
}


def _s3a(endpoint: str, region: str) -> dict[str, str]:
    settings = {
        "endpoint": endpoint,
        "endpoint.region": region,
        "path.style.access": "true",
        "connection.ssl.enabled": str(urlsplit(endpoint).scheme == "https").lower(),
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        # Names of files are unique, so S3A need not ask the store before each thing that it makes.
        "performance.flags": "create,delete,mkdir",
        # A dead store is reported within minutes: the SDK's and S3A's retries multiply, and S3A's defaults reach hours.
        "connection.establish.timeout": "15s",
        "connection.timeout": "60s",
        "attempts.maximum": "3",
        "retry.limit": "5",
        "retry.interval": "500ms",
        "retry.throttle.limit": "10",
        "retry.throttle.interval": "500ms",
    }
    return {f"spark.hadoop.fs.s3a.{name}": value for name, value in settings.items()}
