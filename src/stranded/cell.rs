//! Values of columns, in a form in which those of a row image and those of a `SELECT` are equal when
//! the column holds the same.
//!
//! A row image is what the storage has: an ENUM is its index, a SET its bits, a TIMESTAMP counts
//! seconds, a CHAR has lost its blanks, and whether a number has a sign is not even said. What a
//! server selects is text. The column's type, from `information_schema`, says how either is to be
//! read. Types that are not known here compare with nothing.

use std::fmt::Write as _;

use mysql_async::Value;

/// How a column's values are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer {
        bits: u32,
        unsigned: bool,
    },
    Year,
    Decimal,
    Float,
    Double,
    /// `padded` for CHAR, whose trailing blanks do not count.
    Text {
        charset: String,
        padded: bool,
    },
    /// With a width for BINARY, whose trailing zeros a row image leaves out.
    Binary {
        width: Option<usize>,
    },
    Enum,
    Set,
    Bit,
    Date,
    DateTime,
    Time,
    Timestamp,
    Json,
    Geometry,
    /// Anything else, by name.
    Unknown(String),
}

/// One value. Equal for equal contents of columns of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cell {
    Null,
    Number(i128),
    /// The bits of a double.
    Real(u64),
    Bytes(Vec<u8>),
}

/// One value of a row image, as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Logged {
    Value(Value),
    Json(serde_json::Value),
    /// What cannot be made a value: a partial update of a JSON document, for one.
    Unreadable,
}

