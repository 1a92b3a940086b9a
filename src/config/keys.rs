//! All keys of `proxy.toml`. Another one is refused: a proxy that silently ignored a misspelt `max_lag`
//! would be worse than one that does not start.

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.key`, or `key` at the top.
    pub(super) path: &'static str,
    /// How the text of an environment variable is read.
    pub(super) form: Form,
}

/// How the text of an environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands: a password `1234` is no number, and one that begins with `[` no list.
    Text,
    /// As a TOML value if it is one, else as it stands.
    Toml,
}

const fn text(path: &'static str) -> Key {
    Key { path, form: Form::Text }
}

const fn toml(path: &'static str) -> Key {
    Key { path, form: Form::Toml }
}

/// Every key, in the order of the file.
pub(super) const KEYS: &[Key] = &[
    toml("listen"),
    toml("masters"),
    toml("replicas"),
    text("monitor.user"),
    text("monitor.password"),
    text("monitor.password_file"),
    text("monitor.interval"),
    text("monitor.timeout"),
    toml("monitor.fall"),
    toml("monitor.rise"),
    toml("monitor.heartbeat"),
    toml("failover.automatic"),
    text("failover.fencing"),
    text("failover.hold"),
    text("failover.catch_up"),
    text("failover.catch_up_expired"),
    text("failover.returning_master"),
    text("failover.failback"),
    text("failover.min_interval"),
    toml("failover.acknowledge_after"),
    text("failover.pace"),
    text("switchover.drain"),
    toml("reads.listen"),
    text("reads.max_lag"),
    toml("reads.standbys"),
    toml("reads.active"),
    toml("reads.causal"),
    toml("reads.split"),
    text("check.interval"),
    text("tls.mode"),
    text("tls.cert"),
    text("tls.key"),
    text("tls.ca"),
    text("tls.client_certificates"),
    text("server_tls.mode"),
    text("server_tls.ca"),
    text("server_tls.cert"),
    text("server_tls.key"),
    toml("limits.max_connections"),
    text("limits.connect_timeout"),
    toml("proxy_protocol.accept_from"),
    text("proxy_protocol.send"),
    toml("compression.clients"),
    text("compression.servers"),
    text("admin.console"),
    text("admin.http"),
    text("admin.user"),
    text("admin.password"),
    text("admin.password_file"),
    text("log.format"),
    text("log.level"),
    text("log.events"),
];

/// The keys of one `[[masters]]` or `[[replicas]]`.
pub(super) const SERVER_KEYS: &[&str] = &["name", "address"];

/// The key with this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The keys of `[section]`; none if there is no such section.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section() == Some(section))
}

impl Key {
    /// The section, if the key is in one.
    pub(super) fn section(&self) -> Option<&'static str> {
        self.path.split_once('.').map(|(section, _)| section)
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("TANDEM_{}", self.path.replace('.', "__").to_uppercase())
    }
}

/// The known key that `path` was most probably meant to be: the most alike of its own section, else
/// one of the same name elsewhere.
pub(super) fn nearest(path: &str) -> Option<String> {
    let (section, name) = match path.split_once('.') {
        Some((section, name)) => (Some(section), name),
        None => (None, path),
    };
    let siblings = KEYS.iter().filter_map(|key| match (section, key.path.split_once('.')) {
        (Some(section), Some((of, name))) if section == of => Some((name, key.path)),
        (None, None) => Some((key.path, key.path)),
        (None, Some((section, _))) => Some((section, section)),
        _ => None,
    });
    most_alike(name, siblings).map(str::to_owned).or_else(|| {
        KEYS.iter()
            .find(|key| key.path.rsplit('.').next() == Some(name))
            .map(|key| key.path.to_owned())
    })
}

/// The candidate whose first part is most like `written`, if any is like it at all: two slips, or
/// one for every third letter.
pub(super) fn most_alike<'a>(
    written: &str,
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<&'a str> {
    let bound = (written.chars().count() / 3).max(2);
    candidates
        .map(|(name, result)| (strsim::damerau_levenshtein(written, name), result))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, result)| result)
}
