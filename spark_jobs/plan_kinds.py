"""Which nodes a parsed query may consist of: the classes of Spark's trees that a SELECT over views needs, and nothing else.

What Spark 4.1's parser can make and is in none of these sets: commands and scripts, names of tables, columns or functions that are
worked out (`IDENTIFIER(…)`), parameters, tables as arguments, values of clock and session, hints, samples, time travel,
VALUES that were worked out before anybody saw them.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLANS = _words(
    """
    Aggregate Deduplicate Distinct Except Filter Generate GlobalLimit Intersect Join LateralJoin LocalLimit
    Offset OneRowRelation Pivot Project Sort SubqueryAlias Union UnresolvedHaving UnresolvedInlineTable
    UnresolvedRelation UnresolvedSubqueryColumnAliases UnresolvedTVFAliases UnresolvedTableValuedFunction UnresolvedWith
    Unpivot WithWindowDefinition
    """
)

SUBQUERIES = _words("Exists LateralSubquery ListQuery ScalarSubquery")
"""Expressions that hold a plan."""

EXPRESSIONS = SUBQUERIES | _words(
    """
    Add AggregateExpression Alias And AnyValue AttributeReference BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CaseWhen Cast
    Coalesce Collate Concat CreateNamedStruct Cube CurrentRow$ Divide EqualNullSafe EqualTo First GreaterThan
    GreaterThanOrEqual GroupingSets ILike In InSubquery IntegralDivide IsNotNull IsNull LambdaFunction Last LessThan
    LessThanOrEqual Like LikeAll LikeAny Literal Lower MultiAlias Multiply NamePlaceholder$ NamedArgumentExpression Not
    NotLikeAll NotLikeAny Or Overlay RLike Remainder Rollup SemiStructuredExtract ShiftLeft ShiftRight ShiftRightUnsigned
    SortOrder SpecifiedWindowFrame StringLocate StringTrim StringTrimLeft StringTrimRight Substring Subtract TimestampAdd
    TimestampDiff UnaryMinus UnaryPositive UnboundedFollowing$ UnboundedPreceding$ UnresolvedAlias UnresolvedAttribute
    UnresolvedCollation UnresolvedExtractValue UnresolvedFunction UnresolvedGenerator UnresolvedNamedLambdaVariable
    UnresolvedOrdinal UnresolvedRegex UnresolvedStar UnresolvedStarExceptOrReplace UnresolvedWindowExpression
    UnspecifiedFrame$ WindowExpression WindowSpecDefinition
    """
)

CLOCK_OR_SESSION = _words(
    """
    CurrentCatalog CurrentDatabase CurrentDate CurrentTime CurrentTimeZone CurrentTimestamp
    CurrentUser InputFileBlockLength InputFileBlockStart InputFileName LocalTimestamp MonotonicallyIncreasingID Now
    SessionUser SparkPartitionID
    """
)
"""Expressions that the analyzer makes of plain names, such as `user`, where there is no such column."""

FOREIGN_CODE = _words("CallMethodViaReflection TryReflect")
"""Nothing that is allowed becomes one of these; should a name ever reach one by a way not thought of, it still does not run."""
