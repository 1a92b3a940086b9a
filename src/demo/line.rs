//! A line of text whose parts have a tone; what a tone looks like is up to whoever shows it.

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Beside the point.
    Dim,
    Strong,
    Good,
    Bad,
    /// Of this master, which has a colour of its own.
    Master(usize),
}

/// A line. Every character of it is one column wide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Whether it begins with the moment.
    pub(super) timed: bool,
    pub(super) spans: Vec<(Tone, String)>,
}

impl Line {
    /// A line that says when.
    pub(super) fn timed() -> Self {
        Self { timed: true, spans: Vec::new() }
    }

    /// A line that stands for itself.
    pub(super) fn bare() -> Self {
        Self::default()
    }

    /// The same with more text at its end.
    pub(super) fn then(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.spans.push((tone, text.into()));
        self
    }

    /// Without tones.
    pub(super) fn text(&self) -> String {
        self.spans.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The same in lines of at most `width` columns, broken at spaces where there are any; those
    /// after the first are indented.
    pub(super) fn folded(&self, width: usize, indent: usize) -> Vec<Self> {
        let indent = if indent * 2 < width { indent } else { 0 };
        let mut lines = vec![Self { timed: self.timed, spans: Vec::new() }];
        let mut column = 0;
        for (tone, text) in &self.spans {
            for word in words(text) {
                let mut word = word;
                while !word.is_empty() {
                    let visible = word.trim_end().chars().count();
                    let margin = if lines.len() > 1 { indent } else { 0 };
                    if column + visible > width && column > margin {
                        let margin = " ".repeat(indent);
                        lines.push(Self::bare().then(Tone::Plain, margin));
                        column = indent;
                        continue;
                    }
                    // A word that no line can hold is cut.
                    let fits = word.char_indices().nth(width.max(1) - column.min(width.max(1) - 1));
                    let (head, rest) = word.split_at(fits.map_or(word.len(), |(at, _)| at));
                    let (head, rest) =
                        if rest.trim().is_empty() { (head, "") } else { (head, rest) };
                    if let Some(line) = lines.last_mut() {
                        line.spans.push((*tone, head.to_owned()));
                    }
                    column += head.chars().count();
                    word = rest;
                }
            }
        }
        lines
    }
}

/// Words with the spaces behind them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str, width: usize) -> Vec<String> {
        let line = Line::bare().then(Tone::Plain, text);
        line.folded(width, 2).iter().map(|line| line.text().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_line_is_broken_at_its_spaces() {
        assert_eq!(folded("one two three", 13), ["one two three"]);
        assert_eq!(folded("one two three", 12), ["one two", "  three"]);
        assert_eq!(folded("one two three", 8), ["one two", "  three"]);
    }

    #[test]
    fn a_word_that_does_not_fit_is_cut() {
        assert_eq!(folded("abcdefghij", 6), ["abcdef", "  ghij"]);
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_and_nothing_is_lost(
            spans in prop::collection::vec("[a-z →]{0,30}", 0..6),
            width in 1_usize..60,
            indent in 0_usize..20,
        ) {
            let line = spans.iter().fold(Line::bare(), |line, text| line.then(Tone::Dim, text.as_str()));
            let folded = line.folded(width, indent);
            let letters = |text: String| text.replace(' ', "");
            prop_assert_eq!(
                folded.iter().map(|line| letters(line.text())).collect::<String>(),
                letters(line.text())
            );
            for line in folded {
                prop_assert!(line.text().trim_end().chars().count() <= width, "{:?}", line);
            }
        }
    }
}
