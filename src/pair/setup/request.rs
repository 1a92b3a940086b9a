//! What was asked for.

use std::time::Duration;

use crate::config::{Credentials, Secret};
use crate::pair::Shape;

/// How often a source that has nothing else to say says that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Do it, rather than say what would be done.
    pub apply: bool,
    /// Have each commit wait until another master has received it.
    pub semi_sync: bool,
    /// Copy the data of this server into those that hold none.
    pub copy_from: Option<String>,
    /// Who receives from whom; `None` for what is there already, else a ring.
    pub shape: Option<Shape>,
    /// Leave room for so many masters.
    pub room_for: Option<u16>,
}

/// What was asked for, by whomever.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// What the command line says.
    pub wishes: Wishes,
    /// The account of `[monitor]`.
    pub monitor: Credentials,
    /// The account with which servers receive from each other, if it is named.
    pub replication_user: Option<String>,
    /// Its password: the given one, or one that is made for this run and shown to nobody.
    pub replication_password: Secret,
    /// Whether servers have been given that password in this run: then every channel gets it.
    pub rotating: bool,
}
