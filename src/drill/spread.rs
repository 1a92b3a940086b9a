//! A distribution, as people want to read it.

use std::fmt;

/// Measured values, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    pub(super) fn add(&mut self, ms: f64) {
        self.0.push(ms);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value below which `share` of the others lie; the nearest one that was measured.
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small index"
        )]
        let index = (share * last as f64).round() as usize;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for share in [0.0, 0.5, 0.9, 0.99, 1.0] {
            write!(f, "{:>9.1}", self.at(share))?;
        }
        Ok(())
    }
}

/// The head of a table of spreads.
pub(super) fn head(what: &str) {
    println!("\n{what:<44}{:>9}{:>9}{:>9}{:>9}{:>9}", "min", "median", "p90", "p99", "max");
}

/// A line of it.
pub(super) fn line(name: &str, spread: &Spread) {
    println!("{name:<44}{spread}");
}
