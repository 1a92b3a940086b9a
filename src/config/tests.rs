//! What a file and an environment mean, and what is said of mistakes in them.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use super::*;
use crate::topology::{ServerAddress, Servers};
use crate::wire::ProxyVersion;

const PAIR: &str = r#"
[[masters]]
name = "m1"
address = "10.0.0.11:3306"
[[masters]]
name = "m2"
address = "10.0.0.12:3306"
"#;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, text)| (name.into(), text.into())).collect()
}

/// Loads `text` from a file of its own; errors name the file `proxy.toml`, wherever it was.
fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    load(Some(&path), variables(environment))
        .map_err(|errors| errors.to_string().replace(&prefix, ""))
}

fn errors(text: &str, environment: &[(&str, &str)]) -> String {
    load_text(text, environment).expect_err("this was taken for right")
}

#[test]
fn the_logins_of_administrators_are_no_keys_of_the_file() {
    let setup = [("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__M1__PASSWORD", "x")];
    assert!(load_text(PAIR, &setup).is_ok());
    assert!(errors(PAIR, &[("TANDEM_SETTUP__USER", "root")]).contains("unknown key"));
}

#[test]
fn the_file_in_the_repository_says_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/proxy.toml");
    let config = load(Some(path.as_ref()), []).unwrap();
    let address = |host: &str| ServerAddress::Tcp { host: host.into(), port: 3306 };
    let servers = Servers::new(
        [("m1".into(), address("10.0.0.11")), ("m2".into(), address("10.0.0.12"))],
        [],
    );
    let defaults = Config::new(servers);
    assert_eq!(config.listen, defaults.listen);
    assert_eq!(config.servers, defaults.servers);
    assert_eq!(config.monitor, defaults.monitor);
    assert_eq!(config.failover, defaults.failover);
    assert_eq!(config.reads, defaults.reads);
    assert_eq!(config.tls, defaults.tls);
    assert_eq!(config.server_tls, defaults.server_tls);
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(config.proxy_protocol, defaults.proxy_protocol);
    assert_eq!(config.compression, defaults.compression);
    assert_eq!(config.admin, defaults.admin);
    assert_eq!(config.log, defaults.log);
    for setting in settings(&config) {
        assert!(
            matches!(setting.origin, Place::File { .. }),
            "proxy.toml does not show `{}`",
            setting.key
        );
    }
}

