//! The numbers that a master hands out as keys.
//!
//! With `auto_increment_increment` = 2 and `auto_increment_offset` = 1 and 2, one master hands out
//! 1, 3, 5 and the other 2, 4, 6. That is all that keeps the keys of two masters apart, and a number
//! tells by itself which of them gave it.

use std::fmt;

/// A master's class: `auto_increment_offset` + n * `auto_increment_increment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyClass {
    increment: u32,
    offset: u32,
}

impl KeyClass {
    /// As the server reads the two variables: an offset that is larger than the increment is ignored
    /// (<https://dev.mysql.com/doc/refman/8.4/en/replication-options-source.html#sysvar_auto_increment_offset>).
    /// Both go up to 65535; what is 0 counts as 1.
    #[must_use]
    pub fn new(increment: u32, offset: u32) -> Self {
        let increment = increment.max(1);
        let offset = if offset > increment { 1 } else { offset.max(1) };
        Self { increment, offset }
    }

    /// How far its numbers are apart.
    #[must_use]
    pub fn increment(self) -> u32 {
        self.increment
    }

    /// Its smallest number.
    #[must_use]
    pub fn offset(self) -> u32 {
        self.offset
    }

    /// The smallest of its numbers above `above`: the next key of a table that holds `above`.
    #[must_use]
    pub fn next_above(self, above: u64) -> u64 {
        let (increment, offset) = (u64::from(self.increment), u64::from(self.offset));
        if above < offset {
            return offset;
        }
        offset + ((above - offset) / increment + 1) * increment
    }

    /// Whether `key` is one of its numbers.
    #[must_use]
    #[inline]
    pub fn holds(self, key: u64) -> bool {
        let (increment, offset) = (u64::from(self.increment), u64::from(self.offset));
        key % increment == offset % increment
    }

    /// Whether some number is in both classes: when their offsets are equal modulo the greatest common
    /// divisor of the increments.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        let (mut divisor, mut rest) = (self.increment, other.increment);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        self.offset % divisor == other.offset % divisor
    }

    /// The classes of masters that keep their keys apart: equal increments, no offset twice. `None`
    /// when they do not.
    #[must_use]
    pub fn apart(settings: &[(u32, u32)]) -> Option<Vec<Self>> {
        let classes: Vec<Self> =
            settings.iter().map(|(step, start)| Self::new(*step, *start)).collect();
        let one_step = classes.windows(2).all(|two| two[0].increment == two[1].increment);
        let distinct = |place: usize| !classes[..place].contains(&classes[place]);
        (one_step && (0..classes.len()).all(distinct)).then_some(classes)
    }
}

/// `1, 3, 5, …`
impl fmt::Display for KeyClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = u64::from(self.offset);
        let second = self.next_above(first);
        write!(f, "{first}, {second}, {}, …", self.next_above(second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_meet_are_found() {
        let meet =
            |a: (u32, u32), b: (u32, u32)| KeyClass::new(a.0, a.1).meets(KeyClass::new(b.0, b.1));
        assert!(!meet((2, 1), (2, 2)));
        assert!(meet((2, 1), (2, 1)));
        assert!(meet((1, 1), (2, 2)), "1 2 3 has every even number");
        assert!(meet((2, 1), (3, 2)), "5");
        assert!(!meet((4, 1), (2, 2)));
        assert!(meet((2, 1), (2, 3)), "3 is above 2, and ignored");
        assert!(!meet((10, 1), (10, 2)));
    }

    #[test]
    fn the_next_key_is_above_what_was_seen_and_in_the_class() {
        let (first, second) = (KeyClass::new(2, 1), KeyClass::new(2, 2));
        assert_eq!(first.next_above(0), 1);
        assert_eq!(first.next_above(1), 3);
        assert_eq!(second.next_above(0), 2);
        assert_eq!(second.next_above(5), 6, "and not 2");
        assert_eq!(first.next_above(6), 7);
        assert!(first.holds(7) && !first.holds(6) && second.holds(6));
        assert_eq!(
            (first.to_string(), second.to_string()),
            ("1, 3, 5, …".into(), "2, 4, 6, …".into())
        );
        // The largest number of a class of ten is divisible by ten.
        assert!(KeyClass::new(10, 10).holds(20));
    }

    #[test]
    fn an_offset_above_the_increment_is_none() {
        assert_eq!(KeyClass::new(2, 3), KeyClass::new(2, 1));
        assert_eq!(KeyClass::new(0, 0), KeyClass::new(1, 1));
    }

    #[test]
    fn classes_are_apart_or_not() {
        assert!(KeyClass::apart(&[(2, 1), (2, 2)]).is_some());
        assert!(KeyClass::apart(&[(3, 1), (3, 2), (3, 3)]).is_some());
        assert!(KeyClass::apart(&[(2, 2), (2, 2)]).is_none());
        assert!(KeyClass::apart(&[(2, 1), (3, 2)]).is_none());
        assert!(KeyClass::apart(&[(1, 1), (1, 2)]).is_none(), "both hand out everything");
        assert!(KeyClass::apart(&[(2, 1), (2, 3)]).is_none(), "3 is ignored");
    }

    /// Terms are numbered so: m1 m1 m2 m1 m2 m2 m1 got 1 3 4 5 6 8 9 from a pair's own counters.
    #[test]
    fn numbers_are_given_as_auto_increment_would() {
        let mut highest = 0;
        let mut given = Vec::new();
        for offset in [1, 1, 2, 1, 2, 2, 1] {
            highest = KeyClass::new(2, offset).next_above(highest);
            given.push(highest);
        }
        assert_eq!(given, [1, 3, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn every_next_number_is_above_near_and_of_the_class() {
        for increment in 1..6 {
            for offset in 1..=increment {
                let class = KeyClass::new(increment, offset);
                for above in 0..40 {
                    let next = class.next_above(above);
                    assert!(next > above && class.holds(next));
                    assert!(next <= (above + u64::from(increment)).max(u64::from(offset)));
                }
            }
        }
        assert_eq!(
            KeyClass::new(1, 5).next_above(7),
            8,
            "an offset above the increment is ignored"
        );
    }
}