impl Kind {
    /// By `DATA_TYPE`, `COLUMN_TYPE`, `CHARACTER_SET_NAME` and `CHARACTER_OCTET_LENGTH`.
    pub(super) fn of(data: &str, column: &str, charset: Option<&str>, octets: Option<u64>) -> Self {
        let unsigned = column.to_ascii_lowercase().contains("unsigned");
        let integer = |bits| Self::Integer { bits, unsigned };
        let text = |padded| match charset {
            // JSON on MariaDB is a LONGTEXT; a BLOB has no character set.
            Some(charset) => Self::Text { charset: charset.to_ascii_lowercase(), padded },
            None => Self::Binary { width: None },
        };
        let data = data.to_ascii_lowercase();
        // A compressed column (MariaDB) is logged compressed.
        if column.to_ascii_lowercase().contains("compressed") {
            return Self::Unknown(format!("{data} compressed"));
        }
        match data.as_str() {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" => integer(32),
            "bigint" => integer(64),
            "year" => Self::Year,
            "decimal" => Self::Decimal,
            "float" => Self::Float,
            "double" => Self::Double,
            "char" => text(true),
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(false),
            "binary" => {
                Self::Binary { width: Some(octets.unwrap_or(0).try_into().unwrap_or(usize::MAX)) }
            }
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Self::Binary { width: None }
            }
            "enum" => Self::Enum,
            "set" => Self::Set,
            "bit" => Self::Bit,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => Self::Unknown(data),
        }
    }

    /// A value of a row image; `None` when it cannot be compared.
    pub(super) fn of_log(&self, logged: &Logged) -> Option<Cell> {
        match (self, logged) {
            (_, Logged::Value(Value::NULL)) => Some(Cell::Null),
            (Self::Json, Logged::Json(document)) => Some(Cell::Bytes(document.to_string().into())),
            (kind, Logged::Value(value)) => kind.of_logged_value(value),
            _ => None,
        }
    }

    fn of_logged_value(&self, value: &Value) -> Option<Cell> {
        match (self, value) {
            (Self::Integer { bits, unsigned }, Value::Int(number)) => {
                let number = i128::from(*number);
                // The log does not always say which columns are unsigned.
                let wrapped = *unsigned && number < 0;
                Some(Cell::Number(if wrapped { number + (1 << bits) } else { number }))
            }
            (Self::Integer { .. }, Value::UInt(number)) => Some(Cell::Number((*number).into())),
            (Self::Enum, Value::Int(number)) => Some(Cell::Number((*number).into())),
            (Self::Set, Value::Bytes(bytes)) => Some(Cell::Number(
                bytes.iter().rev().fold(0, |sum, byte| sum << 8 | i128::from(*byte)),
            )),
            (Self::Bit, Value::Bytes(bytes)) => {
                Some(Cell::Number(bytes.iter().fold(0, |sum, byte| sum << 8 | i128::from(*byte))))
            }
            (Self::Float, Value::Float(number)) => Some(real(f64::from(*number))),
            (Self::Double, Value::Double(number)) => Some(real(*number)),
            (Self::Date, Value::Date(year, month, day, ..)) => {
                Some(Cell::Bytes(format!("{year:04}-{month:02}-{day:02}").into()))
            }
            (Self::DateTime, Value::Date(year, month, day, hour, minute, second, micros)) => {
                let text = format!(
                    "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}"
                );
                Some(Cell::Bytes(without_idle_fraction(&text)))
            }
            (Self::Time, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let sign = if *negative { "-" } else { "" };
                let hours = days * 24 + u32::from(*hours);
                let text = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}");
                Some(Cell::Bytes(without_idle_fraction(&text)))
            }
            (Self::Timestamp, Value::Int(seconds)) => Some(Cell::Bytes(seconds.to_string().into())),
            // A year is logged as its distance from 1900, and year 0 as 0.
            (Self::Year, Value::Bytes(bytes)) if bytes == b"1900" => Some(Cell::Number(0)),
            (Self::Enum | Self::Json, Value::Bytes(_)) => None,
            (kind, Value::Bytes(bytes)) => kind.of_text(bytes),
            _ => None,
        }
    }

    /// A value that was selected by [`expression`](Self::expression); `None` when it cannot be compared.
    pub(super) fn of_text(&self, bytes: &[u8]) -> Option<Cell> {
        let text = || std::str::from_utf8(bytes).ok();
        match self {
            Self::Integer { .. } | Self::Year | Self::Enum | Self::Set | Self::Bit => {
                text()?.parse().ok().map(Cell::Number)
            }
            Self::Decimal => Some(Cell::Bytes(decimal(text()?))),
            Self::Float | Self::Double => text()?.parse().ok().map(real),
            Self::Text { padded: true, .. } => Some(Cell::Bytes(without_tail(bytes, b' '))),
            Self::Binary { width: Some(_) } => Some(Cell::Bytes(without_tail(bytes, 0))),
            Self::Text { .. } | Self::Binary { .. } | Self::Geometry => {
                Some(Cell::Bytes(bytes.to_vec()))
            }
            Self::Date => Some(Cell::Bytes(bytes.to_vec())),
            Self::DateTime | Self::Time | Self::Timestamp => {
                Some(Cell::Bytes(without_idle_fraction(text()?)))
            }
            Self::Json => {
                let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
                Some(Cell::Bytes(document.to_string().into()))
            }
            Self::Unknown(_) => None,
        }
    }

    /// What to select of `column`, an identifier in its quotes. The session's time zone is UTC, and
    /// its results are not converted to a character set.
    pub(super) fn expression(&self, column: &str) -> String {
        match self {
            // Shows six digits of it otherwise.
            Self::Float => format!("{column} + 0e0"),
            Self::Enum | Self::Set | Self::Bit => format!("CAST({column} AS UNSIGNED)"),
            Self::Timestamp => format!("UNIX_TIMESTAMP({column})"),
            _ => column.to_owned(),
        }
    }

    /// The value as a literal that a column of this kind may be compared with; `None` for what is
    /// no good as a key.
    pub(super) fn literal(&self, cell: &Cell) -> Option<String> {
        match (self, cell) {
            (_, Cell::Null) => None,
            (_, Cell::Number(number)) => Some(number.to_string()),
            (Self::Decimal, Cell::Bytes(digits)) => String::from_utf8(digits.clone()).ok(),
            (Self::Text { charset, .. }, Cell::Bytes(bytes)) => {
                let plain =
                    charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                plain.then(|| format!("_{charset} X'{}'", hex(bytes)))
            }
            (Self::Binary { width }, Cell::Bytes(bytes)) => {
                let mut bytes = bytes.clone();
                bytes.resize(bytes.len().max(width.unwrap_or(0)), 0);
                Some(format!("X'{}'", hex(&bytes)))
            }
            (Self::Date | Self::DateTime | Self::Time, Cell::Bytes(text)) => {
                let text = std::str::from_utf8(text).ok()?;
                let plain = text.bytes().all(|b| b.is_ascii_digit() || b"-:. ".contains(&b));
                plain.then(|| format!("'{text}'"))
            }
            (Self::Timestamp, Cell::Bytes(seconds)) => {
                let seconds = std::str::from_utf8(seconds).ok()?;
                let plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                plain.then(|| format!("FROM_UNIXTIME({seconds})"))
            }
            _ => None,
        }
    }

    /// The value as a literal that puts exactly it into a column of this kind, in a session whose time
    /// zone is UTC; `None` for what cannot be written.
    pub(super) fn stored(&self, cell: &Cell) -> Option<String> {
        match (self, cell) {
            (Self::Unknown(_), _) => None,
            (_, Cell::Null) => Some("NULL".to_owned()),
            // The shortest digits that stand for this number and no other.
            (Self::Float | Self::Double, Cell::Real(bits)) => {
                Some(format!("{:e}", f64::from_bits(*bits)))
            }
            // The form that servers keep it in, the number of its reference system first.
            (Self::Geometry, Cell::Bytes(bytes)) => Some(format!("X'{}'", hex(bytes))),
            (Self::Json, Cell::Bytes(bytes)) => Some(format!("_utf8mb4 X'{}'", hex(bytes))),
            (Self::Timestamp, Cell::Bytes(seconds)) if seconds == b"0" => {
                Some("'0000-00-00 00:00:00'".to_owned())
            }
            _ => self.literal(cell),
        }
    }

    /// The value for people, cut short.
    pub(super) fn show(&self, cell: &Cell) -> String {
        match (self, cell) {
            (_, Cell::Null) => "NULL".to_owned(),
            (_, Cell::Number(number)) => number.to_string(),
            (_, Cell::Real(bits)) => f64::from_bits(*bits).to_string(),
            (Self::Binary { .. } | Self::Geometry, Cell::Bytes(bytes)) => {
                shortened(&format!("0x{}", hex(bytes)))
            }
            (Self::Text { .. } | Self::Json, Cell::Bytes(bytes)) => {
                format!("'{}'", shortened(&String::from_utf8_lossy(bytes)))
            }
            (_, Cell::Bytes(bytes)) => shortened(&String::from_utf8_lossy(bytes)),
        }
    }
}

