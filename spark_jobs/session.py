"""The Spark session of a run."""

from collections.abc import Mapping

from pyspark.sql import SparkSession

_PATIENCE = {
    # Executors are waited for where they are needed, not for seconds before anything begins.
    "spark.scheduler.minRegisteredResourcesRatio": "0",
    # Spark's JVM would exit after a few lost executors, before the task that needs them has failed and can say why.
    "spark.executor.maxNumFailures": "1000000",
}
"""How Spark waits for executors: `spark_jobs.executors` watches over them and says what is wrong."""

_PARSING = {
    # VALUES stay as they were written until they have been judged: the parser would make rows of them at once.
    "spark.sql.parser.eagerEvalOfUnresolvedInlineTable": "false",
}


def start_session(name: str, conf: Mapping[str, str], *, access_key: str, secret_key: str) -> SparkSession:
    """Start Spark with `conf`; settings given to `spark-submit` that `conf` lacks stay as they are.

    The keys go to Hadoop's configuration in memory, which travels to executors with each read and write.
    """
    builder = SparkSession.builder.appName(name)
    for key, value in (_PATIENCE | _PARSING | dict(conf)).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("fs.s3a.access.key", access_key)
    hadoop.set("fs.s3a.secret.key", secret_key)
    return spark
