//! Which words before a parenthesis do no more than compute.
//!
//! A read whose answer got lost may be run again only if it changes nothing. Stored functions and
//! loadable ones may, and nobody can tell from outside; so a call counts as harmless only when it is
//! to one of the functions below, which both families document as built in and free of effects
//! (MariaDB, "Built-in Functions"; MySQL, "Built-In Function and Operator Reference"), or when the
//! word is no call at all. SLEEP, BENCHMARK, GET_LOCK, NEXTVAL and their like are left out on
//! purpose. A server prefers its own function to a stored one of the same name unless the name is
//! qualified, and a qualified name is never harmless here.

use super::statement::Token;

/// Whether a parenthesis behind this token begins nothing with consequences.
#[inline]
pub(super) fn is_harmless_before_parenthesis(before: Token<'_>) -> bool {
    match before {
        Token::Symbol(_) => true,
        Token::Text(_) => false, // a quoted name: somebody's own function
        Token::Word(word) => {
            let mut upper = [0; LONGEST];
            let Some(room) = upper.get_mut(..word.len()) else { return false };
            room.copy_from_slice(word);
            room.make_ascii_uppercase();
            let room: &[u8] = room;
            HARMLESS.binary_search_by(|known| known.as_bytes().cmp(room)).is_ok()
        }
    }
}

/// The longest name below.
const LONGEST: usize = 24;

