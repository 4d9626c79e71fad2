-- Ali-CCP's lines: what is wrong with one, what it holds, and the damage of a file.
--
-- A skeleton line is `sample_id,click,conversion,common_index,n,features`, a line of common features
-- `common_index,n,features`, with `features` n times `field \x02 id \x03 value`, joined by `\x01`.
--
-- `v` are the values of a line, and the variable `fields` lists the fields.

CREATE MACRO is_whole(text) AS regexp_full_match(text, '\d{1,18}');
CREATE MACRO are_features(text, field) AS regexp_full_match(text,
    '(?:' || field || '\x02\d{1,18}\x03[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?(?:\x01|$))*');

-- The first thing that is wrong; NULL where nothing is.
CREATE MACRO labelled(v) AS CASE
    WHEN v[1] = '' THEN 'no sample_id'
    WHEN NOT is_whole(v[1]) THEN 'sample_id is not a whole number of at most 18 digits'
    WHEN v[2] NOT IN ('0', '1') THEN 'click is not 0 or 1'
    WHEN v[3] NOT IN ('0', '1') THEN 'conversion is not 0 or 1'
END;
CREATE MACRO featured(v) AS CASE
    WHEN NOT is_whole(v[-2]) THEN 'the number of features is not a whole number'
    WHEN v[-2]::BIGINT <> if(v[-1] = '', 0, len(string_split(v[-1], chr(1))))
        THEN 'the number of features is wrong'
    WHEN are_features(v[-1], '(?:' || array_to_string(getvariable('fields'), '|') || ')') THEN NULL
    WHEN are_features(v[-1], '[^\x01\x02\x03]*') THEN 'a field that is not one of the 23'
    ELSE 'a feature that is not a field, an id of at most 18 digits and a number'
END;
CREATE MACRO wrong_skeleton(v) AS CASE
    WHEN len(v) <> 6 THEN 'not 6 columns'
    ELSE coalesce(labelled(v), featured(v))
END;
CREATE MACRO wrong_common(v) AS CASE
    WHEN len(v) <> 3 THEN 'not 3 columns'
    WHEN v[1] = '' THEN 'an empty common_index'
    ELSE featured(v)
END;

-- Of features with a `\x01` before each: a field's first id; and its first ids with their values.
CREATE MACRO one(features, field) AS
    try_cast(regexp_extract(features, '\x01' || field || '\x02(\d+)', 1) AS BIGINT);
CREATE MACRO parts(features, field) AS string_split(features, chr(1) || field || chr(2))[2:];
CREATE MACRO many(features, field, most) AS list_transform(
    parts(features, field)[:most],
    lambda x: regexp_extract(x, '^(\d+)\x03([^\x01]*)', ['id', 'weight'])
)::STRUCT(id BIGINT, weight FLOAT)[];

-- The lines of a part's files, with their fields beside these columns; `rowid + 1` is their number.
CREATE TABLE common (wrong VARCHAR, begins VARCHAR, index VARCHAR);
CREATE TABLE impressions (
    wrong VARCHAR, begins VARCHAR, sample_id BIGINT, click BOOLEAN, conversion BOOLEAN, index VARCHAR
);

-- What is wrong with them.
CREATE MACRO twice() AS TABLE
    SELECT index, line FROM (
        SELECT index, rowid AS line, row_number() OVER (PARTITION BY index ORDER BY rowid) AS n
        FROM common WHERE index IS NOT NULL
    ) WHERE n > 1;
CREATE MACRO damage_of_common() AS TABLE
    SELECT wrong AS reason, rowid AS line, begins FROM common
    UNION ALL SELECT 'the common_index of an earlier line', line, index FROM twice();
CREATE MACRO damage_of_impressions() AS TABLE
    SELECT wrong AS reason, rowid AS line, begins FROM impressions
    UNION ALL SELECT
        if(index = '', 'no common_index', 'its common_index has no line of common features'),
        impressions.rowid, concat_ws(',', sample_id, click::INT, conversion::INT, index)
    FROM impressions ANTI JOIN common USING (index) WHERE index IS NOT NULL;
