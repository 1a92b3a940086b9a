//! Whether the standby masters let in who the active one lets in.
//!
//! A user that exists on one master only, or has another password there, goes unnoticed until the
//! failover that ends its sessions. So, behind the first login of each user and schema, Tandem logs
//! in to the standby masters as well and says goodbye. It does so in the background, one at a time,
//! and never leaves a login half-way. An account that was just made may still be on its way through
//! replication: a refusal counts when it is repeated seconds later.
//!
//! One that it lets in is asked whether a fence would stop it (`unfenced.rs`).
//!
//! A login is looked at again after ten minutes, one with a fault after one; all of them when
//! another master becomes active or the accounts change. Each time it takes a login of that user,
//! since nothing secret is kept for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, watch};

use super::backend::{Backend, ConnectFailure};
use super::credential::Credential;
use super::login::Login;
use super::migration::{is_overloaded, words_of};
use super::shared::Shared;
use super::unfenced::{Unfenced, unfenced};
use crate::topology::{Server, ServerId};

/// Until a login that was accepted is looked at again.
const AGAIN: Duration = Duration::from_mins(10);
/// The same for one with a fault.
const AGAIN_FAULTY: Duration = Duration::from_mins(1);
/// Between a refusal and the look that confirms it.
const CONFIRM: Duration = Duration::from_secs(3);
/// Between two looks.
const PACE: Duration = Duration::from_millis(20);
/// For one login.
const WITHIN: Duration = Duration::from_secs(3);
/// Logins that wait to be looked at; one more is looked at when its user comes again.
const WAITING: usize = 256;
/// Users and schemas that are remembered.
const REMEMBERED: usize = 10_000;
/// A finding that was not renewed for so long is of a user who does not come any more.
const STALE: Duration = Duration::from_hours(1);

/// How a user of the active master fares on a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyLogin {
    /// Who.
    pub user: String,
    /// The schema of the login; empty for none.
    pub schema: String,
    /// The standby.
    pub server: ServerId,
    /// Its words, if it refuses the login.
    pub refusal: Option<String>,
    /// Why its writes would go past the fence, if they would.
    pub unfenced: Option<Unfenced>,
    /// When it was last asked.
    pub asked: Instant,
}

type Name = (Vec<u8>, Option<Vec<u8>>);

/// What is known, and what is to be found out.
#[derive(Debug)]
pub(super) struct StandbyLogins {
    /// There is more than one master.
    wanted: bool,
    book: Mutex<Book>,
    work: Notify,
    published: watch::Sender<Arc<[StandbyLogin]>>,
}

#[derive(Debug, Default)]
struct Book {
    /// By user: when to look again.
    due: HashMap<Vec<u8>, Vec<Due>>,
    waiting: Vec<Job>,
    found: BTreeMap<(Name, ServerId), Found>,
}

#[derive(Debug)]
struct Due {
    schema: Option<Vec<u8>>,
    at: Instant,
}

#[derive(Debug)]
struct Job {
    login: Login,
    at: Instant,
    confirms: bool,
}

#[derive(Debug)]
struct Found {
    answer: Answer,
    asked: Instant,
}

/// A standby's word on a login.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Accepted(Option<Unfenced>),
    Refused(String),
}

impl Answer {
    fn refusal(&self) -> Option<&str> {
        match self {
            Self::Accepted(_) => None,
            Self::Refused(words) => Some(words),
        }
    }

    fn unfenced(&self) -> Option<&Unfenced> {
        match self {
            Self::Accepted(unfenced) => unfenced.as_ref(),
            Self::Refused(_) => None,
        }
    }
}

impl StandbyLogins {
    /// For so many masters.
    pub(super) fn new(masters: usize) -> Self {
        let (published, _) = watch::channel(Arc::default());
        Self { wanted: masters > 1, book: Mutex::default(), work: Notify::new(), published }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The active master has accepted this login.
    pub(super) fn note(&self, login: &Login) {
        if self.wanted && self.book().note(login, Instant::now()) {
            self.work.notify_one();
        }
    }

    /// Everything that was found.
    pub(super) fn published(&self) -> watch::Receiver<Arc<[StandbyLogin]>> {
        self.published.subscribe()
    }

    fn publish(&self) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let book = self.book();
        let found = book.found.iter().map(|(((user, schema), server), found)| StandbyLogin {
            user: text(user),
            schema: schema.as_deref().map_or_else(String::new, text),
            server: *server,
            refusal: found.answer.refusal().map(str::to_owned),
            unfenced: found.answer.unfenced().cloned(),
            asked: found.asked,
        });
        self.published.send_replace(found.collect());
    }
}

