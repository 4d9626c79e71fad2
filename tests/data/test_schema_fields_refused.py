"""Fields that make no sense: each a message with file, line and what would."""

import pytest
from schema_files import spoiled

from dtn_jax.datasets.logs.schema.schema_file import loads
from dtn_jax.errors import UserError


def refused(text):
    with pytest.raises(UserError) as caught:
        loads(text, "shop.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("x: {knid: bag}", "unknown key of field 'x': 'knid'. Did you mean 'kind'?"),
        (
            "x: {kind: categoricl}",
            "unknown kind of field 'x': 'categoricl'. Did you mean 'categorical'?",
        ),
        ("x: {kind: [bag]}", "kind of field 'x': expected one of categorical, bag"),
        (
            "x: {encoder: hsh, size: 3}",
            "unknown encoder of a categorical field 'hsh'. Did you mean 'hash'?",
        ),
        (
            "x: {encoder: buckets}",
            "The choices are: vocabulary, hash. Fields of the kind numeric have it.",
        ),
        (
            "x: {buckets: 8}",
            "buckets is an option of buckets; field 'x' is categorical with the encoder vocabulary",
        ),
        (
            "x: {kind: numeric, min_count: 2}",
            "min_count is an option of vocabulary; field 'x' is numeric",
        ),
        ("x: {kind: numeric, table: user}", "table is an option of categorical or bag"),
        ("x: {kind: numeric, encoder: standardise, buckets: 8}", "buckets is an option of buckets"),
        ("x: {encoder: hash, size: 9, min_count: 2}", "min_count is an option of vocabulary"),
        (
            "x: {size: 9}",
            "size is an option of hash; field 'x' is categorical with the encoder vocabulary",
        ),
        ("x: {pooling: mean}", "pooling is an option of bag"),
        ("x: {log: true}", "log is an option of numeric"),
        ("x: {kind: bag, length: 3}", "length is an option of vector"),
        ("x: {kind: bag, cross: [user, item]}", "cross is an option of categorical"),
        (
            "x: {encoder: hash}",
            "field 'x' has the encoder hash: expected a size, such as size: 1e6",
        ),
        (
            "x: {encoder: hash, size: 0}",
            "size of field 'x': expected a whole number, at least 1, got '0'",
        ),
        ("x: {encoder: hash, size: 1.5}", "expected a whole number, at least 1, got '1.5'"),
        (
            "x: {encoder: hash, size: 1e300}",
            "expected a whole number, at least 1, at most 2,147,483,647, got '1e300'",
        ),
        (f"x: {{min_count: 1{'0' * 60}}}", "min_count of field 'x': expected a whole number, at"),
        (
            "x: {kind: numeric, buckets: 1e12}",
            "buckets of field 'x': expected a whole number, at least 2, at most 1,000,000",
        ),
        (
            "x: {kind: vector, length: 1e12}",
            "length of field 'x': expected a whole number, at least 1, at most 1,000,000",
        ),
        ("x: {encoder: hash, size: 1e999}", "expected a whole number"),
        ("x: {encoder: hash, size: 12:30}", "expected a whole number, at least 1, got '12:30'"),
        ("x: {encoder: hash, size: 0x10}", "expected a whole number, at least 1, got '0x10'"),
        ("x: {encoder: hash, size: many}", "expected a whole number, at least 1, got 'many'"),
        ("x: {encoder: hash, size: }", "expected a whole number, at least 1, got nothing"),
        (
            "x: {encoder: hash, size: 9, functions: 3}",
            "functions of field 'x': expected 1 or 2, got '3'",
        ),
        (
            "x: {kind: numeric, buckets: 1}",
            "buckets of field 'x': expected a whole number, at least 2",
        ),
        ("x: {kind: numeric, log: maybe}", "log of field 'x': expected true or false, got 'maybe'"),
        ("x: {kind: vector}", "field 'x' is a vector: expected the length of its lists"),
        (
            "x: {kind: vector, length: 0}",
            "length of field 'x': expected a whole number, at least 1",
        ),
        ("x: {kind: bag, pooling: avg}", "unknown pooling of field 'x': 'avg'"),
        (
            "x: {kind: bag, encoder: hash, size: 9, functions: 2, pooling: mean}",
            "field 'x' has two rows a value, which are added: pooling: mean would divide by the "
            "number of rows, not of values; expected pooling: sum, or functions: 1",
        ),
        (
            "x: {kind: bag, encoder: hash, size: 9, functions: 2, pooling: max}",
            "pooling: max would choose among single rows; expected pooling: sum, or functions: 1",
        ),
        ("x: {kind: bag, keep: newest}", "unknown keep of field 'x': 'newest'"),
        ("x: {keep: last}", "keep is an option of bag or sequence; field 'x' is categorical"),
        ("x: {kind: sequence}", "field 'x' is a sequence: expected a target, such as target: item"),
        ("x: {kind: sequence, target: itm}", "unknown target of 'x': 'itm'"),
        ("x: {kind: sequence, target: item, weights: w}", "weights is an option of bag"),
        ("x: {kind: sequence, target: item, min_count: 2}", "min_count is an option of vocabulary"),
        ("x: {kind: sequence, target: item, table: t}", "table is an option of categorical or bag"),
        ("x: {kind: sequence, target: item, value: a + 1}", "is a sequence: expected a column of"),
        ("x: {kind: bag, beside: seen}", "beside is an option of sequence or companion; field 'x'"),
        (
            "x: {kind: sequence, beside: seen, max_values: 3}",
            "field 'x' stands beside 'seen', whose max_values it has: expected beside without max",
        ),
        (
            "x: {kind: sequence, beside: seen, target: item}",
            "field 'x' stands beside 'seen', whose target it has: expected beside without target",
        ),
        ("x: {kind: sequence, beside: seen, length: 2}", "field 'x' is companion with the encoder"),
        (
            "x: {kind: sequence, beside: seen, encoder: hsh}",
            "unknown encoder of a companion field 'hsh'. Did you mean 'hash'? The choices are: voc",
        ),
        (
            "x: {kind: sequence, beside: item}",
            "'x' stands beside 'item', which is categorical: expected a sequence with a target",
        ),
        (
            "x: {kind: sequence, beside: h}",
            "'x' stands beside 'h', which is no field: expected a sequence with a target",
        ),
        ("x: {kind: bag, pooling: max, weights: w}", "max pooling has no use for weights"),
        (
            "x: {kind: bag, max_values: 0}",
            "max_values of field 'x': expected a whole number, at least 1",
        ),
        (
            "x: {kind: bag, longest: -1}",
            "longest of field 'x': expected a whole number, at least 0",
        ),
        ("x: {kind: bag, value: a + 1}", "field 'x' is a bag: expected a column of lists"),
        ("x: {unknown: {a: b}}", "unknown of field 'x': expected a list of texts such as [a, b]"),
        ("x: {unknown: [a, [b]]}", "expected a list of texts such as [a, b], got a list"),
        ("x: {unknown: [a, ]}", None),
        ("x: {column: a, value: b}", "field 'x' has both column and value: expected one of them"),
        ("x: {value: a, cross: [user, item]}", "field 'x' has both value and cross"),
        ("x: {value: hour(}", "value 'hour(': expected a column"),
        ("x: {value: huor(t)}", "unknown function 'huor'. Did you mean 'hour'?"),
        ("x: {value: 3}", "value '3': it reads no column"),
        ("x: {cross: [user]}", "cross of field 'x': expected two fields"),
        ("x: {cross: [user, user]}", "cross of field 'x': expected two fields"),
        (
            "x: {cross: [user, itm]}",
            "field 'x' crosses 'itm', which is no field. Did you mean 'item'? A cross is made of "
            "fields of this file: add itm to `fields`",
        ),
        ("x: {cross: [user, x]}", "field 'x' crosses 'x', which is a cross itself"),
        (
            "x: {cross: [user, item], unknown: [0]}",
            "'unknown' is an option of the fields that it crosses",
        ),
        (
            "x: {table: item, min_count: 2}",
            "shares table 'item' with 'item' (line 3), but has min_count 2, not 1",
        ),
        ("x: {table: item, encoder: hash, size: 5}", "has encoder hash, not vocabulary"),
        ("x: {cross: [user, item], table: item}", "but has cross ['user', 'item'], not none"),
        ("click: {column: clicks}", "'click' is a task and cannot also be a field"),
        (
            "x: {column: click}",
            "field 'x' reads 'click', a column of the label of task 'click' (line 6)",
        ),
        ("x: {value: click + 1}", "the model would read the answer"),
        ("x: {value: missing(order)}", "reads 'order', a column of the label of task 'order'"),
        ("x: {kind: bag, weights: click}", "field 'x' reads 'click'"),
    ],
)
def test_fields(field, part):
    if part is None:  # a comma at the end is no mistake
        assert loads(spoiled(field=field)).fields[2].unknown == ("a",)
        return
    message = refused(spoiled(field=field))
    assert message.startswith("shop.yaml, line 4: "), message
    assert part in message


def test_a_cross_of_what_cannot_be_crossed():
    text = spoiled(field="p: {kind: numeric}\n  q: {cross: [user, p]}")
    assert refused(text).startswith("shop.yaml, line 5: field 'q' crosses 'p', which is numeric")
    text = spoiled(field="p: {cross: [user, item]}\n  q: {cross: [user, p]}")
    assert "line 5: field 'q' crosses 'p', which is a cross itself" in refused(text)


@pytest.mark.parametrize(
    ("one", "other", "part"),
    [
        ("size: 5", "size: 6", "has size 6, not 5"),
        ("size: 5", "size: 5, functions: 2", "has functions 2, not 1"),
    ],
)
def test_a_table_of_hashed_values_has_one_size(one, other, part):
    text = f"p: {{encoder: hash, {one}}}\n  q: {{kind: bag, encoder: hash, table: p, {other}}}"
    assert f"shares table 'p' with 'p' (line 4), but {part}" in refused(spoiled(field=text))


def test_a_table_of_its_own_is_not_shared():
    text = spoiled(field="p: {kind: numeric}\n  q: {table: p}")
    assert "line 5: field 'q' shares table 'p' with 'p' (line 4)" in refused(text)
