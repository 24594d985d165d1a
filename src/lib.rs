//! ratelimiterd: a distributed rate and quota limiter whose counters are a ledger.
//!
//! Each module imports only modules that stand below it in this table; a test holds the allowed imports
//! (`tests/import_edges.rs`).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`server`] | the program: configuration, HTTP API, start and stop |
//! | [`testing`] | limiters on tokio's paused time, for tests |
//! | [`client`] | the client library: leases, waiting, retries, over HTTP or in process |
//! | [`engine`] | builds a limiter and its registry over a ledger, and runs their background loops |
//! | [`limiter`] | the operations: reserve, complete, extend, objects |
//! | [`registry`] | the definitions of limits: read from the ledger's log, changed through it |
//! | [`decide`] | the decisions, pure: what to send to the ledger, and what its answers mean |
//! | [`audit`] | reads the ledger alone, and checks that the limiter kept its promises |
//! | [`ledger`] | the ledger: its language, in memory, and TigerBeetle |
//! | [`protocol`] | the commands and outcomes of each operation, and their JSON |
//! | `json` | reads the JSON of requests and of the registry file |
//! | [`limit`] | the vocabulary: keys, amounts, ids, definitions |
//! | [`tls`] | whom callers of a service trust, and the certificate that they show |
//! | [`telemetry`] | metric primitives, and errors as one line |
//!
//! The feature `server` adds [`server`], and `grpc` its services for gateways; `client` adds [`client`], `client-tls` its `https` URLs, `permits` its
//! permits and `tower-layer` its tower layer; `tigerbeetle` adds the ledger
//! that lasts. Without any of them the crate is the limiter over the memory ledger.

pub mod audit;
#[cfg(feature = "client")]
pub mod client;
pub mod decide;
pub mod engine;
#[cfg(test)]
mod fuzz;
mod json;
pub mod ledger;
pub mod limit;
pub mod limiter;
pub mod protocol;
pub mod registry;
#[cfg(feature = "server")]
pub mod server;
pub mod telemetry;
#[cfg(feature = "client")]
pub mod testing;
mod time;
#[cfg(any(feature = "client-tls", feature = "server"))]
pub mod tls;

/// The examples of the README.
#[cfg(all(doctest, feature = "permits"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
