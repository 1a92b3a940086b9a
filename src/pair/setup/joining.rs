//! Who receives from whom, who does already, and what the others take as executed when they are joined.
//! Pure.

use std::collections::BTreeMap;

use super::data::Difference;
use super::refusal::Refusal;
use super::state::State;
use crate::pair::Shape;
use crate::topology::{Flavor, GtidSet, Role};

/// The channels of the server at `place`: each with its name and the server at its other end.
///
/// A master has those of the shape. A replica receives from every master, so that it goes on receiving
/// whichever of them dies.
#[must_use]
pub(super) fn planned(states: &[State], shape: Shape, place: usize) -> Vec<(String, usize)> {
    let masters = states.iter().filter(|state| state.facts.role == Role::Master).count();
    let named = |source: usize| (states[source].name().to_owned(), source);
    if place >= masters {
        return (0..masters).map(named).collect();
    }
    if shape == Shape::Ring || masters == 2 {
        return vec![(String::new(), (place + masters - 1) % masters)];
    }
    (0..masters).filter(|source| *source != place).map(named).collect()
}

/// The shape that was asked for, else the one that is there, else a ring.
#[must_use]
pub(super) fn shape_of(states: &[State], asked: Option<Shape>) -> Shape {
    let several = |state: &State| state.facts.is_master() && state.channels().count() > 1;
    let present = if states.iter().any(several) { Shape::Mesh } else { Shape::Ring };
    asked.unwrap_or(present)
}

/// For each server the group that it is in: servers that receive from each other, directly or not.
#[must_use]
pub(super) fn groups(states: &[State]) -> Vec<usize> {
    let mut group: Vec<usize> = (0..states.len()).collect();
    for (place, state) in states.iter().enumerate() {
        for source in state.channels().filter_map(|(_, source)| source) {
            let (from, to) = (group[place], group[source]);
            group.iter_mut().filter(|of| **of == from).for_each(|of| *of = to);
        }
    }
    group
}

/// How two groups of servers that do not replicate to each other stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// GTIDs prove that one is a former state of the other: replication delivers the difference.
    Earlier,
    /// Both hold nothing, or the same: what their logs say must not be executed by the other.
    Same,
    /// One holds data, and the other none.
    OneIsEmpty,
    /// Both hold data, and nothing but looking at it tells whether it is the same.
    Unknown,
}

/// How the groups of these two servers stand to each other.
#[must_use]
pub(super) fn relation(first: &State, second: &State) -> Relation {
    match (first.data.is_empty(), second.data.is_empty()) {
        (true, true) => Relation::Same,
        (false, false) if is_earlier(first, second) || is_earlier(second, first) => {
            Relation::Earlier
        }
        (false, false) => Relation::Unknown,
        _ => Relation::OneIsEmpty,
    }
}

/// Whether `old` is a former state of `new`, whose log still has what it lacks.
///
/// MySQL's GTIDs have the id of the server that wrote them. MariaDB's have numbers that two servers may
/// have given alike, so only a position that somebody set on a server that has logged nothing itself
/// counts: that of a restored backup.
fn is_earlier(old: &State, new: &State) -> bool {
    match old.flavor() {
        Flavor::MySql => {
            let (had, has) = (old.executed(), new.executed());
            let purged = new.facts.purged.clone().unwrap_or_default();
            !had.is_empty() && has.contains(&had) && had.contains(&purged)
        }
        Flavor::MariaDb => {
            let has = GtidSet::parse(Flavor::MariaDb, &new.log_position).unwrap_or_default();
            let had = &old.slave_position;
            old.log_position.is_empty() && !had.is_empty() && has.contains(had)
        }
    }
}

/// Two servers, each the first of its group, whose data have to be looked at.
#[must_use]
pub(super) fn to_compare(states: &[State]) -> Vec<(usize, usize)> {
    let group = groups(states);
    let full = |place: &usize| !states[*place].data.is_empty();
    let mut firsts: Vec<usize> = Vec::new();
    for place in (0..states.len()).filter(full) {
        if !firsts.iter().any(|first| group[*first] == group[place]) {
            firsts.push(place);
        }
    }
    let Some((&one, others)) = firsts.split_first() else { return Vec::new() };
    let unknown = |other: &&usize| relation(&states[one], &states[**other]) == Relation::Unknown;
    others.iter().filter(unknown).map(|&other| (one, other)).collect()
}

/// What was found by looking at two servers' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// The places of the two.
    pub places: (usize, usize),
    /// What differs; nothing, if they are the same.
    pub differences: Vec<Difference>,
    /// The one that was written to meanwhile.
    pub written: Option<usize>,
}

/// How the data comes to the servers that hold none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copying {
    /// From whom; `None` if nothing is copied.
    pub from: Option<usize>,
    /// Into whom.
    pub into: Vec<usize>,
}

impl Copying {
    /// Whether the server at `place` becomes a copy.
    #[must_use]
    pub(super) fn goes_into(&self, place: usize) -> bool {
        self.into.contains(&place)
    }
}

