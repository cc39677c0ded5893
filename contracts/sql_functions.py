"""Which of Spark's built-in functions a query may call. A function in none of these sets is unknown, hence refused.

A test compares the sets with the function registry of the pinned Spark, so that an upgrade brings every new function up for
a decision.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED = _names(
    """
    abs acos acosh add_months aes_decrypt aggregate and any any_value approx_count_distinct array array_agg
    array_append array_compact array_contains array_distinct array_except array_insert array_intersect array_join
    array_max array_min array_position array_prepend array_remove array_repeat array_size array_sort array_union
    arrays_overlap arrays_zip ascii asin asinh assert_true atan atan2 atanh avg base64 between bigint bin binary
    bit_and bit_count bit_get bit_length bit_or bit_xor bitmap_and_agg bitmap_bit_position bitmap_bucket_number
    bitmap_construct_agg bitmap_count bitmap_or_agg bool_and bool_or boolean bround btrim cardinality case cast cbrt
    ceil ceiling char char_length character_length chr coalesce collate collation collect_list collect_set concat
    concat_ws contains conv convert_timezone corr cos cosh cot count count_if count_min_sketch covar_pop covar_samp
    crc32 csc cume_dist date date_add date_diff date_format date_from_unix_date date_part date_sub date_trunc
    dateadd datediff datepart day dayname dayofmonth dayofweek dayofyear decimal decode degrees dense_rank div
    double e element_at elt encode endswith equal_null every exists exp explode explode_outer expm1 extract
    factorial filter find_in_set first first_value flatten float floor forall format_number format_string from_csv
    from_json from_unixtime from_utc_timestamp get get_json_object getbit greatest grouping grouping_id hash hex
    hll_sketch_agg hll_sketch_estimate hll_union hll_union_agg hour hypot if ifnull ilike in initcap inline
    inline_outer instr int is_valid_utf8 is_variant_null isnan isnotnull isnull json_array_length json_object_keys
    json_tuple kurtosis lag last last_day last_value lcase lead least left len length levenshtein like listagg ln
    locate log log10 log1p log2 lower lpad ltrim luhn_check make_date make_dt_interval make_interval make_time
    make_timestamp make_timestamp_ltz make_timestamp_ntz make_valid_utf8 make_ym_interval map map_concat
    map_contains_key map_entries map_filter map_from_arrays map_from_entries map_keys map_values map_zip_with mask
    max max_by md5 mean median min min_by minute mod mode month monthname months_between named_struct nanvl negative
    next_day not nth_value ntile nullif nullifzero nvl nvl2 octet_length or overlay parse_json parse_url
    percent_rank percentile percentile_cont percentile_disc pi pmod posexplode posexplode_outer position positive
    pow power printf quarter quote radians raise_error range rank reduce regexp regexp_count regexp_extract
    regexp_extract_all regexp_instr regexp_like regexp_replace regexp_substr regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right rint rlike round
    row_number rpad rtrim schema_of_csv schema_of_json schema_of_variant schema_of_variant_agg sec second sentences
    sequence session_window sha sha1 sha2 shiftleft shiftright shiftrightunsigned sign signum sin sinh size skewness
    slice smallint some sort_array soundex space split split_part sqrt st_asbinary st_geogfromwkb st_geomfromwkb
    st_setsrid st_srid stack startswith std stddev stddev_pop stddev_samp str_to_map string string_agg struct substr
    substring substring_index sum tan tanh theta_difference theta_intersection theta_intersection_agg
    theta_sketch_agg theta_sketch_estimate theta_union theta_union_agg time time_diff time_trunc timestamp
    timestamp_micros timestamp_millis timestamp_seconds tinyint to_binary to_char to_csv to_date to_json to_number
    to_time to_timestamp to_timestamp_ltz to_timestamp_ntz to_unix_timestamp to_utc_timestamp to_varchar
    to_variant_object transform transform_keys transform_values translate trim trunc try_add try_aes_decrypt try_avg
    try_divide try_element_at try_make_interval try_make_timestamp try_make_timestamp_ltz try_make_timestamp_ntz
    try_mod try_multiply try_parse_json try_parse_url try_subtract try_sum try_to_binary try_to_date try_to_number
    try_to_time try_to_timestamp try_url_decode try_validate_utf8 try_variant_get typeof ucase unbase64 unhex
    unix_date unix_micros unix_millis unix_seconds unix_timestamp upper url_decode url_encode validate_utf8 var_pop
    var_samp variance variant_explode variant_explode_outer variant_get weekday weekofyear when width_bucket window
    window_time xxhash64 year zeroifnull zip_with
    """
)
"""Same arguments, same answer, whatever the machine, the time or the partitions."""

ALLOWED_SYNTAX = frozenset({"timestampadd", "timestampdiff", "try_cast"})
"""Allowed as well: they look like functions and are part of the grammar, so Spark's registry does not list them."""

