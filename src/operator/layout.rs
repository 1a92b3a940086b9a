//! Columns and colours.

use crossterm::style::{Attribute, Color, ContentStyle, Stylize as _};

/// What a text is meant to say by its looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should look at it.
    Warn,
    /// Something is broken.
    Bad,
    /// Of less weight.
    Dim,
    /// Of more weight.
    Strong,
}

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// `text` in this tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let style = ContentStyle::new();
        let style = match tone {
            Tone::Good => style.with(Color::Green),
            Tone::Warn => style.with(Color::Yellow),
            Tone::Bad => style.with(Color::Red),
            Tone::Dim => style.attribute(Attribute::Dim),
            Tone::Strong => style.attribute(Attribute::Bold),
            Tone::Plain => return text.to_owned(),
        };
        if self.colour { style.apply(text).to_string() } else { text.to_owned() }
    }
}

/// A text of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) tone: Tone,
    pub(super) text: String,
}

pub(super) fn cell(tone: Tone, text: impl Into<String>) -> Cell {
    Cell { tone, text: text.into() }
}

/// Rows with their columns below each other, two blanks apart; the last column is as wide as it
/// likes.
pub(super) fn aligned(rows: &[Vec<Cell>], paint: Paint) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let length = |row: &Vec<Cell>, column: usize| {
        row.get(column).map_or(0, |cell| cell.text.chars().count())
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| length(row, column)).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            // Blanks are not painted: a table that is copied from a terminal has none at its ends.
            text.push_str(&paint.paint(cell.tone, &cell.text));
            if row[column + 1..].iter().any(|cell| !cell.text.is_empty()) {
                let padding = widths[column] - cell.text.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}
