//! How many clients the system's limit on open files leaves room for.
//!
//! A session takes two descriptors: its client's and its server's. Shells and service managers often
//! start programs with a soft limit of 1024 and a much higher hard one; up to that a process may raise
//! its own. Where this is not enough, fewer clients are served than `limits.max_connections` says, and
//! the start says so: running out in the middle of an `accept` would serve nobody.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sockets that listen, the console and http, connections for probes and decisions, logs.
const OTHERS: u64 = 128;

const EACH: u64 = 2;

/// Raises the limit as far as `wanted` clients need and the system allows. Returns how many of them fit.
pub(super) fn make_room(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = OTHERS.saturating_add(EACH.saturating_mul(wanted as u64));
    let current = if limit.current.is_none_or(|current| current >= needed) {
        limit.current
    } else {
        raise(&limit, needed)
    };
    let room = current.map_or(wanted, |current| fitting(current, wanted));
    if room < wanted {
        tracing::warn!(
            max_connections = wanted,
            served = room,
            open_files = current,
            "the limit on open files leaves no room for as many clients as limits.max_connections \
             says; raise it to {needed} (LimitNOFILE= in a systemd unit, ulimit -Hn in a shell)"
        );
    }
    room
}

/// The new soft limit.
fn raise(limit: &Rlimit, needed: u64) -> Option<u64> {
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let new = Rlimit { current: Some(raised), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, new) {
        Ok(()) => Some(raised),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised");
            limit.current
        }
    }
}

/// At least one: whoever starts a proxy wants to hear from it.
fn fitting(open_files: u64, wanted: usize) -> usize {
    let fitting = open_files.saturating_sub(OTHERS) / EACH;
    usize::try_from(fitting).unwrap_or(wanted).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_fit() {
        assert_eq!(fitting(1024, 10_000), 448);
        assert_eq!(fitting(20_128, 10_000), 10_000);
        assert_eq!(fitting(1_000_000, 10_000), 10_000);
        assert_eq!(fitting(64, 10_000), 1);
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_is_needed_and_allowed() {
        let before = getrlimit(Resource::Nofile);
        let room = make_room(600);
        let after = getrlimit(Resource::Nofile);
        assert!(after.current >= before.current, "never lowered: {before:?}, {after:?}");
        let allowed = after.maximum.is_none_or(|maximum| maximum >= OTHERS + 1200);
        assert_eq!(room == 600, allowed, "{after:?}");
    }
}
