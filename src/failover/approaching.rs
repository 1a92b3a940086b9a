//! Approaching: the standby comes close to the active master while nothing is frozen, so that the
//! pause which follows is short.
//!
//! What the standby has received when it is asked takes it some time to execute. While it does,
//! more comes in; asked again, it needs less time, unless the active master writes faster than the
//! standby applies. When a round takes no longer than a pause may be, the rest can be waited for with
//! everything frozen.
//!
//! Once it is close, sessions are invited to log in to it, so that they need not while their statements
//! wait; then it is asked once more.

use std::time::{Duration, Instant};

use super::action::{Order, OrderFailure, OrderId, OrderResult};
use super::context::Context;
use super::draining::Draining;
use super::phase::{Input, Phase};
use super::policy::ORDER_PATIENCE;
use super::switchover::{Switchover, preflight};

/// After this long it is seen whether the standby gets closer.
const ROUND: Duration = Duration::from_millis(500);
/// How long writers are made to wait for each write: at first, and at most.
const PACE_FIRST: Duration = Duration::from_millis(2);
const PACE_MOST: Duration = Duration::from_millis(64);

/// A standby that executes what it has received within this is close.
const CLOSE: Duration = Duration::from_millis(30);

/// How long sessions may take to log in to the standby before anything is held.
const INVITATION: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub(super) struct Approaching {
    switchover: Switchover,
    step: Step,
    /// The sessions have had the time to log in to the standby.
    invited: bool,
    /// How long the last round took.
    last_round: Option<Duration>,
    /// The standby must be close by then.
    close_by: Instant,
    pub(super) until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Claiming(OrderId),
    /// What was seen of the two may be a probe's interval old.
    Looking {
        since: Instant,
    },
    CatchingUp {
        order: OrderId,
        began: Instant,
    },
    Inviting,
}

impl Approaching {
    pub(super) fn enter(cx: &mut Context, switchover: Switchover) -> Phase {
        let claim = cx.run(Order::Claim { server: switchover.from, next: Some(switchover.to) });
        let until = cx.now + ORDER_PATIENCE;
        let close_by = cx.now + cx.policy.catch_up;
        Phase::Approaching(Self {
            switchover,
            step: Step::Claiming(claim),
            invited: false,
            last_round: None,
            close_by,
            until,
        })
    }

    pub(super) fn handle(self, cx: &mut Context, input: Input<'_>) -> Phase {
        if let Some(obstacle) = self.switchover.obstacle_while_open(cx) {
            return self.switchover.give_up(cx, &obstacle);
        }
        if let Step::Looking { since } = self.step
            && [self.switchover.from, self.switchover.to]
                .into_iter()
                .all(|server| cx.looked_since(server, since))
        {
            return match preflight(cx, &self.switchover) {
                Some(reason) => self.switchover.give_up(cx, &reason),
                None => self.round(cx),
            };
        }
        if let Input::Finished { id, result } = input {
            match self.step {
                Step::Claiming(order) if order == id => return self.claimed(cx, result),
                Step::CatchingUp { order, began } if order == id => {
                    return self.caught_up(cx, began, result);
                }
                Step::Claiming(_)
                | Step::Looking { .. }
                | Step::CatchingUp { .. }
                | Step::Inviting => {}
            }
        }
        if cx.now >= self.until {
            if matches!(self.step, Step::Inviting) {
                return self.round(cx);
            }
            let reason = match self.step {
                Step::Claiming(_) => format!("{} takes no orders", cx.name(self.switchover.from)),
                Step::Looking { .. } => "the masters are not looked at".to_owned(),
                Step::CatchingUp { .. } | Step::Inviting => self.too_far(cx),
            };
            return self.switchover.give_up(cx, &reason);
        }
        Phase::Approaching(self)
    }

    fn claimed(mut self, cx: &mut Context, result: &OrderResult) -> Phase {
        if let OrderResult::Failed(failure) = result {
            return self.switchover.give_up(cx, &failure.to_string());
        }
        for server in [self.switchover.from, self.switchover.to] {
            cx.ask_probe(server);
        }
        self.step = Step::Looking { since: cx.now };
        self.until = cx.now + cx.policy.one_round() * 2;
        Phase::Approaching(self)
    }

    fn round(mut self, cx: &mut Context) -> Phase {
        let timeout = self.close_by.saturating_duration_since(cx.now).min(ROUND);
        let order = cx.run(Order::CatchUp { server: self.switchover.to, timeout });
        self.step = Step::CatchingUp { order, began: cx.now };
        self.until = cx.now + timeout + ORDER_PATIENCE;
        Phase::Approaching(self)
    }

    fn caught_up(mut self, cx: &mut Context, began: Instant, result: &OrderResult) -> Phase {
        match result {
            // Some are left: not close yet.
            OrderResult::Failed(OrderFailure::TimedOut(_)) => {}
            OrderResult::Failed(failure) => {
                let to = cx.name(self.switchover.to);
                let reason = format!("{to} does not catch up: {failure}");
                return self.switchover.give_up(cx, &reason);
            }
            _ if cx.now.duration_since(began) <= CLOSE => {
                if self.invited {
                    return Draining::enter(cx, self.switchover);
                }
                return self.invite(cx);
            }
            _ => {}
        }
        let took = cx.now.duration_since(began);
        if cx.now >= self.close_by {
            let reason = self.too_far(cx);
            return self.switchover.give_up(cx, &reason);
        }
        self.slow_down(cx, took);
        self.round(cx)
    }

    fn invite(mut self, cx: &mut Context) -> Phase {
        cx.invite(self.switchover.from, self.switchover.to);
        self.invited = true;
        self.step = Step::Inviting;
        self.until = cx.now + INVITATION;
        Phase::Approaching(self)
    }

    /// A round that was not much shorter than the one before shows that the active master writes
    /// nearly as fast as the standby applies: its writers are slowed down, twice as much each time.
    fn slow_down(&mut self, cx: &mut Context, took: Duration) {
        if self.last_round.replace(took).is_some_and(|last| took < last / 2) {
            return;
        }
        let pace = cx.pace.map_or(PACE_FIRST, |pace| (pace * 2).min(PACE_MOST));
        if cx.pace.replace(pace) != Some(pace) {
            let (from, to) = (self.switchover.from, self.switchover.to);
            cx.because(
                format!(
                    "{} needs {} for what it has received; every write on {} waits {}",
                    cx.name(to),
                    humantime::format_duration(took),
                    cx.name(from),
                    humantime::format_duration(pace)
                ),
                Some(to),
            );
        }
    }

    fn too_far(&self, cx: &Context) -> String {
        format!(
            "{} did not get closer than {} behind {} within {}",
            cx.name(self.switchover.to),
            humantime::format_duration(CLOSE),
            cx.name(self.switchover.from),
            humantime::format_duration(cx.policy.catch_up),
        )
    }
}
