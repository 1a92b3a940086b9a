//! The relay before scripted masters: every row of what a client sees when its master goes, and every
//! way in which the bytes of an answer can come.

#[path = "../fake_server/mod.rs"]
mod fake_server;

mod draining;
mod in_flight;
mod killing;
mod logins;
mod moving;
mod racing;
mod responses;
mod shapes;
mod statements;