impl Book {
    /// Whether there is something to do.
    fn note(&mut self, login: &Login, now: Instant) -> bool {
        if matches!(login.credential, Credential::Wrong) || self.waiting.len() >= WAITING {
            return false;
        }
        let known = self.due.get(&login.user).and_then(|of_user| {
            of_user.iter().find(|due| due.schema == login.schema).map(|due| due.at)
        });
        if known.is_some_and(|at| now < at) {
            return false;
        }
        self.look_again((login.user.clone(), login.schema.clone()), now + AGAIN);
        self.waiting.push(Job { login: login.clone(), at: now, confirms: false });
        true
    }

    fn look_again(&mut self, (user, schema): Name, at: Instant) {
        if self.due.len() >= REMEMBERED {
            self.due.clear();
        }
        let of_user = self.due.entry(user).or_default();
        of_user.retain(|due| due.schema != schema);
        if of_user.len() >= REMEMBERED {
            of_user.clear();
        }
        of_user.push(Due { schema, at });
    }

    /// When there is something to do.
    fn next(&self) -> Option<Instant> {
        self.waiting.iter().map(|job| job.at).min()
    }

    fn take(&mut self, now: Instant) -> Option<Job> {
        let at = self.waiting.iter().position(|job| job.at <= now)?;
        Some(self.waiting.remove(at))
    }

    /// Whether the finding is news.
    fn found(&mut self, name: Name, server: ServerId, answer: Answer, now: Instant) -> bool {
        if self.found.len() >= REMEMBERED {
            self.found.retain(|_, found| found.answer != Answer::Accepted(None));
        }
        let faults = |answer: &Answer| (answer.refusal().is_some(), answer.unfenced().is_some());
        let now_has = faults(&answer);
        let before = self.found.insert((name, server), Found { answer, asked: now });
        before.map_or((false, false), |before| faults(&before.answer)) != now_has
    }

    fn forget_stale(&mut self, now: Instant) {
        self.found.retain(|_, found| now.saturating_duration_since(found.asked) < STALE);
    }
}

/// Looks after the standby masters until the control plane ends.
pub(super) async fn look_after(shared: &Shared) {
    let standby = shared.standby();
    let (mut routes, mut accounts) = (shared.routes(), shared.accounts());
    let mut active = shared.table().active();
    loop {
        let next = standby.book().next();
        let waiting = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = standby.work.notified() => {}
            () = waiting => {
                let job = standby.book().take(Instant::now());
                if let Some(job) = job {
                    look(shared, job).await;
                    tokio::time::sleep(PACE).await;
                }
            }
            changed = accounts.changed() => {
                if changed.is_err() {
                    return;
                }
                standby.book().due.clear();
            }
            changed = routes.changed() => {
                if changed.is_err() {
                    return;
                }
                let now_active = shared.table().active();
                if now_active.is_some() && now_active != active {
                    active = now_active;
                    *standby.book() = Book::default();
                    count(shared);
                }
            }
        }
    }
}

/// Logs in to each standby with the login of `job`.
async fn look(shared: &Shared, job: Job) {
    let table = shared.table();
    let Some(active) = table.active() else { return };
    let name = (job.login.user.clone(), job.login.schema.clone());
    let mut refused = false;
    for server in table.servers.masters().filter(|server| server.id != active) {
        let Some(answer) = ask(shared, server, &job.login).await else {
            // It has no word on the login: the user's next one asks again.
            shared.standby().book().look_again(name.clone(), Instant::now());
            continue;
        };
        if answer.refusal().is_some() && !job.confirms {
            refused = true;
            continue;
        }
        let now = Instant::now();
        let mut book = shared.standby().book();
        if answer != Answer::Accepted(None) {
            book.look_again(name.clone(), now + AGAIN_FAULTY);
        }
        if book.found(name.clone(), server.id, answer.clone(), now) {
            drop(book);
            report(server, &job.login, &answer);
        }
    }
    if refused {
        let at = Instant::now() + CONFIRM;
        shared.standby().book().waiting.push(Job { at, confirms: true, ..job });
    }
    count(shared);
}

