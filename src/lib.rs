//! ratelimiterd: a distributed rate and quota limiter whose counters are a ledger.
//!
//! In the order in which a request meets them:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`server`] | the program `ratelimiterd`: settings, start and stop, the HTTP API |
//! | [`wire`] | the JSON types |
//! | [`limiter`] | the flows of reserve and complete |
//! | [`admin`] | changes of limits, and the loop that applies decreases |
//! | [`versions`] | versions of limits, as chains of the ledger |
//! | [`instances`] | limits that templates make on first use |
//! | [`comeback`] | what comes back by the schedules of limits |
//! | [`registry`] | the definitions: snapshot, log, file |
//! | [`decide`] | the decisions, pure |
//! | [`ledger`] | the ledger: its language, in memory, and TigerBeetle |
//! | [`limit`] | the vocabulary |
//! | [`client`] | the library for callers: leases, waiting, retries, over HTTP or in process |
//! | [`telemetry`] | what operators see |

//!
//! The feature `server` has [`server`]; `client` has [`client`], and `tower-layer` its tower layer;
//! `tigerbeetle` has the ledger that lasts. Without any of them the crate is the limiter over the memory ledger.

pub mod admin;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod comeback;
pub mod decide;
pub mod instances;
pub mod ledger;
pub mod limit;
pub mod limiter;
pub mod registry;
#[cfg(feature = "server")]
pub mod server;
pub mod telemetry;
pub mod versions;
pub mod wire;

/// The examples of the README.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
