//! `proxy.toml` as a text: which line each key is on, and which keys should not be there.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value};

use super::keys;
use super::{ConfigError, Place};

/// A file that is TOML.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: Arc<Path>,
    pub(super) text: String,
    lines: HashMap<String, usize>,
}

impl File {
    /// Reads `path`; `None` if there is none and nobody insists on it.
    pub(super) fn read(path: &Path, required: bool) -> Result<Option<Self>, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(None),
            Err(error) => {
                Err(ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })
            }
        }
    }

    fn parse(path: &Path, text: String) -> Result<Self, ConfigError> {
        let path: Arc<Path> = path.into();
        let document = Document::parse(text.as_str()).map_err(|error| {
            let line = line_at(&text, error.span().map_or(0, |span| span.start));
            let reason = error.message().trim().to_owned();
            ConfigError::Syntax { place: Place::File { path: path.clone(), line }, reason }
        })?;
        let mut lines = HashMap::new();
        note_lines(&text, document.as_table(), "", &mut lines);
        Ok(Self { path, text, lines })
    }

    /// Where `key` is. A key that is not there is where the nearest one around it is.
    pub(super) fn place(&self, key: &str) -> Place {
        let mut key = key;
        let line = loop {
            if let Some(line) = self.lines.get(key) {
                break *line;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => break 1,
            }
        };
        Place::File { path: self.path.clone(), line }
    }

    /// What is wrong with the keys themselves, whatever their values.
    pub(super) fn check_keys(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if let Ok(document) = Document::parse(self.text.as_str()) {
            for (name, item) in document.iter() {
                self.check_entry(name, item, &mut problems);
            }
        }
        problems
    }

    /// One entry at the top of the file: a key, or a whole section.
    fn check_entry(&self, name: &str, item: &Item, problems: &mut Vec<ConfigError>) {
        if keys::of_section(name).next().is_none() {
            problems.extend(check_key(self.place(name), name));
            return;
        }
        let Some(table) = item.as_table_like() else {
            problems.push(ConfigError::BadValue {
                place: self.place(name),
                key: name.to_owned(),
                expected: format!("a table, `[{name}]`"),
                found: written(item),
            });
            return;
        };
        for (key, _) in table.iter() {
            let path = format!("{name}.{key}");
            problems.extend(check_key(self.place(&path), &path));
        }
    }
}

/// What is wrong where a key is not known.
fn check_key(place: Place, path: &str) -> Option<ConfigError> {
    keys::find(path).is_none().then(|| ConfigError::UnknownKey {
        place,
        key: path.to_owned(),
        nearest: keys::nearest(path),
    })
}

/// The value in one line of TOML, without its comments.
fn written(item: &Item) -> String {
    match item {
        Item::Value(value) => plain(value),
        Item::Table(_) => "a table".to_owned(),
        Item::ArrayOfTables(_) => "a list of tables".to_owned(),
        Item::None => String::new(),
    }
}

/// A value without the blanks, comments and quotes that it was written with.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => Value::from(text.value().as_str()).to_string(),
        other => {
            let mut other = other.clone();
            other.decor_mut().clear();
            other.to_string()
        }
    }
}

fn note_lines(text: &str, table: &dyn TableLike, prefix: &str, lines: &mut HashMap<String, usize>) {
    for (name, item) in table.iter() {
        let path = format!("{prefix}{name}");
        let key = table.key(name).and_then(toml_edit::Key::span);
        if let Some(span) = key.or_else(|| item.span()) {
            lines.insert(path.clone(), line_at(text, span.start));
        }
        if let Some(table) = item.as_table_like() {
            note_lines(text, table, &format!("{path}."), lines);
        }
        let mut note_element = |index: usize, span: Option<std::ops::Range<usize>>, table| {
            let element = format!("{path}[{index}]");
            if let Some(span) = span {
                lines.insert(element.clone(), line_at(text, span.start));
            }
            if let Some(table) = table {
                note_lines(text, table, &format!("{element}."), lines);
            }
        };
        if let Some(tables) = item.as_array_of_tables() {
            for (index, table) in tables.iter().enumerate() {
                note_element(index, table.span(), Some(table as &dyn TableLike));
            }
        }
        if let Some(values) = item.as_array() {
            for (index, value) in values.iter().enumerate() {
                let table = value.as_inline_table().map(|table| table as &dyn TableLike);
                note_element(index, value.span(), table);
            }
        }
    }
}

/// The line of a byte offset, counted from 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
