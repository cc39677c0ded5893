"""The Spark session of a run."""

from collections.abc import Mapping

from pyspark.sql import SparkSession


def start_session(name: str, conf: Mapping[str, str], *, access_key: str, secret_key: str) -> SparkSession:
    """Start Spark with `conf`; settings given to `spark-submit` that `conf` lacks stay as they are.

    The keys go to Hadoop's configuration in memory, which travels to executors with each read and write.
    """
    # Spark would hold everything until most executors are there; they are waited for where they are needed, and told of there.
    builder = SparkSession.builder.appName(name).config("spark.scheduler.minRegisteredResourcesRatio", "0")
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("fs.s3a.access.key", access_key)
    hadoop.set("fs.s3a.secret.key", secret_key)
    return spark
