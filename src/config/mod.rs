//! The configuration, as plain data.
//!
//! Each section is a struct with its defaults; a part of the process gets its own section in its
//! constructor and nothing else. There is no global configuration and no getter by name.
//!
//! A value comes from one of three layers: the default, `proxy.toml`, an environment variable
//! `TANDEM_SECTION__KEY`; the later beats the earlier. What a key was set by is kept in [`Origins`],
//! so that an error can say `proxy.toml:12` and `tandem config` can say where every value is from.
//! All mistakes are reported at once: whoever deploys a file with three of them should not have to
//! start three times.
//!
//! `keys.rs` is the list of all keys, `file.rs` knows lines and spelling mistakes, `load.rs` merges
//! the layers and is the only file that names figment, `read.rs` turns merged values into sections
//! (`value.rs`: one by one), `check.rs` holds the rules that span several keys, `render.rs` goes the
//! other way, `administrators.rs` has the logins that only commands need and no file holds. Connecting,
//! resolving and listening are left to the parts that use the values.

mod administrators;
mod check;
mod error;
mod file;
mod keys;
mod load;
mod place;
mod read;
mod render;
mod secret;
mod sections;
mod value;

pub use administrators::{Administrators, LoginError, Questions, Terminal};
pub use error::{ConfigError, ConfigErrors};
pub use load::{DEFAULT_FILE, load, load_admin};
pub use place::{Origins, Place};
pub use render::{Setting, render, settings};
pub use secret::{Credentials, Secret};
pub use sections::{
    Admin, CatchUpExpired, Check, ClientCertificates, Compress, Config, Failover, Fencing, Limits,
    Log, LogFormat, Monitor, ProxyProtocol, Reads, ReturningMaster, ServerTls, ServerTlsMode,
    Switchover, Tls, TlsMode,
};

#[cfg(test)]
mod tests;
