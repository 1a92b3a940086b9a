//! The tables that Tandem keeps on the servers: the statements that make them.
//!
//! Whoever comes first makes them: `tandem setup`, or the proxy that writes the first term or heartbeat.
//! They are replicated like any others.

/// The database and the table of the terms. `decided_at` is in UTC: the masters may have different time
/// zones.
pub const TERMS: [&str; 2] = [
    "CREATE DATABASE IF NOT EXISTS tandem",
    "CREATE TABLE IF NOT EXISTS tandem.term (term BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
     active VARCHAR(64) NOT NULL, decided_by VARCHAR(255) NOT NULL, reason TEXT NOT NULL, \
     decided_at DATETIME(3) NOT NULL, planned BOOLEAN NOT NULL DEFAULT FALSE) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
];

/// The table of the heartbeats, in the same database.
pub const HEARTBEAT: &str = "CREATE TABLE IF NOT EXISTS tandem.heartbeat (\
     server_id INT UNSIGNED NOT NULL PRIMARY KEY, at DATETIME(6) NOT NULL) ENGINE=InnoDB";
