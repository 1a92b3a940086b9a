//! TLS on both hops, with real servers and the clients that people use. One that is not at hand is
//! named in the last lines.

#![allow(unreachable_pub)]

mod authority;
mod clients;
mod masters;
#[path = "../support/mod.rs"]
mod support;
mod towards_clients;