#[test]
fn every_key_that_is_acted_on_is_rendered() {
    let replica = [("TANDEM_REPLICAS", "[{name='r1', address='10.0.0.13:3306'}]")];
    let config = load_text(PAIR, &replica).unwrap();
    let shown: Vec<String> = settings(&config).into_iter().map(|setting| setting.key).collect();
    for key in keys::KEYS {
        let name = key.path.trim_end_matches("_file");
        let found =
            shown.iter().any(|shown| shown == name || shown.starts_with(&format!("{name}[")));
        assert!(found, "`tandem config` does not show `{name}`");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let text =
        format!("listen = \"127.0.0.1:4000\"\n{PAIR}[monitor]\ninterval = \"2s\"\nfall = 5\n");
    let config = load_text(
        &text,
        &[
            ("TANDEM_LISTEN", r#"["127.0.0.1:4001", "unix:/run/t.sock"]"#),
            ("TANDEM_MONITOR__INTERVAL", "250ms"),
            ("TANDEM_MONITOR__PASSWORD", "0123"),
            ("TANDEM_FAILOVER__AUTOMATIC", "false"),
            ("TANDEM_LIMITS__MAX_CONNECTIONS", "7"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.monitor.interval, Duration::from_millis(250));
    assert_eq!(config.monitor.fall, 5, "what the environment does not name stays");
    assert_eq!(config.monitor.password.reveal(), "0123", "a password is never a number");
    assert!(!config.failover.automatic);
    assert_eq!(config.limits.max_connections, 7);
    assert_eq!(config.origins.of("monitor.interval").to_string(), "TANDEM_MONITOR__INTERVAL");
    assert!(matches!(config.origins.of("monitor.fall"), Place::File { line: 11, .. }));
    assert_eq!(*config.origins.of("monitor.rise"), Place::Default);
}

#[test]
fn the_environment_alone_is_enough() {
    let absent = file::File::read("/nonexistent/proxy.toml".as_ref(), false);
    assert!(absent.unwrap().is_none(), "a file that nobody named may be missing");
    let masters = r#"[{name="a",address="db1:3306"},{name="b",address="unix:/run/b.sock"}]"#;
    let variables = [("TANDEM_LISTEN", "unix:/run/tandem/mysql.sock"), ("TANDEM_MASTERS", masters)];
    let config = load_text("", &variables).unwrap();
    assert_eq!(config.listen, ["unix:/run/tandem/mysql.sock".parse().unwrap()]);
    assert_eq!(config.servers.by_name("b").unwrap().address.to_string(), "unix:/run/b.sock");
    assert_eq!(config.origins.of("masters[1].name").to_string(), "TANDEM_MASTERS");
    let bad = r#"[{name="a",address="db1:3306",port=1},{name="b"}]"#;
    insta::assert_snapshot!(errors("", &[("TANDEM_MASTERS", bad)]), @r"
    TANDEM_MASTERS: unknown key `masters[0].port`
    TANDEM_MASTERS: `masters[1].address` is missing
    ");
}

#[test]
fn passwords_are_taken_word_for_word_from_variables_and_files() {
    for password in ["[x", "\"quoted\"", "true", " blank ", "a\\b\nc", "ü'"] {
        let config = load_text(PAIR, &[("TANDEM_MONITOR__PASSWORD", password)]).unwrap();
        assert_eq!(config.monitor.password.reveal(), password);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    for (content, password) in
        [("s3cret\n", "s3cret"), ("a\n\n", "a\n"), ("b", "b"), ("c\r\n", "c")]
    {
        fs::write(&path, content).unwrap();
        let path = path.to_str().unwrap();
        let config = load_text(PAIR, &[("TANDEM_ADMIN__PASSWORD_FILE", path)]).unwrap();
        assert_eq!(config.admin.password.reveal(), password);
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = r#"listn = ["127.0.0.1:3306"]
interval = "1s"

[[masters]]
name = "m1"
adress = "10.0.0.11:3306"
[[masters]]
name = "m 2"
address = "10.0.0.12"

[monitor]
intervall = "1s"
timeout = 500
fall = 0
password = 12
rise = 99999999999

[monitr]
user = "x"

[failover]
automatic = "yes"
fencing = "readonly"
hold = "ten seconds"
pace = "0s"
failback = "manual"
catch_up_expired = "stay"
returning_master = "keep"

[tls]
cert = "x"
client_certificate = "none"

[server_tls]
mode = "verify"
[log]
level = "inof"
"#;
    insta::assert_snapshot!(errors(text, &[("TANDEM_MONITOR__FALLL", "1")]), @r#"
    proxy.toml:1: unknown key `listn`; did you mean `listen`?
    proxy.toml:2: unknown key `interval`; did you mean `monitor.interval`?
    proxy.toml:4: `masters[0].address` is missing
    proxy.toml:6: unknown key `masters[0].adress`; did you mean `address`?
    proxy.toml:8: `masters[1].name` must be 1 to 64 letters, digits, `-`, `_` or `.`, not "m 2"
    proxy.toml:9: `masters[1].address` must be an address, "host:port" or "unix:/path", not "10.0.0.12"
    proxy.toml:12: unknown key `monitor.intervall`; did you mean `monitor.interval`?
    proxy.toml:13: `monitor.timeout` must be a duration such as "500ms", "10s" or "5m", not 500
    proxy.toml:14: `monitor.fall` must be a whole number of at least 1, not 0
    proxy.toml:15: `monitor.password` must be a text in quotes, not a number
    proxy.toml:16: `monitor.rise` must be a smaller number, not 99999999999
    proxy.toml:18: unknown key `monitr`; did you mean `monitor`?
    proxy.toml:22: `failover.automatic` must be true or false, not "yes"
    proxy.toml:23: `failover.fencing` must be "read_only" or "none", not "readonly"
    proxy.toml:24: `failover.hold` must be a duration such as "500ms", "10s" or "5m", not "ten seconds"
    proxy.toml:25: `failover.pace` must be "off" or a duration above zero, not "0s"
    proxy.toml:28: `failover.returning_master` must be "quarantine" or "merge", not "keep"
    proxy.toml:32: unknown key `tls.client_certificate`; did you mean `tls.client_certificates`?
    proxy.toml:35: `server_tls.mode` must be "disabled" or "preferred" or "required" or "verify_ca" or "verify_identity", not "verify"
    proxy.toml:37: `log.level` must be a level (error, warn, info, debug, trace, off) or a filter such as "info,tandem::session=debug", not "inof"
    TANDEM_MONITOR__FALLL: unknown key `TANDEM_MONITOR__FALLL`; did you mean `TANDEM_MONITOR__FALL`?
    "#);
}

#[test]
fn a_mistake_between_keys_names_both_places() {
    let text = r#"listen = ["0.0.0.0:3306", "10.0.0.12:3306"]
[[masters]]
name = "m1"
address = "10.0.0.12:3306"
[[masters]]
name = "M1"
address = "10.0.0.12:3306"
[monitor]
password = "a"
password_file = "/nonexistent/a"
[admin]
password_file = "/nonexistent/b"
console = "0.0.0.0:6032"
"#;
    insta::assert_snapshot!(errors(text, &[]), @r"
    proxy.toml:1: `listen` has the address 10.0.0.12:3306 of `m1` (proxy.toml:4)
    proxy.toml:6: the name `M1` is taken already (proxy.toml:3)
    proxy.toml:7: `M1` has the address 10.0.0.12:3306 of `m1` (proxy.toml:4)
    proxy.toml:9: `monitor.password` and `monitor.password_file` (proxy.toml:10) are both given; keep one of them
    proxy.toml:12: `admin.password_file`: /nonexistent/b: No such file or directory (os error 2)
    proxy.toml:13: `admin.console` is 0.0.0.0:6032, which others can reach: set `admin.password` or `admin.password_file`
    ");
}

#[test]
fn statements_wait_for_longer_than_a_switchover_may_take() {
    let pair = "[[masters]]\nname = \"a\"\naddress = \"h:1\"\n[[masters]]\nname = \"b\"\naddress = \"h:2\"\n";
    let with = |more: &str| errors(&format!("{pair}{more}"), &[]);
    insta::assert_snapshot!(with("[failover]\nhold = \"5s\""), @"proxy.toml:8: `failover.hold` (5s) must be longer than `switchover.drain` (5s): while a switchover waits that long for open transactions, all other statements wait, and would fail before it ends");
    insta::assert_snapshot!(with("[switchover]\ndrain = \"1m\""), @"proxy.toml:8: `failover.hold` (10s) must be longer than `switchover.drain` (1m): while a switchover waits that long for open transactions, all other statements wait, and would fail before it ends");
    let both = with("[switchover]\ndrain = \"2s\"\n[failover]\nhold = \"1500ms\"");
    insta::assert_snapshot!(both, @"proxy.toml:10: `failover.hold` (1s 500ms) must be longer than `switchover.drain` (2s): while a switchover waits that long for open transactions, all other statements wait, and would fail before it ends");
    for fine in ["[failover]\nhold = \"5001ms\"", "[switchover]\ndrain = \"9s\""] {
        let config = load_text(&format!("{pair}{fine}"), &[]).expect(fine);
        assert!(config.failover.hold > config.switchover.drain);
    }
}

#[test]
fn a_pair_is_needed() {
    insta::assert_snapshot!(errors("", &[]), @"no masters: name the two servers of the pair as [[masters]] in proxy.toml, or in TANDEM_MASTERS");
    insta::assert_snapshot!(errors("masters = []", &[]), @"no masters: name the two servers of the pair as [[masters]] in proxy.toml, or in TANDEM_MASTERS");
    insta::assert_snapshot!(errors("[masters]\nname = \"a\"", &[]), @"proxy.toml:1: `masters` must be a list of tables, `[[masters]]`, not a table");
    let one = "[[masters]]\nname = \"a\"\naddress = \"h:1\"";
    insta::assert_snapshot!(errors(one, &[]), @"proxy.toml:2: there is only one master, `a`; Tandem needs a pair: add the second one as another [[masters]]");
}

#[test]
fn what_is_not_there_or_not_toml_is_said() {
    let missing = load(Some("/nonexistent/proxy.toml".as_ref()), []).unwrap_err();
    insta::assert_snapshot!(missing, @"/nonexistent/proxy.toml: cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(errors("a = 1\nb = = 2\n", &[]), @"proxy.toml:2: extra `=`, expected nothing");
    insta::assert_snapshot!(errors("monitor = 3\n", &[]), @r"
    no masters: name the two servers of the pair as [[masters]] in proxy.toml, or in TANDEM_MASTERS
    proxy.toml:1: `monitor` must be a table, `[monitor]`, not 3
    ");
}

#[test]
fn variables_of_others_are_let_be() {
    let kubernetes = [
        ("TANDEM_PORT", "tcp://10.0.0.1:3306"),
        ("TANDEM_SERVICE_HOST", "10.0.0.1"),
        ("TANDEM_PORT_3306_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load_text(PAIR, &kubernetes).is_ok());
    let ours = [
        ("TANDEM_LISTN", "x"),
        ("TANDEM_MONITOR_USER", "x"),
        ("TANDEM_MONITOR__USR", "x"),
        ("TANDEM_NOTHING__LIKE_IT", "x"),
        ("TANDEM_TLS__CRT", "x"),
        ("TANDEM_READS__LISTEN", "x"),
        ("TANDEM_MASTERS", "[{name="),
        ("TANDEM_MONITOR__RISE", "many"),
        ("TANDEM_ADMIN__HTTP", "localhost"),
    ];
    insta::assert_snapshot!(errors(PAIR, &ours), @r#"
    TANDEM_ADMIN__HTTP: `admin.http` must be an address, "host:port" or "unix:/path", or "off", not "localhost"
    TANDEM_LISTN: unknown key `TANDEM_LISTN`; did you mean `TANDEM_LISTEN`?
    TANDEM_MASTERS: `masters` must be a TOML value, not `[{name=` (unclosed inline table, expected `}`)
    TANDEM_MONITOR_USER: unknown key `TANDEM_MONITOR_USER`; did you mean `TANDEM_MONITOR__USER`?
    TANDEM_MONITOR__RISE: `monitor.rise` must be a whole number of at least 1, not "many"
    TANDEM_MONITOR__USR: unknown key `TANDEM_MONITOR__USR`; did you mean `TANDEM_MONITOR__USER`?
    TANDEM_NOTHING__LIKE_IT: unknown key `TANDEM_NOTHING__LIKE_IT`
    TANDEM_READS__LISTEN: `reads.listen` must be an address, "host:port" or "unix:/path", not "x"
    TANDEM_TLS__CRT: unknown key `TANDEM_TLS__CRT`; did you mean `TANDEM_TLS__CERT`?
    "#);
    assert!(load_text(PAIR, &[("TANDEM_FAILOVER__FAILBACK", "manual")]).is_ok());
}

#[test]
fn slaves_that_serve_reads_are_servers_like_the_others() {
    let with = |more: &str| load_text(&format!("{PAIR}{more}"), &[]);
    let reads = "[[replicas]]\nname = \"r1\"\naddress = \"10.0.0.13:3306\"\n[reads]\nlisten = \"127.0.0.1:3307\"\n";
    let config = with(&format!("{reads}max_lag = \"500ms\"\nstandbys = false")).unwrap();
    let replicas: Vec<_> = config.servers.replicas().collect();
    assert_eq!((replicas[0].name.as_str(), replicas[0].id.index()), ("r1", 2));
    assert_eq!(config.reads.listen, ["127.0.0.1:3307".parse().unwrap()]);
    assert_eq!(config.reads.max_lag, Duration::from_millis(500));
    assert!(!config.reads.standbys && config.reads.active && !config.reads.causal);
    let of = |more: &str| errors(&format!("{PAIR}{more}"), &[]);
    let wrong = "[[replicas]]\nname = \"M1\"\n[[replicas]]\nname = \"r 2\"\naddress = \"h:1\"\n";
    insta::assert_snapshot!(of(wrong), @r#"
    proxy.toml:8: `replicas[0].address` is missing
    proxy.toml:11: `replicas[1].name` must be 1 to 64 letters, digits, `-`, `_` or `.`, not "r 2"
    "#);
    let twice = "[[replicas]]\nname = \"M1\"\naddress = \"10.0.0.12:3306\"\n";
    insta::assert_snapshot!(of(twice), @r"
    proxy.toml:9: the name `M1` is taken already (proxy.toml:3)
    proxy.toml:10: `M1` has the address 10.0.0.12:3306 of `m2` (proxy.toml:7)
    ");
    let short = "[reads]\nlisten = \"10.0.0.12:3306\"\nmax_lag = \"99ms\"\nsplit = 1\n";
    insta::assert_snapshot!(of(short), @r#"
    proxy.toml:9: `reads.listen` has the address 10.0.0.12:3306 of `m2` (proxy.toml:7)
    proxy.toml:10: `reads.max_lag` must be a duration of at least 100ms, not "99ms"
    proxy.toml:11: `reads.split` must be true or false, not 1
    "#);
    let nobody = "[reads]\nlisten = \"127.0.0.1:3307\"\nstandbys = false\nactive = false\n";
    insta::assert_snapshot!(of(nobody), @"proxy.toml:9: `reads.listen` needs `[[replicas]]` as well");
    let split = "[reads]\nsplit = true\nstandbys = false\n";
    insta::assert_snapshot!(of(split), @"proxy.toml:9: `reads.split` needs `[[replicas]]` as well");
    let causal = "[reads]\ncausal = true\n";
    insta::assert_snapshot!(of(causal), @"proxy.toml:9: `reads.causal` needs `reads.listen` as well");
}

#[test]
fn only_loopback_may_go_without_a_password() {
    for (console, allowed) in [
        ("127.0.0.1:6032", true),
        ("[::1]:6032", true),
        ("localhost:6032", true),
        ("unix:/run/c.sock", true),
        ("off", true),
        ("0.0.0.0:6032", false),
        ("db.example:6032", false),
    ] {
        let loaded = load_text(PAIR, &[("TANDEM_ADMIN__CONSOLE", console)]);
        assert_eq!(loaded.is_ok(), allowed, "{console}");
        let with = [("TANDEM_ADMIN__CONSOLE", console), ("TANDEM_ADMIN__PASSWORD", "x")];
        assert!(load_text(PAIR, &with).is_ok(), "{console} with a password");
    }
}

#[test]
fn the_effective_configuration_masks_secrets_and_names_origins() {
    let text = format!("{PAIR}[monitor]\npassword = \"hush\"\n");
    let config = load_text(
        &text,
        &[("TANDEM_LOG__LEVEL", "info,tandem::session=debug"), ("TANDEM_ADMIN__HTTP", "off")],
    )
    .unwrap();
    let rendered = render(&config);
    assert!(!rendered.contains("hush"));
    assert!(!format!("{config:?}").contains("hush"));
    let rendered: Vec<&str> = rendered
        .lines()
        .map(|line| line.rsplit_once("  # /").map_or(line, |(line, _)| line.trim_end()))
        .collect();
    insta::assert_snapshot!(rendered.join("\n"), @r#"
    listen = ["127.0.0.1:3306"]           # default

    [[masters]]
    name = "m1"
    address = "10.0.0.11:3306"

    [[masters]]
    name = "m2"
    address = "10.0.0.12:3306"

    [monitor]
    user = "tandem"                       # default
    password = "***"
    interval = "1s"                       # default
    timeout = "500ms"                     # default
    fall = 2                              # default
    rise = 3                              # default
    heartbeat = true                      # default

    [failover]
    automatic = true                      # default
    fencing = "read_only"                 # default
    hold = "10s"                          # default
    catch_up = "30s"                      # default
    catch_up_expired = "stay"             # default
    returning_master = "quarantine"       # default
    failback = "manual"                   # default
    min_interval = "1m"                   # default
    acknowledge_after = 3                 # default
    pace = "off"                          # default

    [switchover]
    drain = "5s"                          # default

    [reads]
    listen = []                           # default
    max_lag = "2s"                        # default
    standbys = true                       # default
    active = true                         # default
    causal = false                        # default
    split = false                         # default

    [check]
    interval = "5m"                       # default

    [tls]
    mode = "optional"                     # default
    cert = ""                             # default
    key = ""                              # default
    ca = ""                               # default
    client_certificates = "none"          # default

    [server_tls]
    mode = "preferred"                    # default
    ca = ""                               # default
    cert = ""                             # default
    key = ""                              # default

    [limits]
    max_connections = 10000               # default
    connect_timeout = "10s"               # default

    [proxy_protocol]
    accept_from = []                      # default
    send = "off"                          # default

    [compression]
    clients = ["zlib", "zstd"]            # default
    servers = "off"                       # default

    [admin]
    console = "127.0.0.1:6032"            # default
    http = "off"                          # TANDEM_ADMIN__HTTP
    user = "admin"                        # default
    password = ""                         # default

    [log]
    format = "text"                       # default
    level = "info,tandem::session=debug"  # TANDEM_LOG__LEVEL
    events = ""                           # default
    "#);
}

#[test]
fn what_is_rendered_can_be_loaded_again() {
    let config = load_text(PAIR, &[("TANDEM_FAILOVER__HOLD", "1m 30s")]).unwrap();
    let again = load_text(&render(&config), &[]).unwrap();
    assert_eq!(again.servers, config.servers);
    assert_eq!(again.failover, config.failover);
    assert_eq!(again.admin, config.admin);
}

#[test]
fn files_are_looked_for_from_the_file_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    fs::write(directory.path().join("secret"), "hush\n").unwrap();
    let text = format!(
        "{PAIR}[monitor]\npassword_file = \"secret\"\n[tls]\ncert = \"tls/c.pem\"\nkey = \"/k.pem\"\n\
         [log]\nevents = \"events.json\"\n"
    );
    fs::write(&path, text).unwrap();
    let config = load(Some(&path), variables(&[("TANDEM_SERVER_TLS__CA", "ca.pem")]));
    let error = config.expect_err("a ca that nothing is checked with").to_string();
    assert_eq!(
        error,
        "TANDEM_SERVER_TLS__CA: `server_tls.ca` needs `server_tls.mode = \"verify_ca\"` as well"
    );
    let environment =
        [("TANDEM_SERVER_TLS__CA", "ca.pem"), ("TANDEM_SERVER_TLS__MODE", "verify_ca")];
    let config = load(Some(&path), variables(&environment)).unwrap();
    assert_eq!(config.monitor.password.reveal(), "hush");
    assert_eq!(config.tls.cert, Some(directory.path().join("tls/c.pem")));
    assert_eq!(config.tls.key, Some("/k.pem".into()));
    assert_eq!(config.log.events, Some(directory.path().join("events.json")));
    assert_eq!(config.server_tls.ca, Some("ca.pem".into()), "a variable knows no directory");
    let again = load_text(&render(&config), &[]).unwrap();
    assert_eq!(again.tls, config.tls);
}

#[test]
fn half_of_a_tls_setting_is_no_setting() {
    let errors = errors(
        PAIR,
        &[
            ("TANDEM_TLS__CERT", "c.pem"),
            ("TANDEM_TLS__CLIENT_CERTIFICATES", "required"),
            ("TANDEM_SERVER_TLS__KEY", "k.pem"),
            ("TANDEM_SERVER_TLS__MODE", "verify_identity"),
        ],
    );
    insta::assert_snapshot!(errors, @r"
    TANDEM_SERVER_TLS__KEY: `server_tls.key` needs `server_tls.cert` as well
    TANDEM_SERVER_TLS__MODE: `server_tls.mode` needs `server_tls.ca` as well
    TANDEM_TLS__CERT: `tls.cert` needs `tls.key` as well
    TANDEM_TLS__CLIENT_CERTIFICATES: `tls.client_certificates` needs `tls.ca` as well
    ");
}

#[test]
fn networks_are_read_as_people_write_them() {
    let text =
        format!("{PAIR}[proxy_protocol]\naccept_from = [\"10.0.0.0/8\", \"::1\"]\nsend = \"v2\"\n");
    let read = load_text(&text, &[]).unwrap().proxy_protocol;
    let shown: Vec<String> = read.accept_from.iter().map(ToString::to_string).collect();
    assert_eq!(
        (shown, read.send),
        (vec!["10.0.0.0/8".into(), "::1/128".into()], Some(ProxyVersion::V2))
    );
    let single = [("TANDEM_PROXY_PROTOCOL__ACCEPT_FROM", "192.0.2.7")];
    assert_eq!(load_text(PAIR, &single).unwrap().proxy_protocol.accept_from.len(), 1);
    let wrong = format!("{PAIR}[proxy_protocol]\naccept_from = [\"10.0.0.0/99\"]\n");
    assert!(errors(&wrong, &[]).contains("networks such as"), "{}", errors(&wrong, &[]));
}

#[test]
fn whoever_asks_a_proxy_needs_its_admin_section_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    let text = "nonsense = 1\n[monitor]\npassword_file = \"/nonexistent/secret\"\n\
                [admin]\nconsole = \"0.0.0.0:7032\"\npassword = \"hush\"\n";
    fs::write(&path, text).unwrap();
    let environment = [("TANDEM_ADMIN__USER", "root"), ("TANDEM_MONITOR__FALL", "none")];
    let admin = load_admin(Some(&path), variables(&environment)).unwrap();
    assert_eq!((admin.user.as_str(), admin.password.reveal()), ("root", "hush"));
    assert_eq!(admin.console, Some("0.0.0.0:7032".parse().unwrap()));
    fs::write(&path, "[admin]\nconsle = \"off\"\nhttp = 5\n").unwrap();
    let errors = load_admin(Some(&path), variables(&[("TANDEM_ADMIN__USR", "x")])).unwrap_err();
    let errors = errors.to_string().replace(&format!("{}/", directory.path().display()), "");
    insta::assert_snapshot!(errors, @r#"
    proxy.toml:2: unknown key `admin.consle`; did you mean `admin.console`?
    proxy.toml:3: `admin.http` must be an address, "host:port" or "unix:/path", or "off", not 5
    TANDEM_ADMIN__USR: unknown key `TANDEM_ADMIN__USR`; did you mean `TANDEM_ADMIN__USER`?
    "#);
    assert!(load_admin(Some("/nonexistent/proxy.toml".as_ref()), []).is_err());
}
