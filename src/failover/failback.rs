//! Failback: whether it is time to switch back to the preferred master.
//!
//! After a failover the pair runs on the master that was second choice. With `[failover] failback` set,
//! Tandem switches back by itself when the preferred one has been well for so long: it answers, follows the
//! active one and is followed by it, and is not in quarantine. It is an ordinary planned switchover, so
//! that it costs clients a pause and nothing else; one that is undone is tried again after as long.
//! Of several proxies that see the same, one gets the claim, and the others find it done.

use std::time::Instant;

use super::context::Context;
use super::switchover::{Switchover, preflight};
use crate::topology::ServerId;

/// The preferred master, when it is to be made active in the place of `active` now.
pub(super) fn is_due(cx: &mut Context, active: ServerId) -> Option<ServerId> {
    let wait = cx.policy.failback?;
    let preferred = cx.servers.masters().next()?.id;
    if preferred == active || !is_well(cx, active, preferred) {
        cx.preferred_well_since = None;
        return None;
    }
    let since = *cx.preferred_well_since.get_or_insert(cx.now);
    let begin: Instant = cx.switchover_failed.map_or(since, |failed| since.max(failed));
    (cx.now >= begin + wait).then_some(preferred)
}

fn is_well(cx: &Context, active: ServerId, preferred: ServerId) -> bool {
    let switchover = Switchover::planned(cx, active, preferred);
    cx.topology.seen(preferred).successes >= cx.policy.rise && preflight(cx, &switchover).is_none()
}
