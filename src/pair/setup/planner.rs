//! Puts the plan of one server together from what is known of all of them. Pure.

use super::joining::{self, Copying, Position};
use super::plan::{Action, Line, ServerPlan, Stage, Step};
use super::request::{HEARTBEAT, Request};
use super::state::{MonitorAccount, State};
use super::steps::{Steps, account};
use super::wanted::{self, Change, Lasting, Numbers, Setting, Target};
use crate::pair::Shape;
use crate::pair::dialect::{self, Source};
use crate::topology::{Flavor, ServerAddress, grants, schema};

/// The account with which servers receive, when nobody names one and none is in use.
pub(super) const REPLICATION: &str = "replication";

/// What the steps of all servers have in common.
pub(super) struct Planner<'a> {
    states: &'a [State],
    request: &'a Request,
    shape: Shape,
    active: usize,
    copying: Copying,
    numbers: Numbers,
    replication_user: String,
    rotates: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        states: &'a [State],
        shape: Shape,
        active: usize,
        copying: Copying,
        request: &'a Request,
    ) -> Self {
        let in_use = states.iter().flat_map(State::channels).map(|(channel, _)| channel.user());
        let replication_user = request
            .replication_user
            .clone()
            .or_else(|| in_use.map(str::to_owned).find(|user| !user.is_empty()))
            .unwrap_or_else(|| REPLICATION.to_owned());
        let mut planner = Self {
            active,
            numbers: Numbers::of(states, request),
            states,
            request,
            shape,
            copying,
            replication_user,
            rotates: request.rotating,
        };
        let accounts = || states.iter().map(|state| state.replication);
        let unfit = accounts().any(|account| !account.exists || account.fits == Some(false));
        let known = accounts().all(|account| account.fits == Some(true));
        let changes = (0..states.len()).any(|place| !planner.channels_to_change(place).is_empty());
        planner.rotates |= unfit || (changes && !known);
        planner
    }

    /// Whether the replication account is given another password.
    pub(super) fn rotates(&self) -> bool {
        self.rotates
    }

    pub(super) fn server(&self, place: usize, position: Position) -> ServerPlan {
        let state = &self.states[place];
        let target = Target {
            place,
            active: place == self.active,
            sources: joining::planned(self.states, self.shape, place).len(),
        };
        let settings = wanted::lacking(self.states, target, &self.numbers, self.request);
        let mut steps = Steps::of(state.facts.dialect);
        steps.plugins(state, self.request.wishes.semi_sync);
        let copies = self.copying.goes_into(place)
            || self.copying.from == Some(place) && !self.copying.into.is_empty();
        steps.clone_plugin(state, copies);
        steps.settings(state, &settings);
        self.accounts(place, &mut steps);
        self.join(place, position, &settings, &mut steps);
        steps.make_room(state);
        steps.steps.sort_by_key(|step| step.stage);
        let needs_line = |setting: &&Setting| {
            setting.change == Change::ByRestart && !setting.now
                || state.flavor() == Flavor::MariaDb && setting.lasting != Lasting::Yes
        };
        ServerPlan {
            name: state.name().to_owned(),
            steps: steps.steps,
            lines: settings
                .iter()
                .filter(needs_line)
                .map(|setting| Line {
                    name: setting.name,
                    value: setting.value.clone(),
                    missing: setting.lasting == Lasting::No,
                })
                .collect(),
            restart: settings
                .iter()
                .filter(|setting| setting.change == Change::ByRestart && !setting.now)
                .map(|setting| setting.name)
                .collect(),
        }
    }

    /// Accounts and tables. They are made on each server by itself: were they replicated, each would get
    /// them from itself and from the others, and the first transactions of a pair would be ours. A server
    /// that becomes a copy has them from there.
    fn accounts(&self, place: usize, steps: &mut Steps) {
        let state = &self.states[place];
        let copied = self.copying.goes_into(place);
        let mut made: Vec<(Vec<(String, String)>, String)> = Vec::new();
        let user = &self.request.monitor.user;
        match &state.monitor {
            MonitorAccount::LogsIn(missing) if missing.is_empty() => {}
            MonitorAccount::LogsIn(missing) => {
                let missing = missing.iter().map(|grant| (grant.clone(), grant.clone())).collect();
                made.push((missing, "what the account of [monitor] still needs".to_owned()));
            }
            MonitorAccount::Refused if copied => {}
            MonitorAccount::Refused => {
                let mut all = account(user, self.request.monitor.password.reveal());
                let grants = grants::monitor_grants(state.facts.dialect, user);
                all.extend(grants.into_iter().map(|grant| (grant.clone(), grant)));
                let why =
                    "the account of [monitor]: Tandem watches and switches the servers with it";
                made.push((all, why.to_owned()));
            }
        }
        if self.rotates && state.replication.fits != Some(true) && !copied {
            let user = &self.replication_user;
            let mut all = account(user, self.request.replication_password.reveal());
            let grant = dialect::grant_replication(user);
            all.push((grant.clone(), grant));
            made.push((all, "the account with which the others receive from this one".to_owned()));
        }
        if !state.has_schema && !copied {
            let all = schema::TERMS.into_iter().chain([schema::HEARTBEAT]);
            let all = all.map(|sql| (sql.to_owned(), sql.to_owned())).collect();
            made.push((all, "Tandem's own tables: who is active, and heartbeats".to_owned()));
        }
        let twice = self.events_to_silence(place);
        if !twice.is_empty() {
            let why = format!("these run on {}", self.states[self.active].name());
            made.push((twice, why));
        }
        if made.is_empty() {
            return;
        }
        let why = "on this server alone, outside of its binary log";
        steps.sql(Stage::Accounts, "SET SESSION sql_log_bin = 0", why);
        for (statements, why) in made {
            for (number, (sql, shown)) in statements.into_iter().enumerate() {
                let why = if number == 0 { why.as_str() } else { "" };
                steps.secret(Stage::Accounts, sql, shown, why);
            }
        }
        steps.sql(Stage::Accounts, "SET SESSION sql_log_bin = 1", "");
    }

    /// Events that run on the active master as well: copies, which nothing has switched off as replication
    /// would have. Whoever alters an event becomes its definer, unless he names another.
    fn events_to_silence(&self, place: usize) -> Vec<(String, String)> {
        let (state, active) = (&self.states[place], &self.states[self.active]);
        let dialect = state.facts.dialect;
        // The word was changed in 8.4.
        let newer = dialect.flavor == Flavor::MySql && dialect.version >= (8, 4, 0);
        let word = if newer { "REPLICA" } else { "SLAVE" };
        let both = state
            .events
            .iter()
            .filter(|(event, _)| place != self.active && active.events.contains_key(*event));
        both.map(|(event, definer)| {
            let sql = format!("ALTER DEFINER={definer} EVENT {event} DISABLE ON {word}");
            (sql.clone(), sql)
        })
        .collect()
    }

    fn join(&self, place: usize, position: Position, settings: &[Setting], steps: &mut Steps) {
        let (state, flavor) = (&self.states[place], self.states[place].flavor());
        if let (Some(from), true) = (self.copying.from, self.copying.goes_into(place)) {
            let why = format!("it holds no data, and {} does", self.states[from].name());
            steps.steps.push(Step { stage: Stage::Copy, action: Action::CopyFrom(from), why });
        }
        let running = state.receives();
        let changes = self.channels_to_change(place);
        let repositions = matches!(position, Position::Executed(_)) && flavor == Flavor::MariaDb;
        if running && (!changes.is_empty() || repositions) {
            steps.sql(Stage::Pause, dialect::stop(flavor), "channels are changed while they stand");
        }
        steps.position(flavor, position);
        for (channel, source, why) in &changes {
            let ServerAddress::Tcp { host, port } = &self.states[*source].facts.address else {
                continue;
            };
            let statement = |password| {
                dialect::follow(
                    flavor,
                    &Source {
                        channel,
                        host,
                        port: *port,
                        user: &self.replication_user,
                        password,
                        heartbeat: HEARTBEAT,
                        tls: self.states[*source].offers_tls(),
                    },
                )
            };
            let password = self.request.replication_password.reveal();
            steps.secret(Stage::Follow, statement(password), statement("***"), why);
        }
        let stopped =
            settings.iter().any(|setting| setting.change == Change::WhileStopped && !setting.now);
        let starts = !changes.is_empty() || state.stands() || running && (repositions || stopped);
        if starts {
            steps.sql(Stage::Start, dialect::start(flavor), "both threads of every channel");
        }
    }

    /// The channels that the server at `place` lacks, or has otherwise than they should be: each with its
    /// name, the server at its other end, and the reason.
    fn channels_to_change(&self, place: usize) -> Vec<(String, usize, String)> {
        let state = &self.states[place];
        let planned = joining::planned(self.states, self.shape, place);
        let change = |(name, source): (String, usize)| {
            let from = self.states[source].name();
            let Some(following) = state.channel_from(source) else {
                return Some((name, source, format!("it receives what {from} has")));
            };
            let channel = following.channel();
            let offers_tls = self.states[source].offers_tls();
            let heartbeat = channel.heartbeat_period.is_none_or(|period| period == HEARTBEAT);
            let gives_up = following.text(&["source_retry_count"]).parse::<u64>();
            let why = if self.rotates {
                "the account has a new password"
            } else if !channel.uses_gtid {
                "it goes by file and position, and a failover needs GTIDs"
            } else if following.user() != self.replication_user {
                "it logs in with another account"
            } else if offers_tls && !following.uses_tls() {
                "both servers have TLS, and it does not use it"
            } else if !heartbeat {
                "with a heartbeat a second it is noticed soon that the source is silent"
            } else if gives_up.is_ok_and(|tries| (1..1000).contains(&tries)) {
                "it gives up after a few tries, and the source may stay away for hours"
            } else if channel.io_error.0 == ACCESS_DENIED {
                "its password is refused"
            } else {
                return None;
            };
            Some((channel.name.clone(), source, why.to_owned()))
        };
        planned.into_iter().filter_map(change).collect()
    }
}

/// `ER_ACCESS_DENIED_ERROR`
const ACCESS_DENIED: u16 = 1045;
