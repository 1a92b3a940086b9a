//! The table: cases and variants, direct and through the proxy.

use std::io::Write as _;

use tandem::sandbox::SandboxOptions;
use tandem::wire::{Capabilities, Header, OkPacket};

use crate::cases::{Case, Variant, cases, variants};
use crate::conversation::{Conversation, Step, flavor_of, greeting};
use crate::make_account;
use crate::support::Stack;

#[tokio::test]
async fn packets_are_those_of_a_direct_connection() {
    // A machine under load is no reason to move a session in the middle of a comparison.
    let steady = |config: &mut tandem::config::Config| config.failover.automatic = false;
    let stack = Stack::start_with(SandboxOptions::default(), steady).await;
    make_account(&stack).await;
    let active = stack.app.handles().routes.borrow().active().expect("somebody is active").index();
    let (server, proxy) = (stack.sandbox.server(active).port(), stack.port());
    let greeted = greeting(server).await;
    let flavor = flavor_of(&greeted);
    let version = stack.sandbox.binaries().version().to_owned();
    let mut table = Table::default();
    for variant in variants(flavor, greeted.capabilities) {
        let mut direct = Conversation::begin(server, variant.capabilities).await;
        let mut proxied = Conversation::begin(proxy, variant.capabilities).await;
        table.note("login", &variant, difference(&direct.welcome, &proxied.welcome));
        for case in cases(flavor, &version, variant.capabilities) {
            let usual = !variant.capabilities.has(Capabilities::MULTI_STATEMENTS)
                && !variant.capabilities.has(Capabilities::SESSION_TRACK);
            if case.large && !usual {
                continue;
            }
            let different = compare(&case, &mut direct, &mut proxied).await;
            table.note(case.name, &variant, different);
        }
    }
    table.print(&version);
    assert!(table.differences.is_empty(), "{}", table.differences.join("\n"));
}

/// Runs a case on both, one after the other: what it makes for all to see it also removes. Returns
/// what differs, if anything does.
async fn compare(
    case: &Case,
    direct: &mut Conversation,
    proxied: &mut Conversation,
) -> Option<String> {
    let mut answers = [Vec::new(), Vec::new()];
    for (answers, conversation) in answers.iter_mut().zip([direct, proxied]) {
        for step in &case.steps {
            record(case, step);
            answers.push(conversation.run(step).await);
        }
    }
    let [there, here] = &answers;
    case.steps.iter().zip(there.iter().zip(here)).find_map(|(step, (there, here))| {
        let different = match step {
            Step::Changing(_) => (form(there) != form(here))
                .then(|| format!("direct {:?}, proxied {:?}", form(there), form(here))),
            _ if same_changes(there, here) => None,
            _ => difference(there, here),
        };
        let step: String = format!("{step:?}").chars().take(300).collect();
        different.map(|different| format!("{step}: {different}"))
    })
}

/// With `TANDEM_WIRE_RECORD` set, what is said: to see with which step a connection went.
fn record(case: &Case, step: &Step) {
    if std::env::var_os("TANDEM_WIRE_RECORD").is_some() {
        let step: String = format!("{step:?}").chars().take(300).collect();
        let _ = writeln!(std::io::stderr(), "{}: {step}", case.name);
    }
}

/// Whether both are one OK packet, equal but for the order in which it tells of changes: MariaDB's
/// depends on what else is tracked.
fn same_changes(there: &[u8], here: &[u8]) -> bool {
    let told = |answer: &[u8]| {
        let payload = answer.get(Header::LEN..).filter(|payload| payload.first() == Some(&0))?;
        let ok = OkPacket::parse(payload).ok()?;
        let mut changes: Vec<_> =
            ok.session_changes().map(|change| format!("{change:?}")).collect();
        changes.sort();
        Some((ok.affected_rows, ok.last_insert_id, ok.status, ok.warnings, changes))
    };
    there.len() == here.len()
        && told(there).is_some_and(|told_there| told(here) == Some(told_there))
}

/// Where two answers part, and how they go on.
fn difference(there: &[u8], here: &[u8]) -> Option<String> {
    if there == here {
        return None;
    }
    let at = there.iter().zip(here).take_while(|(one, other)| one == other).count();
    let show = |bytes: &[u8]| {
        let from = at.saturating_sub(24);
        bytes[from.min(bytes.len())..bytes.len().min(at + 200)].escape_ascii().to_string()
    };
    Some(format!(
        "{} and {} bytes, from byte {at}:\n    direct  {}\n    proxied {}",
        there.len(),
        here.len(),
        show(there),
        show(here)
    ))
}

/// Of an answer with numbers in it: whether it is an error, a result, or a text.
fn form(answer: &[u8]) -> u8 {
    match answer.get(Header::LEN) {
        Some(0xff) => 0xff,
        Some(byte) if byte.is_ascii_uppercase() => b'A',
        Some(byte) => *byte,
        None => 0,
    }
}

/// What was compared, and what was not equal.
#[derive(Default)]
struct Table {
    /// Cases in order, with a mark for each variant that they ran in.
    rows: Vec<(&'static str, Vec<(String, bool)>)>,
    differences: Vec<String>,
}

impl Table {
    fn note(&mut self, case: &'static str, variant: &Variant, different: Option<String>) {
        if !self.rows.iter().any(|(name, _)| *name == case) {
            self.rows.push((case, Vec::new()));
        }
        let equal = different.is_none();
        if let Some((_, marks)) = self.rows.iter_mut().find(|(name, _)| *name == case) {
            marks.push((variant.name.clone(), equal));
        }
        if let Some(different) = different {
            self.differences.push(format!("{case} [{}]: {different}", variant.name));
        }
    }

    /// Not by `println!`, which the harness keeps to itself when a test ends well.
    fn print(&self, version: &str) {
        let mut out = format!("\nByte for byte against {version}, direct and proxied:\n");
        for (case, marks) in &self.rows {
            let unequal: Vec<_> =
                marks.iter().filter(|(_, equal)| !equal).map(|(name, _)| name.as_str()).collect();
            let equal = marks.len() - unequal.len();
            let but = if unequal.is_empty() {
                String::new()
            } else {
                format!(", not in {}", unequal.join(" "))
            };
            out.push_str(&format!("  {case:<32} equal in {equal:>2} variants{but}\n"));
        }
        let runs: usize = self.rows.iter().map(|(_, marks)| marks.len()).sum();
        out.push_str(&format!(
            "  {} cases, {runs} comparisons, {} differences\n",
            self.rows.len(),
            self.differences.len()
        ));
        let _ = std::io::stderr().write_all(out.as_bytes());
    }
}
