//! The inputs that fuzzing has found worth keeping, once more: each goes through the target that it
//! belongs to, and whatever the target insists on must hold.
//!
//! An input that once broke something is kept beside the others, under a name that says what.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// Inputs of one target, and bytes of one input: what is kept in the repository stays small.
const MOST: usize = 200;
const LONGEST: usize = 1024;

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let (_, run) = targets::ALL.iter().find(|(name, _)| *name == target).expect("a target");
    let files = corpus(target);
    assert!((1..=MOST).contains(&files.len()), "{target}: {} inputs", files.len());
    run(&[]);
    for file in files {
        let input = fs::read(&file).expect("readable");
        assert!(input.len() <= LONGEST, "{}: {} bytes", file.display(), input.len());
        // A panic does not say which input it was.
        println!("{}", file.display());
        run(&input);
    }
}

#[test]
fn compressed() {
    replay("compressed");
}

#[test]
fn handshake() {
    replay("handshake");
}

#[test]
fn login() {
    replay("login");
}

#[test]
fn ok_packet() {
    replay("ok_packet");
}

#[test]
fn packets() {
    replay("packets");
}

#[test]
fn parameters() {
    replay("parameters");
}

#[test]
fn proxy_header() {
    replay("proxy_header");
}

#[test]
fn response() {
    replay("response");
}

#[test]
fn session_state() {
    replay("session_state");
}

#[test]
fn statement() {
    replay("statement");
}

/// Every target has its corpus and its test here, and its program in `fuzz/fuzz_targets`.
#[test]
fn no_target_is_left_out() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |place: &str| {
        let mut names: Vec<String> = fs::read_dir(here.join(place))
            .expect("readable")
            .map(|entry| {
                let path = entry.expect("readable").path();
                path.file_stem().expect("a name").to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let all: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz/corpus"), all);
    assert_eq!(names("fuzz/fuzz_targets"), all);
    let this = fs::read_to_string(here.join("tests/fuzz_corpus.rs")).expect("readable");
    for name in all {
        assert!(this.contains(&format!("replay(\"{name}\")")), "{name} is not replayed");
    }
}
