//! The servers' notation, read and written.

use std::fmt;

use super::intervals::Intervals;
use super::{GtidSet, Run, Stream};
use crate::topology::Flavor;

/// Why a text is not a GTID set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a GTID set")]
pub struct GtidError(pub String);

/// MySQL's `MAX_GNO` and the end of MariaDB's sequence numbers, generously.
const LARGEST: u64 = u64::MAX - 1;

impl GtidSet {
    /// Reads the server's text. White space (MySQL puts a line feed after each comma) and empty
    /// items are passed over; an empty text is the empty set.
    ///
    /// # Errors
    /// When the text does not have the family's form.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self, GtidError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let mut set = Self::empty();
        for item in compact.split(',').filter(|item| !item.is_empty()) {
            match flavor {
                Flavor::MySql => read_source(item, &mut set),
                Flavor::MariaDb => read_position(item, &mut set),
            }
            .ok_or_else(|| GtidError(text.to_owned()))?;
        }
        Ok(set)
    }
}

/// `uuid:1-5:7:tag:1-3`: each tag holds for the intervals behind it.
fn read_source(item: &str, set: &mut GtidSet) -> Option<()> {
    let mut parts = item.split(':');
    let uuid = read_uuid(parts.next()?)?;
    let mut tag = String::new();
    let mut pending: Vec<(u64, u64)> = Vec::new();
    let mut any = false;
    for part in parts {
        if part.starts_with(|c: char| c.is_ascii_digit()) {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            let (start, end) = (read_number(start)?, read_number(end)?);
            if start == 0 {
                return None;
            }
            // MySQL drops an interval that ends before it starts.
            if start <= end {
                pending.push((start, end));
            }
            any = true;
        } else {
            keep_source(set, uuid, tag, std::mem::take(&mut pending));
            tag = read_tag(part)?;
            any = false;
        }
    }
    keep_source(set, uuid, tag, pending);
    any.then_some(())
}

fn keep_source(set: &mut GtidSet, uuid: u128, tag: String, intervals: Vec<(u64, u64)>) {
    if !intervals.is_empty() {
        let intervals = Intervals::new(intervals);
        set.add(Stream::Source { uuid, tag }, Run { intervals, server: 0 });
    }
}

/// `domain-server-sequence`, or `domain-server-first..last`.
fn read_position(item: &str, set: &mut GtidSet) -> Option<()> {
    let mut parts = item.splitn(3, '-');
    let domain = read_number(parts.next()?)?.try_into().ok()?;
    let server = read_number(parts.next()?)?.try_into().ok()?;
    let sequence = parts.next()?;
    let (first, last) = match sequence.split_once("..") {
        Some((first, last)) => (read_number(first)?, read_number(last)?),
        None => (1, read_number(sequence)?),
    };
    if first == 0 {
        return None;
    }
    // Sequence number 0 is a domain in which nothing happened yet.
    if first <= last {
        let intervals = Intervals::new(vec![(first, last)]);
        set.add(Stream::Domain(domain), Run { intervals, server });
    }
    Some(())
}

fn read_number(text: &str) -> Option<u64> {
    // `parse` alone would take "+5".
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= LARGEST)
}

fn read_uuid(text: &str) -> Option<u128> {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let digits = hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(&hex, 16).ok().filter(|_| digits)
}

/// At most 32 letters, digits and underscores, not beginning with a digit; in lower case (MySQL
/// 8.4 manual, "GTID Format and Storage").
fn read_tag(text: &str) -> Option<String> {
    let well_formed = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    well_formed.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open: Option<u128> = None;
        for (index, (stream, run)) in self.streams.iter().enumerate() {
            match stream {
                Stream::Domain(domain) => {
                    for (piece, (first, last)) in run.intervals.iter().enumerate() {
                        let comma = if index + piece > 0 { "," } else { "" };
                        write!(f, "{comma}{domain}-{}-", run.server)?;
                        match first {
                            1 => write!(f, "{last}")?,
                            _ => write!(f, "{first}..{last}")?,
                        }
                    }
                }
                Stream::Source { uuid, tag } => {
                    // The tags of a source follow it; the untagged intervals sort first.
                    if open != Some(*uuid) {
                        let comma = if index > 0 { "," } else { "" };
                        write!(f, "{comma}{}", Uuid(*uuid))?;
                        open = Some(*uuid);
                    }
                    if !tag.is_empty() {
                        write!(f, ":{tag}")?;
                    }
                    for (first, last) in run.intervals.iter() {
                        match first == last {
                            true => write!(f, ":{first}")?,
                            false => write!(f, ":{first}-{last}")?,
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        f.write_str(&groups.join("-"))
    }
}