/// What is to be copied, or why the servers cannot be joined as they are.
///
/// # Errors
/// When the data of two servers differ, or one has none and nobody said where it is to come from.
pub(super) fn copying(
    states: &[State],
    comparisons: &[Comparison],
    copy_from: Option<&str>,
) -> Result<Copying, Refusal> {
    let name = |place: usize| states[place].name().to_owned();
    for found in comparisons {
        if let Some(written) = found.written {
            return Err(Refusal::Busy { server: name(written) });
        }
        if !found.differences.is_empty() {
            let (first, second) = (name(found.places.0), name(found.places.1));
            let differences = found.differences.clone();
            return Err(Refusal::OtherData { first, second, differences });
        }
    }
    let group = groups(states);
    let from = match copy_from {
        None => None,
        Some(wanted) => match states.iter().position(|state| state.name() == wanted) {
            None => return Err(Refusal::NoSuchServer { name: wanted.to_owned() }),
            found => found,
        },
    };
    let full = (0..states.len()).find(|place| !states[*place].data.is_empty());
    let Some(full) = full else { return Ok(Copying::default()) };
    // Who belongs to a group that has data gets it from there.
    let has_data = |place: usize| {
        (0..states.len())
            .any(|other| group[other] == group[place] && !states[other].data.is_empty())
    };
    let into: Vec<usize> = (0..states.len()).filter(|place| !has_data(*place)).collect();
    match from {
        _ if into.is_empty() => Ok(Copying::default()),
        None => Err(Refusal::NeedsCopy {
            full: (name(full), states[full].data.to_string()),
            empty: into.into_iter().map(name).collect(),
        }),
        Some(from) if states[from].data.is_empty() => {
            Err(Refusal::NothingToCopy { name: name(from), full: name(full) })
        }
        Some(_) => Ok(Copying { from, into }),
    }
}

/// What a server is told about its position before it is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Nothing.
    AsItIs,
    /// Its own log begins anew.
    Anew,
    /// It takes this as executed.
    Executed(String),
}

/// What the server at `place` takes as executed, so that it is not executed again.
///
/// # Errors
/// When it cannot be told to.
pub(super) fn position(
    states: &[State],
    shape: Shape,
    place: usize,
    copying: &Copying,
) -> Result<Position, Refusal> {
    let (state, group) = (&states[place], groups(states));
    let strangers: Vec<usize> =
        (0..states.len()).filter(|other| group[*other] != group[place]).collect();
    if strangers.is_empty() {
        return Ok(Position::AsItIs);
    }
    let same = |other: &&usize| relation(state, &states[**other]) == Relation::Same;
    match state.flavor() {
        Flavor::MySql if copying.goes_into(place) => Ok(Position::AsItIs),
        Flavor::MySql => {
            let unknown = |other: &&usize| {
                same(other) || relation(state, &states[**other]) == Relation::Unknown
            };
            let theirs =
                strangers.iter().filter(unknown).filter(|other| !copying.goes_into(**other));
            let all =
                theirs.fold(GtidSet::empty(), |all, other| all.union(&states[*other].executed()));
            let lacks = all.subtract(&state.executed());
            Ok(if lacks.is_empty() {
                Position::AsItIs
            } else {
                Position::Executed(lacks.to_string())
            })
        }
        Flavor::MariaDb if state.data.is_empty() => {
            let alone = group.iter().filter(|of| **of == group[place]).count() == 1;
            let clean = state.log_position.is_empty() && state.slave_position.is_empty();
            match (alone && !clean, state.followers) {
                (false, _) => Ok(Position::AsItIs),
                (true, 0) => Ok(Position::Anew),
                (true, _) => Err(Refusal::EmptyWithFollowers { server: state.name().to_owned() }),
            }
        }
        Flavor::MariaDb => positions_of_sources(states, shape, place, &strangers),
    }
}

/// MariaDB's position: in each domain, where the log of the source stands that holds the same data.
fn positions_of_sources(
    states: &[State],
    shape: Shape,
    place: usize,
    strangers: &[usize],
) -> Result<Position, Refusal> {
    let state = &states[place];
    let mut positions: BTreeMap<u32, String> = BTreeMap::new();
    let sources = planned(states, shape, place).into_iter().map(|(_, source)| source);
    let unknown = |source: &usize| {
        strangers.contains(source) && relation(state, &states[*source]) == Relation::Unknown
    };
    for source in sources.filter(unknown) {
        for gtid in states[source].log_position.split(',').filter(|gtid| !gtid.is_empty()) {
            let domain = gtid.split('-').next().and_then(|domain| domain.parse().ok()).unwrap_or(0);
            let earlier = positions.insert(domain, gtid.to_owned());
            if earlier.is_some_and(|earlier| earlier != gtid) {
                return Err(Refusal::OneDomain { server: state.name().to_owned(), domain });
            }
        }
    }
    let text = positions.into_values().collect::<Vec<_>>().join(",");
    let wanted = GtidSet::parse(Flavor::MariaDb, &text).unwrap_or_default();
    if wanted.is_empty() || wanted == state.slave_position {
        return Ok(Position::AsItIs);
    }
    Ok(Position::Executed(text))
}
