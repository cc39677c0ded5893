"""Several files as one table. Spark knows fewer types than Arrow, so files of one sealed schema may differ in Arrow's types."""

from collections.abc import Sequence

import pyarrow as pa

from stratum.errors import CorruptDataset


def one_table(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows. Columns whose types differ between the files get the type that holds the values of all of them.

    Raises:
        CorruptDataset: the files have other types than a sealed dataset can have.
    """
    first = tables[0].schema
    if any(table.schema.names != first.names for table in tables):
        raise CorruptDataset("The files do not have the same columns.")
    fields = [_common([table.schema.field(i) for table in tables]) for i in range(len(first))]
    schema = pa.schema(fields, first.metadata)
    try:
        return pa.concat_tables([table.cast(schema) for table in tables])
    except (pa.ArrowException, ValueError) as error:
        raise CorruptDataset(f"The files cannot be read as one table: {str(error).strip()}") from error


def _common(fields: Sequence[pa.Field]) -> pa.Field:
    """One field for the same column of all files; what agrees already stays as it is."""
    first = fields[0]
    if all(field.equals(first) for field in fields):
        return first
    widest = _widest(first)
    if other := next((field for field in fields if _widest(field) != widest), None):
        raise CorruptDataset(f"The files do not agree: the column {first.name!r} is {first.type} in one, and {other.type} in another.")
    return widest


def _widest(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _widest_type(field.type))


def _widest_type(kind: pa.DataType) -> pa.DataType:
    """Among the types that Spark takes for the same as `kind`, the one that holds the values of them all."""
    if pa.types.is_dictionary(kind):
        return _widest_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_widest_type(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_widest_type(kind.key_type), _widest_type(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([_widest(kind.field(i)) for i in range(kind.num_fields)])
    return _WIDER.get(kind, kind)


_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.string(): pa.large_string(),
    pa.string_view(): pa.large_string(),
    pa.binary(): pa.large_binary(),
    pa.binary_view(): pa.large_binary(),
}
