"""The names that the policy knows: what is safe, and what is not.

Of statements, table functions, engines, dictionary sources and input formats the safe ones are
listed, so that what a new engine brings is refused. Of scalar functions and settings, of which
there are thousands, the unsafe ones are.
"""

from __future__ import annotations


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


STATEMENTS = _names(
    """SELECT WITH FROM INSERT CREATE ALTER DROP DETACH ATTACH UNDROP TRUNCATE RENAME EXCHANGE
    REPLACE SHOW DESCRIBE DESC EXISTS EXPLAIN OPTIMIZE SET USE KILL CHECK DELETE UPDATE SYSTEM"""
)
REFUSED_STATEMENTS = _names("BACKUP RESTORE GRANT REVOKE MOVE WATCH EXECUTE COPY PARALLEL")
WITH_ENGINE = _names("CREATE ATTACH REPLACE ALTER EXPLAIN")
CREATABLE = _names("TABLE VIEW DATABASE DICTIONARY FUNCTION MATERIALIZED TEMPORARY INDEX")
SYSTEM = _names("FLUSH RELOAD SYNC START STOP REFRESH WAIT DROP CLEAR CANCEL")
SAFE_TABLE_FUNCTIONS = _names(
    """numbers numbers_mt zeros zeros_mt generaterandom generateseries generate_series primes values
    sqlstandardvalues null view viewifpermitted viewexplain merge mergetreeindex
    mergetreeprojection mergetreetextindex mergetreeanalyzeindexes mergetreecodecblockcounts
    dictionary format loop input"""
)
# Functions that read files, run programs or use the network; the engine's own list of table
# functions is added when it starts.
UNSAFE_FUNCTIONS = _names(
    """file filecluster url urlcluster s3 s3cluster gcs oss cosn hdfs hdfscluster remote
    remotesecure cluster clusterallreplicas executable filesystem mysql postgresql mongodb redis
    sqlite odbc jdbc bigquery azureblobstorage azureblobstoragecluster iceberg deltalake hudi
    paimon python arrowstream eval ytsaurus disk catboostevaluate modelevaluate aiclassify
    aiembed aiextract aifilter aigenerate airedact aisimilarity aitranslate"""
)
SAFE_ENGINES = _names(
    """memory log tinylog stripelog null view materializedview set join buffer merge dictionary
    generaterandom alias atomic"""
)
AFTER_A_COLUMN = _names("ORDER PARTITION PRIMARY SAMPLE TTL SETTINGS COMMENT AS TO ASC DESC")
FILE_CLAUSES = frozenset({("FROM", "INFILE"), ("INTO", "OUTFILE")})
SAFE_SOURCES = frozenset({"CLICKHOUSE", "NULL"})
# Settings that choose another parser, hold SQL in a string, or name files and hosts.
UNSAFE_SETTINGS = _names(
    """dialect polyglot_dialect implicit_select implicit_table_at_top_level select order sort filter
    url_base s3_base rename_files_after_processing input_format_record_errors_file_path
    output_format_schema format_avro_schema_registry_url parallel_replicas_custom_key
    cluster_for_parallel_replicas http_make_head_request promql_database promql_table disk
    function_implementation default_table_engine default_temporary_table_engine
    default_database_engine"""
)
UNSAFE_SETTING_PREFIXES = (
    "additional_",
    "ai_",
    "allow_experimental_ai",
    "allow_introspection",
    "format_schema",
    "format_template",
)
# Formats whose data are values and never expressions, and that name no files.
SAFE_INPUT_FORMAT_PREFIXES = (
    "csv",
    "tsv",
    "tabseparated",
    "raw",
    "tskv",
    "json",
    "ndjson",
    "geojson",
    "bson",
    "native",
    "rowbinary",
    "parquet",
    "arrow",
    "orc",
    "msgpack",
    "line",
)
SAFE_INPUT_FORMATS = frozenset({"avro", "values"})
DEFAULT_DATABASE = "default"
