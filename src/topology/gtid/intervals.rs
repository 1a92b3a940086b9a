//! Sets of numbers as sorted intervals.

/// A set of numbers: closed intervals, ascending, with a gap between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// The numbers of all the given closed intervals, which may touch, overlap and be in disorder.
    pub(super) fn new(mut intervals: Vec<(u64, u64)>) -> Self {
        intervals.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
        for (start, end) in intervals {
            match merged.last_mut() {
                Some((_, last)) if start <= last.saturating_add(1) => *last = end.max(*last),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// The highest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|&(_, end)| end)
    }

    pub(super) fn count(&self) -> u64 {
        self.iter().fold(0, |sum: u64, (start, end)| sum.saturating_add(end - start + 1))
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        // Our intervals do not touch, so that one of theirs is covered by one of ours or not at all.
        other.iter().all(|(start, end)| {
            let candidate = self.0.partition_point(|&(ours, _)| ours <= start).checked_sub(1);
            candidate.is_some_and(|index| end <= self.0[index].1)
        })
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()).collect())
    }

    pub(super) fn subtract(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut holes = other.iter().peekable();
        for (mut start, end) in self.iter() {
            while holes.next_if(|&(_, hole_end)| hole_end < start).is_some() {}
            let mut used_up = false;
            // A hole that reaches beyond this interval is looked at again for the next one.
            while let Some(&(hole_start, hole_end)) = holes.peek() {
                if hole_start > end {
                    break;
                }
                if hole_start > start {
                    rest.push((start, hole_start - 1));
                }
                if hole_end >= end {
                    used_up = true;
                    break;
                }
                start = hole_end + 1;
                holes.next();
            }
            if !used_up {
                rest.push((start, end));
            }
        }
        Self(rest)
    }
}
