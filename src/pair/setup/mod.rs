//! `tandem setup`: makes the configured servers masters of each other, and replicas their slaves.
//!
//! Three parts that are kept apart. *Reading* (`survey.rs`, `reading.rs`) changes nothing. *Planning* (`plan.rs`, with
//! `preconditions.rs`, `joining.rs`, `wanted.rs`, `planner.rs` and `steps.rs`) is pure: from what was
//! read and what was asked for it makes the statements of each server, each with its reason, the lines of
//! my.cnf, and the refusals. *Applying* (`applying.rs`, `copying.rs`) carries statements out.
//!
//! Everything is checked before anything is changed, and a plan is made of what is there: so a server that
//! is as it should be is left alone, and the second run has nothing to do. Whether a pair is healthy, and
//! stays so, is `check`'s business; what docs/setup.md promises is kept here.

mod applying;
mod copying;
mod data;
mod joining;
mod plan;
mod planner;
mod preconditions;
mod printing;
mod reading;
mod refusal;
mod request;
mod state;
mod steps;
mod survey;
mod wanted;

use crate::config::{Administrators, Config, Credentials, Secret};
use crate::tls::MasterTls;
use crate::topology::Server;

pub use applying::ApplyError;
pub use copying::CopyError;
pub use refusal::Refusal;
pub use request::Wishes;
pub use survey::SurveyError;

use plan::{Part, Plan};
use request::Request;
use state::State;
use survey::{Access, Failure, Survey};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The servers are as they should be.
    Done,
    /// What would be done was printed.
    Planned,
    /// Nothing was done, for the reasons that were printed; or not everything.
    Failed,
    /// A server could not be reached, or the login is not known.
    Unreached,
}

impl Ended {
    /// The exit status of the command.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Done | Self::Planned => 0,
            Self::Failed => 1,
            Self::Unreached => 2,
        }
    }
}

/// More rounds than there are parts: one that goes on for longer does not get anywhere.
const ROUNDS: usize = 8;

/// Sets the servers of `config` up, or says what it would do; the exit status. Prints to standard output.
#[must_use]
pub fn run(wishes: &Wishes, config: &Config, administrators: &Administrators) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let mut print = |line: &str| println!("{line}");
            runtime.block_on(set_up(wishes, config, administrators, &mut print))
        }
        Err(error) => {
            eprintln!("tandem: cannot start: {error}");
            Ended::Unreached
        }
    };
    ended.status()
}

/// The same, with every line of the output given to `say`. Every server needs a login in `administrators`.
pub async fn set_up(
    wishes: &Wishes,
    config: &Config,
    administrators: &Administrators,
    say: &mut dyn FnMut(&str),
) -> Ended {
    match Setup::prepare(wishes, config, administrators) {
        Ok(mut setup) => setup.run(say).await,
        Err(reason) => {
            say(&reason);
            Ended::Unreached
        }
    }
}

/// One run.
struct Setup {
    access: Access,
    request: Request,
    /// Whether some server may have the password of the replication account: it was given by somebody, or to
    /// a server in this run.
    password_known: bool,
}

impl Setup {
    fn prepare(
        wishes: &Wishes,
        config: &Config,
        administrators: &Administrators,
    ) -> Result<Self, String> {
        let servers: Vec<Server> = config.servers.iter().cloned().collect();
        let login = |server: &Server| {
            let unknown = || format!("no administrator's login for {}", server.name);
            administrators.of(server).ok_or_else(unknown)
        };
        let logins = servers.iter().map(login).collect::<Result<_, _>>()?;
        let tls = MasterTls::load(&config.server_tls).map_err(|error| error.to_string())?;
        let (user, password) = administrators.replication();
        Ok(Self {
            access: Access { servers, logins, tls },
            password_known: password.is_some(),
            request: Request {
                wishes: wishes.clone(),
                monitor: Credentials {
                    user: config.monitor.user.clone(),
                    password: config.monitor.password.clone(),
                },
                replication_user: user.map(str::to_owned),
                replication_password: match password {
                    Some(password) => password.clone(),
                    None => random_password().ok_or("no random numbers for a password")?,
                },
                rotating: false,
            },
        })
    }

