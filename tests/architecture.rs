//! The shape of the package, checked: which module may use which, how long a file may be, what a
//! module may not be called.
//!
//! A drawn diagram does not hold by itself, so here it is as data: [`LAYERS`]. A module uses only
//! rows above its own, never its own row. The scan reads plain text, which is why the code writes
//! `use crate::x::…`, one module a line: a grouped `use crate::{…}` or a `super::super` would get
//! past it, and both are refused.

use std::fs;
use std::path::{Path, PathBuf};

/// The rows. `main` is the binary, which sees the library from outside.
const LAYERS: &[&[&str]] = &[
    &["wire", "topology", "metrics", "signals"],
    &["config", "routing"],
    &["failover", "logging", "tls"],
    &["session", "monitor", "stranded"],
    &["coordinator", "listener", "pair"],
    &["checker", "console", "http", "sandbox"],
    &["app", "cli"],
    &["demo", "drill", "operator"],
    &["main"],
];

/// Lines a file may have before its tests.
const LONGEST_FILE: usize = 500;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "manager", "helper", "helpers", "types", "misc"];

#[test]
fn the_sources_keep_to_the_shape() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(files.len() > 10, "the scan found only {} files", files.len());
    let violations: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            violations(path, &text)
        })
        .collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything that is wrong with the file at `path`, relative to `src`.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = check_names(path);
    found.extend(check_length(path, text));
    if path == "lib.rs" {
        return found;
    }
    let module = path.split('/').next().unwrap_or(path).trim_end_matches(".rs");
    match row_of(module) {
        Some(row) => found.extend(check_uses(path, text, module, row)),
        None => found.push(format!("{path}: the module `{module}` has no row in LAYERS")),
    }
    found
}

fn row_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn check_names(path: &str) -> Vec<String> {
    path.trim_end_matches(".rs")
        .split('/')
        .filter(|name| EMPTY_NAMES.contains(name))
        .map(|name| format!("{path}: `{name}` names nothing; name the concept"))
        .collect()
}

fn check_length(path: &str, text: &str) -> Option<String> {
    if is_test_file(path) {
        return None;
    }
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    (lines > LONGEST_FILE)
        .then(|| format!("{path}: {lines} lines before its tests, {LONGEST_FILE} are allowed"))
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn check_uses(path: &str, text: &str, module: &str, row: usize) -> Vec<String> {
    let mut found = Vec::new();
    // In the file of a top-level module, `super` outside its inline modules is the crate itself.
    let is_top = !path.contains('/') || path == format!("{module}/mod.rs");
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let mut violation = |what: String| found.push(format!("{path}:{number}: {what}"));
        if line.contains("super::super") {
            violation("`super::super` hides what is used; write `crate::…`".to_owned());
        }
        if is_top && ["use super::", "pub use super::"].iter().any(|head| line.starts_with(head)) {
            violation("`super` is the crate here; write `crate::…`".to_owned());
        }
        for used in crate_uses(line) {
            if used.is_empty() {
                violation("a grouped `crate::{…}` hides what is used".to_owned());
                continue;
            }
            match row_of(used) {
                _ if used == module => {}
                Some(used_row) if used_row < row => {}
                Some(used_row) if used_row == row => {
                    violation(format!("`{module}` uses `{used}` of its own row"));
                }
                Some(_) => violation(format!("`{module}` uses `{used}` of a row below its own")),
                None => violation(format!("the module `{used}` has no row in LAYERS")),
            }
        }
    }
    found
}

/// The names after each `crate::` of a line; an empty one for anything but a name. `tandem::` is the
/// same seen from the binary.
fn crate_uses(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ["crate::", "tandem::"].into_iter().flat_map(move |root| {
        line.match_indices(root).filter_map(move |(at, _)| {
            let starts_a_path = !line[..at].ends_with(|c: char| is_name(c) || c == ':');
            // A string such as a log filter "tandem::session" is no use.
            let in_a_string = line[..at].matches('"').count() % 2 == 1;
            let rest = &line[at + root.len()..];
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            (starts_a_path && !in_a_string).then(|| &rest[..end])
        })
    })
}

mod each_check_can_fail {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        violations(path, text).len()
    }

    #[test]
    fn upwards_is_allowed_and_sideways_and_downwards_are_not() {
        assert_eq!(count("session/relay.rs", "use crate::routing::RoutingTable;"), 0);
        assert_eq!(count("session/relay.rs", "use crate::session::State;"), 0);
        assert_eq!(count("session/relay.rs", "use crate::monitor::Prober;"), 1);
        assert_eq!(count("session/relay.rs", "use crate::coordinator::Coordinator;"), 1);
        assert_eq!(count("routing.rs", "    let t = crate::failover::Event;"), 1);
        assert_eq!(count("topology/server.rs", "pub(in crate::config) fn f() {}"), 1);
        assert_eq!(count("main.rs", "use tandem::app::run;"), 0);
        assert_eq!(count("config/mod.rs", "use tandem::app::run;"), 1);
    }

    #[test]
    fn text_that_is_no_use_is_let_be() {
        assert_eq!(count("routing.rs", "/// See [`crate::app`]."), 0);
        assert_eq!(count("routing.rs", "let f = \"info,tandem::session=debug\";"), 0);
        assert_eq!(count("routing.rs", "use some_crate::app;"), 0);
    }

    #[test]
    fn a_module_needs_a_row() {
        assert_eq!(count("novelty/mod.rs", ""), 1);
        assert_eq!(count("novelty.rs", ""), 1);
        assert_eq!(count("app.rs", "use crate::novelty::X;"), 1);
        assert_eq!(count("lib.rs", "pub mod app;"), 0);
    }

    #[test]
    fn ways_around_the_scan_are_refused() {
        assert_eq!(count("app.rs", "use crate::{config, routing};"), 1);
        assert_eq!(count("app.rs", "use crate::*;"), 1);
        assert_eq!(count("session/state.rs", "use super::super::app;"), 1);
        assert_eq!(count("session/mod.rs", "use super::app::App;"), 1);
        assert_eq!(count("session/mod.rs", "mod tests {\n    use super::*;\n}"), 0);
        assert_eq!(count("session/state.rs", "use super::Relay;"), 0);
    }

    #[test]
    fn a_file_has_a_length() {
        let long = "\n".repeat(LONGEST_FILE + 1);
        let tested = format!("{}#[cfg(test)]\n{long}", "\n".repeat(LONGEST_FILE));
        assert_eq!(count("app.rs", &long), 1);
        assert_eq!(count("app.rs", &tested), 0);
        assert_eq!(count("config/tests.rs", &long), 0);
    }

    #[test]
    fn a_name_says_something() {
        assert_eq!(count("session/util.rs", ""), 1);
        assert_eq!(count("session/helpers/mod.rs", ""), 1);
        assert_eq!(count("session/utility_of_moves.rs", ""), 0);
    }

    #[test]
    fn no_module_has_two_rows() {
        let mut all: Vec<&str> = LAYERS.concat();
        all.sort_unstable();
        all.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    }
}