/// A standby's answer; nothing when it has no word on the login.
async fn ask(shared: &Shared, server: &Server, login: &Login) -> Option<Answer> {
    match Backend::connect(server, login, 0, &shared.master_tls, WITHIN).await {
        Ok(mut accepted) => {
            let identity = shared.table().identity.clone();
            let asking = async { unfenced(&mut accepted.backend, &*identity?).await };
            let unfenced = tokio::time::timeout(WITHIN, asking).await.ok().flatten();
            // It need not hear the goodbye.
            let stream = &mut accepted.backend.stream;
            let _ = stream.write_all(&[1, 0, 0, 0, 1]).await;
            let _ = stream.flush().await;
            Some(Answer::Accepted(unfenced))
        }
        Err(ConnectFailure::Refused(packet)) if is_overloaded(&packet) => None,
        Err(ConnectFailure::Refused(packet)) => Some(Answer::Refused(words_of(&packet))),
        Err(ConnectFailure::Unsupported(reason) | ConnectFailure::NotTrusted(reason)) => {
            Some(Answer::Refused(reason))
        }
        Err(
            ConnectFailure::Unreachable(..)
            | ConnectFailure::Replaced(_)
            | ConnectFailure::Interrupted,
        ) => None,
    }
}

fn report(server: &Server, login: &Login, answer: &Answer) {
    let user = String::from_utf8_lossy(&login.user);
    let schema = login.schema.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let (user, schema, server) = (&*user, &*schema, &server.name);
    match answer {
        Answer::Refused(words) => tracing::warn!(
            user,
            schema,
            server,
            words,
            "a standby refuses a user of the active master: a failover would end its sessions"
        ),
        Answer::Accepted(Some(Unfenced { privilege, mend })) => tracing::warn!(
            user,
            schema,
            privilege,
            mend,
            "no fence stops this user: it may write to a master that is read-only"
        ),
        Answer::Accepted(None) => {
            tracing::debug!(user, schema, server, "a standby lets the user in as well");
        }
    }
}

fn count(shared: &Shared) {
    let table = shared.table();
    shared.standby().book().forget_stale(Instant::now());
    shared.standby().publish();
    let book = shared.standby().book();
    for server in table.servers.masters() {
        let answers = || {
            let here = book.found.iter().filter(|((_, id), _)| *id == server.id);
            here.map(|(_, found)| &found.answer)
        };
        let refused = answers().filter(|answer| answer.refusal().is_some()).count();
        let unfenced = answers().filter(|answer| answer.unfenced().is_some()).count();
        let metrics = shared.metrics();
        metrics.standby_refusals(&server.name).set(i64::try_from(refused).unwrap_or(0));
        metrics.unfenced_users(&server.name).set(i64::try_from(unfenced).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::login::Towards;
    use crate::wire::Capabilities;

    fn login(user: &str, schema: Option<&str>) -> Login {
        Login {
            user: user.into(),
            credential: Credential::Empty,
            capabilities: Capabilities::default(),
            collation: 45,
            max_packet: 0,
            schema: schema.map(Into::into),
            attributes: Vec::new(),
            towards: Towards::default(),
        }
    }

    #[test]
    fn each_user_and_schema_is_looked_at_once_in_a_while() {
        let mut book = Book::default();
        let now = Instant::now();
        assert!(book.note(&login("ann", None), now));
        assert!(!book.note(&login("ann", None), now + AGAIN / 2));
        assert!(book.note(&login("ann", Some("shop")), now));
        assert!(book.note(&login("bob", None), now));
        assert!(book.note(&login("ann", None), now + AGAIN));
        assert_eq!(book.waiting.len(), 4);
        let wrong = Login { credential: Credential::Wrong, ..login("eve", None) };
        assert!(!book.note(&wrong, now));
    }

    #[test]
    fn no_more_wait_than_can_be_looked_at() {
        let mut book = Book::default();
        let now = Instant::now();
        let noted = (0..2 * WAITING).filter(|n| book.note(&login(&n.to_string(), None), now));
        assert_eq!(noted.count(), WAITING);
        while book.take(now).is_some() {}
        assert!(book.note(&login("500", None), now), "who found no place comes again");
        assert!(!book.note(&login("1", None), now), "who found one does not");
    }

    #[test]
    fn only_a_change_is_news() {
        let mut book = Book::default();
        let now = Instant::now();
        let name = || (b"ann".to_vec(), None);
        let refusal = || Answer::Refused("denied".to_owned());
        let unfenced = || Unfenced { privilege: "SUPER", mend: String::new() };
        assert!(!book.found(name(), ServerId(1), Answer::Accepted(None), now));
        assert!(book.found(name(), ServerId(1), refusal(), now));
        assert!(!book.found(name(), ServerId(1), refusal(), now));
        assert!(book.found(name(), ServerId(1), Answer::Accepted(None), now));
        assert!(book.found(name(), ServerId(1), Answer::Accepted(Some(unfenced())), now));
        assert!(!book.found(name(), ServerId(1), Answer::Accepted(Some(unfenced())), now));
        book.forget_stale(now + STALE);
        assert!(book.found.is_empty());
    }
}