ORDER_DEPENDENT = _names(
    """
    any_value array_agg collect_list collect_set first first_value last last_value listagg mode string_agg
    """
)
"""Allowed functions whose result follows the order of rows, which Spark does not fix unless the query does."""

TABLE_FUNCTIONS = _names(
    """
    range explode explode_outer inline inline_outer json_tuple posexplode posexplode_outer stack variant_explode
    variant_explode_outer
    """
)
"""Functions that may stand in FROM."""

CLOCK_WITHOUT_ARGUMENTS = frozenset({"to_unix_timestamp", "unix_timestamp"})
"""Allowed functions that mean the present time when called with nothing."""

CLOCK_NAMES = frozenset({"current_time", "localtimestamp"})
"""Clock functions that look like columns without their parentheses. In backquotes, or after the name of a view, they are columns."""

_DENIED_BY_REASON = {
    "runs foreign code": """
        java_method reflect try_reflect
    """,
    "reads files or other outside resources": """
        from_avro from_protobuf schema_of_avro to_avro to_protobuf
    """,
    "parses XML, which can name outside entities": """
        from_xml schema_of_xml to_xml xpath xpath_boolean xpath_double xpath_float xpath_int xpath_long xpath_number
        xpath_short xpath_string
    """,
    "tells about the running system, not about the data": """
        collations current_catalog current_database current_schema current_timezone current_user
        input_file_block_length input_file_block_start input_file_name python_worker_logs session_user
        spark_partition_id sql_keywords user version
    """,
    "depends on the clock": """
        curdate current_date current_time current_timestamp localtimestamp now
    """,
    "is random": """
        aes_encrypt monotonically_increasing_id rand randn random randstr shuffle uniform uuid
    """,
    "depends on how rows are partitioned; use `percentile` or `median`": """
        approx_percentile histogram_numeric percentile_approx
    """,
    "depends on how rows are partitioned": """
        approx_top_k approx_top_k_accumulate approx_top_k_combine approx_top_k_estimate kll_merge_agg_bigint
        kll_merge_agg_double kll_merge_agg_float kll_sketch_agg_bigint kll_sketch_agg_double kll_sketch_agg_float
        kll_sketch_get_n_bigint kll_sketch_get_n_double kll_sketch_get_n_float kll_sketch_get_quantile_bigint
        kll_sketch_get_quantile_double kll_sketch_get_quantile_float kll_sketch_get_rank_bigint
        kll_sketch_get_rank_double kll_sketch_get_rank_float kll_sketch_merge_bigint kll_sketch_merge_double
        kll_sketch_merge_float kll_sketch_to_string_bigint kll_sketch_to_string_double kll_sketch_to_string_float
    """,
}
DENIED = {name: reason for reason, names in _DENIED_BY_REASON.items() for name in _names(names)}
"""Refused functions, each with the reason, fit to follow "`name` "."""
