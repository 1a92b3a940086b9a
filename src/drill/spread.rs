//! A distribution, as people want to read it.

/// Measured values.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread(Vec<f64>);

/// What is shown of one: name, and the share of the values that lie below.
pub(super) const SHARES: [(&str, f64); 5] =
    [("min", 0.0), ("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

impl Spread {
    /// Adds a value. What was not measured (NaN) is none.
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_nan() {
            let at = self.0.partition_point(|other| *other <= value);
            self.0.insert(at, value);
        }
    }

    /// The value below which `share` of the others lie: the nearest one that was measured. `None` of
    /// nothing.
    pub(super) fn at(&self, share: f64) -> Option<f64> {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small index"
        )]
        let index = (share * last as f64).round() as usize;
        self.0.get(index).copied()
    }

    /// All of them together.
    pub(super) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> [Option<f64>; 5] {
        let mut spread = Spread::default();
        values.iter().for_each(|value| spread.add(*value));
        SHARES.map(|(_, share)| spread.at(share))
    }

    #[test]
    fn shares_are_values_that_were_measured() {
        assert_eq!(of(&[]), [None; 5]);
        assert_eq!(of(&[7.0]), [Some(7.0); 5]);
        assert_eq!(of(&[3.0, 1.0, 2.0]), [1.0, 2.0, 3.0, 3.0, 3.0].map(Some));
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(of(&hundred), [0.0, 50.0, 90.0, 99.0, 100.0].map(Some));
    }

    #[test]
    fn what_was_not_measured_is_no_value() {
        assert_eq!(of(&[2.0, f64::NAN, 1.0]), [1.0, 2.0, 2.0, 2.0, 2.0].map(Some));
        assert_eq!(of(&[f64::NAN]), [None; 5]);
    }
}
