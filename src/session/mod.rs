//! One client session, one task.
mod assignment;
mod prepared;
mod state;
mod statement;

pub use state::{MigrationBlocker, SessionState};
