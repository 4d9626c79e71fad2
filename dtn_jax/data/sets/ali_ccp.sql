-- Ali-CCP's lines: whether one is as published, and what it holds.
--
-- A skeleton line is `sample_id,click,conversion,common_index,n,features`, a line of common features
-- `common_index,n,features`, with `features` n times `field \x02 id \x03 value`, joined by `\x01`.
--
-- `v` are the values of a line.

CREATE MACRO is_whole(text) AS regexp_full_match(text, '\d{1,18}');
CREATE MACRO featured(v) AS
    coalesce(try_cast(v[-2] AS BIGINT), -1) = if(v[-1] = '', 0, len(string_split(v[-1], chr(1))))
    AND regexp_full_match(v[-1],
        '(?:[^\x01\x02\x03]*\x02\d{1,18}\x03[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?(?:\x01|$))*');
CREATE MACRO good_skeleton(v) AS len(v) = 6 AND is_whole(v[1])
    AND v[2] IN ('0', '1') AND v[3] IN ('0', '1') AND featured(v);
CREATE MACRO good_common(v) AS len(v) = 3 AND v[1] <> '' AND featured(v);

-- Of features with a `\x01` before each: a field's first id; and its first ids with their values.
CREATE MACRO one(features, field) AS
    try_cast(regexp_extract(features, '\x01' || field || '\x02(\d+)', 1) AS BIGINT);
CREATE MACRO many(features, field, most) AS list_transform(
    string_split(features, chr(1) || field || chr(2))[2:][:most],
    lambda x: regexp_extract(x, '^(\d+)\x03([^\x01]*)', ['id', 'weight'])
)::STRUCT(id BIGINT, weight FLOAT)[];
