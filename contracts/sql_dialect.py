"""Spark's SQL as the guard reads it: no function is known, and reading takes work in proportion to the text.

sqlglot tries one reading after another, and each attempt may hold further attempts: nested `struct(`, `date(` or `decimal(`
double or treble its work with every level. So work is counted, and ends at a number of steps that follows from the text alone.
"""

from collections.abc import Collection

from sqlglot import exp
from sqlglot.dialects.dialect import DialectType
from sqlglot.dialects.spark import Spark
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokenizer_core import Token, TokenType

from contracts.errors import ContractError

MOST_WORDS = 20_000
"""And signs. Each takes time to read and to judge, whatever it says: of so many, about half a second. A list of 9,900 numbers has them."""
FEWEST_STEPS = 10_000
STEPS_PER_WORD = 3
"""A plain query takes one for each word; `date(a)` and its like take two or three."""
_CHARACTERS_PER_STEP = 256
"""A word may be as long as the text, and is compared with keywords each time it is read."""
_STEPS_OF_TOKENIZER = 5
_CHARACTERS_PER_STEP_OF_TOKENIZER = 16
_MAX_INTERVAL_LENGTH = 200


class TooMuchWork(ContractError):
    """A text takes more steps to read than its length allows."""


class TooManyWords(ContractError):
    """A text has more words than are read."""

    def __init__(self, words: int) -> None:
        super().__init__(f"{words} words")
        self.words = words


class GuardedSpark(Spark):
    """Spark's dialect for one text: each call stays `Anonymous` under the very name that was written."""

    _steps_left: int | None = None

    def tokenize(self, sql: str, dialect: DialectType = None) -> list[Token]:
        """The words of `sql`, without comments: the parser would carry them from attempt to attempt."""
        tokens = super().tokenize(sql, dialect)
        if len(tokens) > MOST_WORDS:
            raise TooManyWords(len(tokens))
        if self._steps_left is None:
            self._steps_left = FEWEST_STEPS + STEPS_PER_WORD * len(tokens)
        else:  # the parser asks once more about a single word, at each attempt
            self.spend(_STEPS_OF_TOKENIZER + len(sql) // _CHARACTERS_PER_STEP_OF_TOKENIZER)
        for token in tokens:
            token.comments = []
        return tokens

    def spend(self, steps: int) -> None:
        """Count `steps`; raises `TooMuchWork` when there are no more."""
        assert self._steps_left is not None  # noqa: S101 - nothing is parsed before it is tokenized
        self._steps_left -= steps
        if self._steps_left < 0:
            raise TooMuchWork

    class Parser(SparkParser):
        """Spends a step for each word that it reads, again or not."""

        FUNCTIONS = {}
        dialect: "GuardedSpark"

        def _advance(self, times: int = 1) -> None:
            super()._advance(times)
            self.dialect.spend(1 + len(self._curr.text) // _CHARACTERS_PER_STEP)

        def _warn_unsupported(self) -> None:
            """Say nothing: what cannot be parsed is refused by name a moment later."""

        def _parse_pipe_syntax_query(self, query: exp.Query) -> exp.Query | None:
            self.raise_error("pipes are not allowed: write a SELECT")
            return None

        def _parse_hint(self) -> exp.Hint | None:
            if self._match(TokenType.HINT):
                self.raise_error("hints are not allowed: the platform chooses how the query runs")
            return None

        def _parse_field(
            self, any_token: bool = False, tokens: Collection[TokenType] | None = None, anonymous_func: bool = False
        ) -> exp.Expr | None:
            """After a dot comes `anonymous_func`; for `a.f().g()` the parser copies all that stands before each call."""
            field = super()._parse_field(any_token, tokens, anonymous_func)
            if anonymous_func and isinstance(field, exp.Func | exp.Window):
                self.dialect.spend(self._index)
            return field

        def _parse_interval_span(self, this: exp.Expr, parse_function_unit: bool = True) -> exp.Interval:
            """The text is searched by an expression whose time grows with the square of its length."""
            if this.is_string and len(this.name) > _MAX_INTERVAL_LENGTH:
                self.raise_error(f"the text of an interval has at most {_MAX_INTERVAL_LENGTH} characters")
            return super()._parse_interval_span(this, parse_function_unit)

        def _parse_pivot_in(self) -> exp.In:
            """Spark has one FOR … IN; of several the parser would name every combination."""
            if self._prev.token_type is not TokenType.FOR:
                self.raise_error("PIVOT has one FOR … IN")
            return super()._parse_pivot_in()

        def _pivot_column_names(self, aggregations: list[exp.Expr]) -> list[str]:
            """None: they would be combined with every value, and nobody asks for the columns."""
            return []


def statements(text: str) -> list[exp.Expr]:
    """The statements of `text`.

    Raises:
        TooManyWords: it is too long.
        TooMuchWork: it nests in ways that take too many attempts to read.
        sqlglot.errors.SqlglotError: it is no SQL.
        RecursionError: it nests too deeply.
    """
    return [statement for statement in GuardedSpark().parse(text) if statement is not None]
