//! Whose login is whose, what is asked for, and what is refused.

use super::*;
use crate::topology::ServerAddress;

fn servers() -> Servers {
    let address = |port| ServerAddress::Tcp { host: "127.0.0.1".into(), port };
    Servers::new([("m1".into(), address(1)), ("db-2.a".into(), address(2))], [])
}

fn read(variables: &[(&str, &str)]) -> Result<Administrators, String> {
    let variables = variables.iter().map(|(name, text)| (name.into(), text.into()));
    Administrators::read(&servers(), variables).map_err(|errors| errors.to_string())
}

fn logins(administrators: &Administrators) -> Vec<Option<(String, String)>> {
    let login = |server| {
        let Credentials { user, password } = administrators.of(server)?;
        Some((user, password.reveal().to_owned()))
    };
    servers().iter().map(login).collect()
}

fn login(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.to_owned(), password.to_owned()))
}

/// Answers from a list, and notes what it was asked.
#[derive(Default)]
struct Script {
    answers: Vec<&'static str>,
    asked: Vec<String>,
}

impl Script {
    fn answer(&mut self, question: String) -> io::Result<String> {
        self.asked.push(question);
        if self.answers.is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(self.answers.remove(0).to_owned())
    }
}

impl Questions for Script {
    fn user(&mut self, of: &str, default: &str) -> io::Result<String> {
        self.answer(format!("user of {of} [{default}]"))
    }

    fn password(&mut self, user: &str, of: &str) -> io::Result<Secret> {
        self.answer(format!("password of {user} on {of}")).map(Secret::new)
    }
}

#[test]
fn a_server_has_its_own_login_or_that_of_all() {
    let common = [("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__PASSWORD", "p")];
    let all = read(&common).unwrap();
    assert_eq!(logins(&all), [login("root", "p"), login("root", "p")]);
    let own = [("TANDEM_SETUP__DB_2_A__PASSWORD", "q")];
    let differs = read(&[common.as_slice(), &own].concat()).unwrap();
    assert_eq!(logins(&differs), [login("root", "p"), login("root", "q")]);
    // root's password is not sent to somebody else's account.
    let own = [("TANDEM_SETUP__DB_2_A__USER", "dba")];
    let incomplete = read(&[common.as_slice(), &own].concat()).unwrap();
    assert_eq!(logins(&incomplete), [login("root", "p"), None]);
    // An empty password is one.
    let empty = read(&[("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__PASSWORD", "")]).unwrap();
    assert_eq!(logins(&empty), [login("root", ""), login("root", "")]);
    assert_eq!(logins(&read(&[]).unwrap()), [None, None]);
}

#[test]
fn a_password_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "from a file\n").unwrap();
    let path = path.to_str().unwrap();
    let variables = [("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__PASSWORD_FILE", path)];
    let administrators = read(&variables).unwrap();
    assert_eq!(logins(&administrators)[0], login("root", "from a file"));
    let twice = [variables.as_slice(), &[("TANDEM_SETUP__PASSWORD", "x")]].concat();
    let refused = read(&twice).unwrap_err();
    assert!(refused.contains("both given"), "{refused}");
    let missing = read(&[("TANDEM_SETUP__M1__PASSWORD_FILE", "/nowhere/secret")]).unwrap_err();
    assert!(missing.starts_with("TANDEM_SETUP__M1__PASSWORD_FILE: "), "{missing}");
}

#[test]
fn what_is_not_given_is_asked_for_once() {
    let mut script = Script { answers: vec!["dba", "secret"], ..Script::default() };
    let mut administrators = read(&[]).unwrap();
    administrators.ask(&servers(), &mut script).unwrap();
    assert_eq!(logins(&administrators), [login("dba", "secret"), login("dba", "secret")]);
    assert_eq!(script.asked, ["user of all servers [root]", "password of dba on all servers"]);

    let mut script = Script { answers: vec!["x"], ..Script::default() };
    let given = [
        ("TANDEM_SETUP__USER", "root"),
        ("TANDEM_SETUP__PASSWORD", "p"),
        ("TANDEM_SETUP__M1__USER", "dba"),
    ];
    let mut administrators = read(&given).unwrap();
    administrators.ask(&servers(), &mut script).unwrap();
    assert_eq!(logins(&administrators), [login("dba", "x"), login("root", "p")]);
    assert_eq!(script.asked, ["password of dba on m1"]);
}

#[test]
fn without_anybody_to_ask_the_variable_is_named() {
    for (given, variable) in [
        (&[] as &[_], "TANDEM_SETUP__USER is not set"),
        (&[("TANDEM_SETUP__USER", "root")], "TANDEM_SETUP__PASSWORD is not set"),
        (&[("TANDEM_SETUP__M1__USER", "dba")], "TANDEM_SETUP__M1__PASSWORD is not set"),
    ] {
        let mut administrators = read(given).unwrap();
        let refused = administrators.ask(&servers(), &mut Script::default()).unwrap_err();
        assert!(refused.to_string().contains(variable), "{refused}");
    }
}

#[test]
fn a_misspelled_variable_is_refused_with_the_nearest() {
    let refused = read(&[
        ("TANDEM_SETUP__PASWORD", "secret"),
        ("TANDEM_SETUP__M2__USER", "x"),
        ("TANDEM_LISTEN", "not ours"),
    ])
    .unwrap_err();
    assert_eq!(
        refused,
        "TANDEM_SETUP__M2__USER: unknown key `TANDEM_SETUP__M2__USER`; did you mean \
         `TANDEM_SETUP__M1__USER`?\n\
         TANDEM_SETUP__PASWORD: unknown key `TANDEM_SETUP__PASWORD`; did you mean \
         `TANDEM_SETUP__PASSWORD`?"
    );
}

#[test]
fn the_account_of_replication_may_be_given() {
    assert_eq!(read(&[]).unwrap().replication(), (None, None));
    let given = read(&[
        ("TANDEM_SETUP__REPLICATION_USER", "repl"),
        ("TANDEM_SETUP__REPLICATION_PASSWORD", "r"),
    ])
    .unwrap();
    assert_eq!(given.replication(), (Some("repl"), Some(&Secret::new("r".into()))));
}

#[test]
fn no_secret_is_shown() {
    let given = [("TANDEM_SETUP__USER", "root"), ("TANDEM_SETUP__PASSWORD", "hidden")];
    assert!(!format!("{:?}", read(&given).unwrap()).contains("hidden"));
}
