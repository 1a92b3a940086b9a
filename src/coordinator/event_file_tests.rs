use std::time::{Instant, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::failover::Transition;
use crate::topology::fixture;

struct Desk {
    directory: TempDir,
    journal: Journal,
    began: Instant,
    file: EventFile,
}

impl Desk {
    fn open(name: &str, capacity: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let file = EventFile::new(directory.path().join(name), fixture::servers());
        Self { directory, journal: Journal::new(capacity, began), began, file }
    }

    /// Records an event and has it written down.
    async fn record(&mut self, after_micros: u64, to: &'static str) {
        let after = Duration::from_micros(after_micros);
        let reason = format!("\"{to}\"\nit is");
        let transition = Transition { from: "steady", to, reason, server: Some(fixture::M2) };
        self.journal.record(self.began + after, SystemTime::UNIX_EPOCH + after, transition);
        self.file.write_down(&self.journal).await;
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn lines(&self, name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.at(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        self.lines(name).iter().map(|line| line["number"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn each_event_is_a_line() {
    let mut desk = Desk::open("events.json", 10);
    desk.record(1_000, "suspect").await;
    desk.record(6_432, "catching up").await;
    let lines = desk.lines("events.json");
    let expected = serde_json::json!({
        "number": 2,
        "time": "1970-01-01T00:00:00.006Z",
        "milliseconds": 5.4,
        "from": "steady",
        "to": "catching up",
        "server": "m2",
        "reason": "\"catching up\"\nit is",
    });
    assert_eq!(lines[1], expected);
    assert_eq!(lines[0]["milliseconds"], serde_json::Value::Null);
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_left_alone() {
    let mut desk = Desk::open("events.json", 10);
    desk.record(1, "suspect").await;
    fs::rename(desk.at("events.json"), desk.at("events.json.1")).unwrap();
    desk.record(2, "steady").await;
    assert_eq!(desk.numbers("events.json"), [2]);
    assert_eq!(desk.numbers("events.json.1"), [1]);
}

#[tokio::test]
async fn what_is_in_the_file_stays() {
    let mut desk = Desk::open("events.json", 10);
    fs::write(desk.at("events.json"), "{\"number\":41}\n").unwrap();
    desk.record(1, "suspect").await;
    assert_eq!(desk.numbers("events.json"), [41, 1]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_as_far_as_it_is_kept() {
    let mut desk = Desk::open("later/events.json", 2);
    for to in ["suspect", "catching up", "sealing"] {
        desk.record(1, to).await;
        assert!(desk.file.failing);
    }
    fs::create_dir(desk.at("later")).unwrap();
    desk.record(2, "promoting").await;
    assert!(!desk.file.failing);
    assert_eq!(desk.numbers("later/events.json"), [3, 4], "the journal keeps two");
}