/// Characters of a value that people are shown.
const SHOWN: usize = 40;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn real(number: f64) -> Cell {
    Cell::Real(number.to_bits())
}

fn without_tail(bytes: &[u8], tail: u8) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != tail).map_or(0, |last| last + 1);
    bytes[..end].to_vec()
}

/// `12:00:00.500000` and `12:00:00.5` are one time.
fn without_idle_fraction(text: &str) -> Vec<u8> {
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    text.as_bytes().to_vec()
}

/// `-007.50` is `-7.5`.
fn decimal(text: &str) -> Vec<u8> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let number = match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    };
    if number == "0" { b"0".to_vec() } else { format!("{sign}{number}").into_bytes() }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(data: &str, column: &str) -> Kind {
        Kind::of(data, column, Some("latin1"), Some(4))
    }

    #[test]
    fn a_row_image_and_a_select_agree() {
        let bytes = |text: &str| Value::Bytes(text.into());
        for (kind, logged, selected) in [
            (kind("int", "int(10) unsigned"), Value::Int(-1), "4294967295"),
            (kind("int", "int(11)"), Value::Int(-1), "-1"),
            (kind("mediumint", "mediumint unsigned"), Value::Int(-2), "16777214"),
            (kind("bigint", "bigint unsigned"), Value::Int(-1), "18446744073709551615"),
            (kind("bigint", "bigint unsigned"), Value::UInt(u64::MAX), "18446744073709551615"),
            (kind("decimal", "decimal(10,4)"), bytes("-7.5000"), "-7.5"),
            (kind("decimal", "decimal(10,4)"), bytes("0.0000"), "-0.0000"),
            (kind("float", "float"), Value::Float(1.1), "1.100000023841858"),
            (kind("double", "double"), Value::Double(0.1), "0.1"),
            (kind("char", "char(4)"), bytes("ab"), "ab  "),
            (kind("binary", "binary(4)"), Value::Bytes(vec![1]), "\u{1}\0\0\0"),
            (kind("enum", "enum('a','b')"), Value::Int(2), "2"),
            (kind("set", "set('a','b')"), Value::Bytes(vec![1, 2]), "513"),
            (kind("bit", "bit(9)"), Value::Bytes(vec![1, 2]), "258"),
            (kind("year", "year"), bytes("1900"), "0"),
            (kind("year", "year"), bytes("2026"), "2026"),
            (kind("date", "date"), Value::Date(2026, 1, 2, 0, 0, 0, 0), "2026-01-02"),
            (
                kind("datetime", "datetime(3)"),
                Value::Date(2026, 1, 2, 3, 4, 5, 500_000),
                "2026-01-02 03:04:05.500",
            ),
            (kind("time", "time"), Value::Time(true, 1, 2, 3, 4, 0), "-26:03:04"),
            (kind("timestamp", "timestamp"), bytes("1700000000"), "1700000000.000000"),
            (kind("timestamp", "timestamp(2)"), bytes("1700000000.120000"), "1700000000.12"),
        ] {
            let logged = kind.of_log(&Logged::Value(logged));
            assert!(logged.is_some(), "{kind:?} {selected}");
            assert_eq!(logged, kind.of_text(selected.as_bytes()), "{kind:?}");
        }
        let document = serde_json::json!({"b": [1, 2.5, null], "a": "x"});
        assert_eq!(
            Kind::Json.of_log(&Logged::Json(document)),
            Kind::Json.of_text(br#"{"a": "x", "b": [1, 2.5, null]}"#)
        );
        let uuid = kind("uuid", "uuid");
        assert_eq!(uuid.of_log(&Logged::Value(bytes("0123456789abcdef"))), None);
    }

    #[test]
    fn keys_are_written_so_that_no_sql_gets_out() {
        let cell = |text: &str| Cell::Bytes(text.into());
        let varchar = kind("varchar", "varchar(9)");
        assert_eq!(varchar.literal(&cell("a'")).as_deref(), Some("_latin1 X'6127'"));
        let fixed = kind("binary", "binary(4)");
        assert_eq!(fixed.literal(&Cell::Bytes(vec![1])).as_deref(), Some("X'01000000'"));
        assert_eq!(kind("int", "int").literal(&Cell::Number(7)).as_deref(), Some("7"));
        assert_eq!(kind("date", "date").literal(&cell("2026-01-02'")), None);
        assert_eq!(kind("double", "double").literal(&real(0.5)), None);
        assert_eq!(varchar.show(&cell("häuser")), "'häuser'");
    }
}
