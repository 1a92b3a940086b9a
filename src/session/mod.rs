//! One client session, one task.
//!
//! ```text
//! serve ──▶ client (greeting, login) ──▶ migration (to the active master) ──▶ relay
//!                                                                           ▲        │
//!                                       migration ◀── master gone, new table┘        │
//!                                                                                    ▼
//!                    request (what the client sent)   pump (what the server sends) / upload
//! ```
//!
//! The relay carries commands one at a time and forwards answers unread. [`SessionState`] notes what
//! the session becomes, so that it can be rebuilt elsewhere; `verdict.rs` decides what becomes of a
//! statement whose master went. Both are pure. What a session needs to know of the rest of the
//! process is in [`Shared`]; what others may know of it is its [`Entry`] in the [`Registry`].
//!
//! Not here: who is active (the failover machine), and when a client may connect (the listener).

mod acknowledgements;
mod acknowledging;
mod ahead;
mod answering;
mod assignment;
mod attributes;
mod backend;
mod causal;
mod change_user;
mod client;
mod client_error;
mod closed;
mod credential;
mod current;
mod digest;
mod draining;
mod dump;
mod effects;
mod end;
mod front_door;
mod functions;
mod greeting;
mod holding;
mod holdings;
mod idle;
#[doc(hidden)]
pub mod inspect;
mod invitation;
mod key_classes;
mod kill;
mod killing;
mod learning;
mod letting_go;
mod login;
mod loss;
mod migration;
mod pacing;
mod passwords;
mod plugin;
mod prepared;
mod proxied;
mod pump;
mod reading;
mod registry;
mod relay;
mod replies;
mod request;
mod restoring;
mod scratch;
mod seats;
mod sending;
mod serve;
mod shared;
mod splitting;
mod standby;
mod state;
mod statement;
mod statements;
mod tie;
mod tracking;
mod traits;
mod unfenced;
mod upload;
mod verdict;
mod welcome;

pub use acknowledgements::Acknowledgements;
pub use causal::Causal;
pub use end::SessionEnd;
pub use front_door::{Admitted, NotAdmitted, admit};
pub use key_classes::{ForeignKey, KeyClasses};
pub use reading::Reading;
pub use registry::{Activity, Entry, Registry};
pub use seats::Seats;
pub use serve::serve;
pub use shared::{Channels, Shared};
pub use splitting::Splitting;
pub use standby::StandbyLogin;
pub use state::{MigrationBlocker, SessionState};
pub use unfenced::Unfenced;
