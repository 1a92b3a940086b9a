//! The numbers that the decision follows.

use std::time::Duration;

use crate::config::{CatchUpExpired, Failover, Fencing, Monitor, ReturningMaster, Switchover};

/// Between two probes of one server that are asked for out of turn.
pub(super) const PROBE_SPACING: Duration = Duration::from_millis(2);
/// Between two looks at a master that somebody has claimed: what he does next is seen this soon.
pub(super) const WATCH_SPACING: Duration = Duration::from_millis(50);
/// The same while our own clients wait for what he does next.
pub(super) const CLOSE_WATCH_SPACING: Duration = Duration::from_millis(20);
/// How long a fence may keep a failover waiting. The old master has just failed all its probes: if
/// it does not answer this within a few round trips, it is as good as unreachable, and the order
/// still reaches it when it wakes.
pub(super) const FENCE_PATIENCE: Duration = Duration::from_millis(50);
/// For an order that takes a few round trips, until its outcome counts as unknown.
pub(super) const ORDER_PATIENCE: Duration = Duration::from_secs(5);
/// For throwing a backlog away: the applier rolls back what it is in the middle of.
pub(super) const DROP_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to fence or reconnect a standby.
pub(super) const ERRAND_SPACING: Duration = Duration::from_secs(5);
/// Between two attempts of a takeover that failed: at first, and at most.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(200);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(2);
/// On top of `catch_up`, for another proxy to finish what it fenced the active master for.
const OTHERS_MARGIN: Duration = Duration::from_secs(3);

/// What of the configuration decides about failovers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `[monitor] interval`
    pub interval: Duration,
    /// `[monitor] timeout`
    pub timeout: Duration,
    /// `[monitor] fall`
    pub fall: u32,
    /// `[monitor] rise`
    pub rise: u32,
    /// `[failover] automatic`
    pub automatic: bool,
    /// `[failover] fencing`
    pub fencing: Fencing,
    /// `[failover] catch_up`
    pub catch_up: Duration,
    /// `[failover] catch_up_expired`
    pub catch_up_expired: CatchUpExpired,
    /// `[failover] returning_master`
    pub returning_master: ReturningMaster,
    /// `[failover] failback`
    pub failback: Option<Duration>,
    /// `[failover] min_interval`
    pub min_interval: Duration,
    /// `[failover] acknowledge_after`
    pub acknowledge_after: u32,
    /// `[switchover] drain`
    pub drain: Duration,
}

impl Policy {
    /// Picks the numbers from their two sections.
    #[must_use]
    pub fn new(monitor: &Monitor, failover: &Failover, switchover: &Switchover) -> Self {
        Self {
            interval: monitor.interval,
            timeout: monitor.timeout,
            fall: monitor.fall.max(1),
            rise: monitor.rise.max(1),
            automatic: failover.automatic,
            fencing: failover.fencing,
            catch_up: failover.catch_up,
            catch_up_expired: failover.catch_up_expired,
            returning_master: failover.returning_master,
            failback: failover.failback,
            min_interval: failover.min_interval,
            acknowledge_after: failover.acknowledge_after,
            drain: switchover.drain,
        }
    }

    /// In this time every server has been probed, at the normal pace and with the slowest outcome.
    pub(super) fn one_round(&self) -> Duration {
        self.interval + self.timeout
    }

    /// How long the fence of a master that is silent may keep a failover waiting. Its first step is
    /// what the last probe has waited for in vain just now, all of `timeout`: a little more of that
    /// says little more.
    pub(super) fn silent_fence_patience(&self) -> Duration {
        FENCE_PATIENCE.min(self.timeout / 10)
    }

    /// How long the first answers are waited for.
    pub(super) fn starting(&self) -> Duration {
        self.one_round() * self.fall + self.interval
    }

    /// How long a claimed master is watched without pause: a switchover takes no longer than this.
    pub(super) fn watching(&self) -> Duration {
        self.others() + self.drain
    }

    /// How long a decision that somebody else began may take.
    pub(super) fn others(&self) -> Duration {
        self.catch_up + OTHERS_MARGIN
    }
}