/// Built-in functions without effects, types with lengths, and keywords that a parenthesis may
/// follow. Sorted.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "ABS", "ACOS", "ADDDATE", "ADDTIME", "AES_DECRYPT", "AES_ENCRYPT", "ALL", "AND", "ANY",
    "ANY_VALUE", "AS", "ASCII", "ASIN", "ATAN", "ATAN2", "AVG", "BETWEEN", "BIGINT", "BIN",
    "BINARY", "BIN_TO_UUID", "BIT", "BIT_AND", "BIT_COUNT", "BIT_LENGTH", "BIT_OR", "BIT_XOR",
    "BY", "CASE", "CAST", "CEIL", "CEILING", "CHAR", "CHARACTER", "CHARACTER_LENGTH", "CHARSET",
    "CHAR_LENGTH", "COALESCE", "COERCIBILITY", "COLLATION", "COLUMNS", "COMPRESS", "CONCAT",
    "CONCAT_WS", "CONNECTION_ID", "CONV", "CONVERT", "CONVERT_TZ", "COS", "COT", "COUNT", "CRC32",
    "CROSS", "CUME_DIST", "CURDATE", "CURRENT_DATE", "CURRENT_ROLE", "CURRENT_TIME",
    "CURRENT_TIMESTAMP", "CURRENT_USER", "CURTIME", "DATABASE", "DATE", "DATEDIFF", "DATETIME",
    "DATE_ADD", "DATE_FORMAT", "DATE_SUB", "DAY", "DAYNAME", "DAYOFMONTH", "DAYOFWEEK",
    "DAYOFYEAR", "DECIMAL", "DECODE", "DEFAULT", "DEGREES", "DENSE_RANK", "DISTINCT", "DIV",
    "DOUBLE", "ELSE", "ELT", "ENCODE", "ENUM", "ESCAPE", "EXCEPT", "EXISTS", "EXP", "EXPORT_SET",
    "EXTRACT", "EXTRACTVALUE", "FIELD", "FIND_IN_SET", "FIRST_VALUE", "FLOAT", "FLOOR", "FOR",
    "FORCE", "FORMAT", "FORMAT_BYTES", "FOUND_ROWS", "FROM", "FROM_BASE64", "FROM_DAYS",
    "FROM_UNIXTIME", "FULLTEXT", "GEOMFROMTEXT", "GET_FORMAT", "GREATEST", "GROUP", "GROUPING",
    "GROUP_CONCAT", "HAVING", "HEX", "HOUR", "IF", "IFNULL", "IGNORE", "IN", "INDEX",
    "INET6_ATON", "INET6_NTOA", "INET_ATON", "INET_NTOA", "INSERT", "INSTR", "INT", "INTEGER",
    "INTERSECT", "INTERVAL", "IS", "ISNULL", "IS_IPV4", "IS_IPV6", "IS_UUID", "JOIN",
    "JSON_ARRAY", "JSON_ARRAYAGG", "JSON_ARRAY_APPEND", "JSON_ARRAY_INSERT", "JSON_COMPACT",
    "JSON_CONTAINS", "JSON_CONTAINS_PATH", "JSON_DEPTH", "JSON_DETAILED", "JSON_EQUALS",
    "JSON_EXISTS", "JSON_EXTRACT", "JSON_INSERT", "JSON_KEYS", "JSON_LENGTH", "JSON_LOOSE",
    "JSON_MERGE", "JSON_MERGE_PATCH", "JSON_MERGE_PRESERVE", "JSON_NORMALIZE", "JSON_OBJECT",
    "JSON_OBJECTAGG", "JSON_OVERLAPS", "JSON_PRETTY", "JSON_QUERY", "JSON_QUOTE", "JSON_REMOVE",
    "JSON_REPLACE", "JSON_SEARCH", "JSON_SET", "JSON_STORAGE_SIZE", "JSON_TABLE", "JSON_TYPE",
    "JSON_UNQUOTE", "JSON_VALID", "JSON_VALUE", "KEY", "LAG", "LAST_DAY", "LAST_VALUE", "LATERAL",
    "LCASE", "LEAD", "LEAST", "LEFT", "LENGTH", "LIKE", "LIMIT", "LN", "LOCALTIME",
    "LOCALTIMESTAMP", "LOCATE", "LOG", "LOG10", "LOG2", "LOWER", "LPAD", "LTRIM", "MAKEDATE",
    "MAKETIME", "MAKE_SET", "MATCH", "MAX", "MD5", "MEDIAN", "MICROSECOND", "MID", "MIN",
    "MINUTE", "MOD", "MONTH", "MONTHNAME", "NATURAL_SORT_KEY", "NOT", "NOW", "NTH_VALUE", "NTILE",
    "NULLIF", "NUMERIC", "NVL", "NVL2", "OCT", "OCTET_LENGTH", "OF", "ON", "OR", "ORD", "ORDER",
    "OUTER", "OVER", "OVERLAY", "PARTITION", "PERCENTILE_CONT", "PERCENTILE_DISC", "PERCENT_RANK",
    "PERIOD_ADD", "PERIOD_DIFF", "PI", "POINT", "POLYGON", "POSITION", "POW", "POWER",
    "PRECEDING", "PRIMARY", "QUARTER", "QUOTE", "RADIANS", "RAND", "RANDOM_BYTES", "RANK", "REAL",
    "RECURSIVE", "REGEXP", "REGEXP_INSTR", "REGEXP_LIKE", "REGEXP_REPLACE", "REGEXP_SUBSTR",
    "REPEAT", "REPLACE", "REVERSE", "RIGHT", "RLIKE", "ROUND", "ROW", "ROWNUM", "ROW_COUNT",
    "ROW_NUMBER", "RPAD", "RTRIM", "SCHEMA", "SECOND", "SEC_TO_TIME", "SELECT", "SEPARATOR",
    "SESSION_USER", "SET", "SHA", "SHA1", "SHA2", "SIGN", "SIGNED", "SIN", "SOME", "SOUNDEX",
    "SPACE", "SQRT", "STD", "STDDEV", "STDDEV_POP", "STDDEV_SAMP", "STRAIGHT_JOIN", "STRCMP",
    "STR_TO_DATE", "ST_ASGEOJSON", "ST_ASTEXT", "ST_BUFFER", "ST_CONTAINS", "ST_DISTANCE",
    "ST_DISTANCE_SPHERE", "ST_GEOMFROMTEXT", "ST_INTERSECTS", "ST_WITHIN", "ST_X", "ST_Y",
    "SUBDATE", "SUBSTR", "SUBSTRING", "SUBSTRING_INDEX", "SUBTIME", "SUM", "SYSDATE",
    "SYSTEM_USER", "TAN", "THEN", "TIME", "TIMEDIFF", "TIMESTAMP", "TIMESTAMPADD",
    "TIMESTAMPDIFF", "TIME_FORMAT", "TIME_TO_SEC", "TO_BASE64", "TO_CHAR", "TO_DAYS",
    "TO_SECONDS", "TRIM", "TRUNCATE", "UCASE", "UNCOMPRESS", "UNHEX", "UNION", "UNIX_TIMESTAMP",
    "UNSIGNED", "UPDATEXML", "UPPER", "USE", "USER", "USING", "UTC_DATE", "UTC_TIME",
    "UTC_TIMESTAMP", "UUID", "UUID_SHORT", "UUID_TO_BIN", "VALUE", "VALUES", "VARCHAR",
    "VARIANCE", "VAR_POP", "VAR_SAMP", "VERSION", "WEEK", "WEEKDAY", "WEEKOFYEAR",
    "WEIGHT_STRING", "WHEN", "WHERE", "WITHIN", "XOR", "YEAR", "YEARWEEK",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_its_names_fit() {
        assert!(HARMLESS.is_sorted());
        assert!(HARMLESS.iter().all(|name| name.len() <= LONGEST));
    }

    #[test]
    fn what_acts_is_not_in_it() {
        let acting =
            ["SLEEP", "BENCHMARK", "GET_LOCK", "RELEASE_LOCK", "NEXTVAL", "LAST_INSERT_ID"];
        for name in acting.into_iter().chain(["my_own"]) {
            assert!(!is_harmless_before_parenthesis(Token::Word(name.as_bytes())), "{name}");
        }
        assert!(is_harmless_before_parenthesis(Token::Word(b"count")));
        assert!(!is_harmless_before_parenthesis(Token::Text(b"`count`")));
    }
}
