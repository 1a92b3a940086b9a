//! Reading a row by the names of its columns.

use std::time::Duration;

use mysql_async::{Row, Value};

use super::connection::ConnectionError;

/// A row of the text protocol, asked by column name. The case of names differs between versions.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a>(pub &'a Row);

impl Columns<'_> {
    /// The value under the first of these names that exists, as text; `None` also for NULL.
    #[must_use]
    pub fn find(self, names: &[&str]) -> Option<String> {
        let columns = self.0.columns_ref();
        let index = names.iter().find_map(|name| {
            columns.iter().position(|column| column.name_str().eq_ignore_ascii_case(name))
        })?;
        match self.0.as_ref(index)? {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Int(number) => Some(number.to_string()),
            Value::UInt(number) => Some(number.to_string()),
            other => Some(other.as_sql(true)),
        }
    }

    /// The value under the first of these names that exists.
    ///
    /// # Errors
    /// When no such column was sent, or it is NULL.
    pub fn text(self, names: &[&str]) -> Result<String, ConnectionError> {
        self.find(names).ok_or_else(|| {
            ConnectionError::Unintelligible(format!(
                "the server sent no column {}",
                names.join(" or ")
            ))
        })
    }

    /// The value under the first of these names that exists; empty when there is none.
    #[must_use]
    pub fn text_or_empty(self, names: &[&str]) -> String {
        self.find(names).unwrap_or_default()
    }

    /// The seconds, with decimals, under the first of these names that exists; `None` when there is no
    /// such column, or no duration in it.
    #[must_use]
    pub fn seconds(self, names: &[&str]) -> Option<Duration> {
        let seconds = self.find(names)?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The number under the first of these names that exists.
    ///
    /// # Errors
    /// When no such column was sent, or it is no number of this type.
    pub fn number<N: std::str::FromStr>(self, names: &[&str]) -> Result<N, ConnectionError> {
        let text = self.text(names)?;
        text.parse().map_err(|_| {
            ConnectionError::Unintelligible(format!("column {} is `{text}`", names.join(" or ")))
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use mysql_async::Column;
    use mysql_async::consts::ColumnType;

    use super::*;

    /// A row as the text protocol delivers it: every value bytes, or NULL.
    pub(in crate::monitor) fn row(cells: &[(&str, Option<&str>)]) -> Row {
        let columns: Vec<Column> = cells
            .iter()
            .map(|(name, _)| {
                Column::new(ColumnType::MYSQL_TYPE_VAR_STRING).with_name(name.as_bytes())
            })
            .collect();
        let values = cells
            .iter()
            .map(|(_, value)| value.map_or(Value::NULL, |text| Value::Bytes(text.into())))
            .collect();
        mysql_common::row::new_row(values, columns.into())
    }

    #[test]
    fn a_name_is_found_in_any_spelling_and_null_is_nothing() {
        let row = row(&[("Source_Host", Some("b")), ("x", None), ("n", Some("12"))]);
        let row = Columns(&row);
        assert_eq!(row.find(&["Master_Host", "source_host"]).as_deref(), Some("b"));
        assert_eq!(row.find(&["x"]), None);
        assert_eq!(row.number::<u16>(&["N"]), Ok(12));
        assert!(row.number::<u16>(&["x"]).is_err());
        assert!(row.number::<u16>(&["Source_Host"]).is_err());
    }
}