    async fn run(&mut self, say: &mut dyn FnMut(&str)) -> Ended {
        let mut done = false;
        for _ in 0..ROUNDS {
            let (mut survey, plan) = match self.look(done, say).await {
                Ok(found) => found,
                Err(ended) => return ended,
            };
            if !self.request.wishes.apply {
                print_plan(&survey.states, &plan, say);
                return Ended::Planned;
            }
            if plan.servers.iter().any(|server| !server.restart.is_empty()) {
                print_restart(&survey.states, &plan, say);
                return Ended::Failed;
            }
            let Some(part) = plan.first_part() else {
                return finish(&mut survey, &plan, done, say).await;
            };
            if !done {
                say(printing::heading(&survey.states, &plan).trim_end());
                say("");
            }
            done = true;
            self.request.rotating |= plan.rotates;
            self.password_known |= plan.rotates;
            let applied = applying::carry_out(&mut self.access, survey, &plan, part, say).await;
            if let Err(error) = applied {
                say(&format!(
                    "\nStopped: {error}.\nWhat is printed above was done; the same command goes on from there."
                ));
                return Ended::Failed;
            }
            // Every channel has the password now.
            self.request.rotating &= part != Part::Join;
        }
        say(
            "Stopped: after this much there should be nothing left to do, and there is. This is a mistake in Tandem.",
        );
        Ended::Failed
    }

    /// The servers as they are, and the plan.
    async fn look(&self, done: bool, say: &mut dyn FnMut(&str)) -> Result<(Survey, Plan), Ended> {
        let known = self.password_known;
        let survey = match Survey::take(&self.access, &self.request, known, say).await {
            Ok(survey) => survey,
            Err(Failure::Unseen(errors)) => {
                errors.iter().for_each(|error| say(&format!("{error}.")));
                say(untouched(done));
                let refused =
                    |error: &SurveyError| matches!(error, SurveyError::LoginRefused { .. });
                let refused = errors.iter().all(refused);
                return Err(if refused { Ended::Failed } else { Ended::Unreached });
            }
            Err(Failure::Refused(refusals)) => return Err(refuse(&refusals, done, say)),
        };
        match plan::plan(&survey.states, &survey.comparisons, &self.request) {
            Ok(plan) => Ok((survey, plan)),
            Err(refusals) => Err(refuse(&refusals, done, say)),
        }
    }
}

fn untouched(done: bool) -> &'static str {
    if done { "Stopped. What is printed above was done." } else { "Nothing was changed." }
}

fn refuse(refusals: &[Refusal], done: bool, say: &mut dyn FnMut(&str)) -> Ended {
    for refusal in refusals {
        say(&format!("Refused: {refusal}"));
    }
    say(untouched(done));
    Ended::Failed
}

fn print_plan(states: &[State], plan: &Plan, say: &mut dyn FnMut(&str)) {
    say(printing::heading(states, plan).trim_end());
    let names: Vec<&str> = states.iter().map(State::name).collect();
    for (server, state) in plan.servers.iter().zip(states) {
        say(printing::server(server, state, &names).trim_end());
    }
    say("");
    let restart: Vec<&str> = waiting(plan);
    if plan.is_empty() {
        say("Nothing to do.");
    } else if restart.is_empty() {
        say("Nothing was changed. `tandem setup --apply` does it.");
    } else {
        let servers = printing::listed(restart);
        say(&format!(
            "Nothing was changed. First add the lines to my.cnf of {servers}, and restart; then \
             `tandem setup --apply` does the rest."
        ));
    }
}

/// The servers that have to be restarted first.
fn waiting(plan: &Plan) -> Vec<&str> {
    let waits = |server: &&plan::ServerPlan| !server.restart.is_empty();
    plan.servers.iter().filter(waits).map(|server| server.name.as_str()).collect()
}

fn print_restart(states: &[State], plan: &Plan, say: &mut dyn FnMut(&str)) {
    say(printing::heading(states, plan).trim_end());
    for server in plan.servers.iter().filter(|server| !server.restart.is_empty()) {
        say("");
        say(printing::lines(server).trim_end());
        say(&format!(
            "{} needs a restart, with these lines, for: {}",
            server.name,
            server.restart.join(", ")
        ));
    }
    let servers = printing::listed(waiting(plan));
    say(&format!(
        "\nNothing was changed. Add the lines to my.cnf of {servers}, restart, and run this again."
    ));
}

/// Everything is as it should be; so should replication be.
async fn finish(survey: &mut Survey, plan: &Plan, done: bool, say: &mut dyn FnMut(&str)) -> Ended {
    if done {
        say("");
    }
    if let Err(error) = applying::await_receiving(survey, say).await {
        say(&format!("Stopped: {error}."));
        return Ended::Failed;
    }
    for server in plan.servers.iter().filter(|server| !server.lines.is_empty()) {
        say("");
        say(printing::lines(server).trim_end());
    }
    let names = printing::listed(survey.states.iter().map(State::name));
    let all = if done { "Done" } else { "Nothing to do" };
    say(&format!("\n{all}: {names} are as they should be. `tandem check` looks at the rest."));
    Ended::Done
}

fn random_password() -> Option<Secret> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}
