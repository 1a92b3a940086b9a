//! What is to be done on each server, and why; or why nothing is. Pure: facts in, statements out.

use super::joining::{self, Comparison, Copying};
use super::planner::Planner;
use super::preconditions;
use super::refusal::Refusal;
use super::request::Request;
use super::state::State;
use crate::config::Secret;
use crate::pair::Shape;

/// Statements of one stage are carried out on every server before the next stage begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// MySQL: makes room for the administrator.
    Open,
    /// Ends replication, for settings that need it.
    Stop,
    /// Plugins.
    Plugins,
    /// Settings.
    Settings,
    /// MySQL's `gtid_mode`, step by step: no server may be more than one step from another.
    GtidStep(u8),
    /// An empty log begins anew.
    Anew,
    /// Accounts and tables, on each server by itself.
    Accounts,
    /// Nobody but Tandem opens it.
    Close,
    /// Data comes from another server.
    Copy,
    /// Ends replication, for what follows.
    Pause,
    /// What is taken as executed.
    Position,
    /// Whom to follow.
    Follow,
    /// Replication starts.
    Start,
}

/// What belongs together: between two parts the servers are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Each server by itself.
    Prepare,
    /// Data comes from another server.
    Copy,
    /// They are made slaves of each other.
    Join,
}

impl Stage {
    /// The part that it is in.
    #[must_use]
    pub(super) fn part(self) -> Part {
        match self {
            Self::Copy => Part::Copy,
            Self::Pause | Self::Position | Self::Follow | Self::Start => Part::Join,
            _ => Part::Prepare,
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A statement.
    Sql {
        /// As it is sent.
        sql: Secret,
        /// As it is shown: without passwords.
        shown: String,
    },
    /// The data of the server at this place is copied into this one.
    CopyFrom(usize),
}

/// One thing to do on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// When.
    pub stage: Stage,
    /// What.
    pub action: Action,
    /// Why; empty where it belongs to the step before it.
    pub why: String,
}

/// A line for my.cnf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The variable.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether the server's files are known to say something else.
    pub missing: bool,
}

/// What one server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerPlan {
    /// Its name.
    pub name: String,
    /// What is to be done, in order.
    pub steps: Vec<Step>,
    /// What makes it last, where no statement does.
    pub lines: Vec<Line>,
    /// Of these, the variables that only a restart changes.
    pub restart: Vec<&'static str>,
}

/// What all servers need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Who receives from whom.
    pub shape: Shape,
    /// The place of the master that takes writes now, or is to.
    pub active: usize,
    /// For each server.
    pub servers: Vec<ServerPlan>,
    /// Whether the replication account is given another password, so that every channel needs it.
    pub rotates: bool,
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.servers.iter().all(|server| server.steps.is_empty() && server.restart.is_empty())
    }

    /// The first part that has something to do.
    #[must_use]
    pub(super) fn first_part(&self) -> Option<Part> {
        self.servers.iter().flat_map(|server| &server.steps).map(|step| step.stage.part()).min()
    }
}

/// The master that takes writes: of the highest term; else, of those with data if any has some, the only
/// one that is open; else the one that is copied; else the preferred one.
#[must_use]
pub(super) fn active(states: &[State], copy_from: Option<&str>) -> usize {
    let masters = || states.iter().enumerate().filter(|(_, state)| state.facts.is_master());
    let any_data = masters().any(|(_, state)| !state.data.is_empty());
    let candidates = || masters().filter(|(_, state)| !(any_data && state.data.is_empty()));
    let highest =
        states.iter().filter_map(|state| state.term.as_ref()).max_by_key(|(term, _)| *term);
    let named = |name: &str| candidates().find(|(_, state)| state.name() == name);
    let only_open = || {
        let mut open = candidates().filter(|(_, state)| !state.facts.is_read_only());
        open.next().filter(|_| open.next().is_none())
    };
    let found = highest
        .and_then(|(_, name)| named(name))
        .or_else(only_open)
        .or_else(|| named(copy_from?))
        .or_else(|| candidates().next());
    found.map_or(0, |(place, _)| place)
}

/// The plan for these servers, or every reason against one.
///
/// # Errors
/// Whatever keeps them from being joined.
pub(super) fn plan(
    states: &[State],
    comparisons: &[Comparison],
    request: &Request,
) -> Result<Plan, Vec<Refusal>> {
    let wishes = &request.wishes;
    let shape = joining::shape_of(states, wishes.shape);
    let mut refusals = preconditions::of_servers(states, request);
    refusals.extend(preconditions::of_channels(states, shape));
    let copying = match joining::copying(states, comparisons, wishes.copy_from.as_deref()) {
        Ok(copying) => copying,
        Err(refusal) => {
            refusals.push(refusal);
            Copying::default()
        }
    };
    let mut positions = Vec::new();
    for place in 0..states.len() {
        match joining::position(states, shape, place, &copying) {
            Ok(position) => positions.push(position),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let active = active(states, wishes.copy_from.as_deref());
    let planner = Planner::new(states, shape, active, copying, request);
    let servers = positions
        .into_iter()
        .enumerate()
        .map(|(place, position)| planner.server(place, position))
        .collect();
    Ok(Plan { shape, active, servers, rotates: planner.rotates() })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
