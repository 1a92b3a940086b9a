//! The plan in words: what becomes of the servers, and for each of them the statements, with their
//! reasons, and the lines of my.cnf.

use std::fmt::Write as _;

use super::plan::{Action, Line, Plan, ServerPlan};
use super::preconditions::short;
use super::state::State;
use crate::pair::Shape;
use crate::topology::Flavor;

/// `m1, m2 and m3`
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Who the servers are, and what they become.
pub(super) fn heading(states: &[State], plan: &Plan) -> String {
    let mut text = String::new();
    for state in states {
        let family = match state.flavor() {
            Flavor::MySql => "MySQL",
            Flavor::MariaDb => "MariaDB",
        };
        let (address, version) = (&state.facts.address, short(&state.facts.version));
        let data =
            if state.data.is_empty() { "no data".to_owned() } else { state.data.to_string() };
        line(&mut text, &format!("{:<6} {address}  {family} {version}, {data}", state.name()));
    }
    let masters = || states.iter().filter(|state| state.facts.is_master()).map(State::name);
    let shape = match (masters().count(), plan.shape) {
        (2, _) => format!("{}: each receives from the other.", listed(masters())),
        (_, Shape::Ring) => {
            let round = masters().chain(masters().take(1)).collect::<Vec<_>>().join(" -> ");
            format!("{round}: a ring, each receives from the one before it.")
        }
        (_, Shape::Mesh) => {
            format!("{}: a mesh, each receives from every other one.", listed(masters()))
        }
    };
    line(&mut text, &shape);
    let replicas: Vec<&str> =
        states.iter().filter(|state| !state.facts.is_master()).map(State::name).collect();
    match replicas.as_slice() {
        [] => {}
        [one] => line(&mut text, &format!("{one} receives from every master.")),
        several => {
            let each = listed(several.iter().copied());
            line(&mut text, &format!("{each}: each receives from every master."));
        }
    }
    let active = &states[plan.active];
    let open = if active.facts.is_read_only() {
        format!("All are read_only, until Tandem opens one of the masters: {}.", active.name())
    } else {
        format!("{} takes writes, the others are read_only.", active.name())
    };
    line(&mut text, &open);
    text
}

/// What is to be done on one server.
pub(super) fn server(plan: &ServerPlan, state: &State, names: &[&str]) -> String {
    let mut text = format!("\n== {} ({})\n", plan.name, state.facts.address);
    if plan.steps.is_empty() && plan.lines.is_empty() {
        line(&mut text, "nothing to do");
    }
    if !plan.restart.is_empty() {
        text.push_str(&lines(plan));
        let restart = plan.restart.join(", ");
        line(&mut text, &format!("needs a restart, with these lines, for: {restart}"));
        line(&mut text, "SQL, after that:");
    }
    let mut reason = "";
    for step in &plan.steps {
        if !step.why.is_empty() && step.why != reason {
            line(&mut text, &format!("-- {}", step.why));
            reason = &step.why;
        }
        match &step.action {
            Action::Sql { shown, .. } => line(&mut text, &format!("{shown};")),
            Action::CopyFrom(from) => {
                line(
                    &mut text,
                    &format!("-- (here the data of {} is copied into it)", names[*from]),
                );
            }
        }
    }
    if plan.restart.is_empty() {
        text.push_str(&lines(plan));
    }
    text
}

/// The lines for a server's my.cnf; nothing, if it needs none.
pub(super) fn lines(plan: &ServerPlan) -> String {
    let mut text = String::new();
    let missing = |missing: bool| plan.lines.iter().filter(move |line| line.missing == missing);
    if missing(true).next().is_some() {
        line(&mut text, &format!("my.cnf of {}, below [mysqld]:", plan.name));
        missing(true).for_each(|setting| set(&mut text, setting));
    }
    if missing(false).next().is_some() {
        let why = "set by a statement, so that nobody can see from here whether my.cnf has them";
        line(&mut text, &format!("my.cnf of {} should have these too ({why}):", plan.name));
        missing(false).for_each(|setting| set(&mut text, setting));
    }
    text
}

fn set(text: &mut String, setting: &Line) {
    line(text, &format!("    {} = {}", setting.name, setting.value));
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
