//! The program `ratelimiterd`: settings, start and stop, the HTTP API, its metrics.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | the settings: file, flags and environment, checked |
//! | [`auth`] | who may do what |
//! | [`api`] | one file per endpoint; `api/reject.rs` turns errors into statuses |
//! | `allowed_hosts` | keeps web pages away |
//! | [`probe`] | the readiness check that `ratelimiterd probe` runs |
//! | `capped_log` | standard error, with a ceiling on bytes per second |
//! | `connections` | accepts connections and serves HTTP on them |
//! | `metrics` | the counters of the API and the text of `GET /metrics` |
//! | `run` | starts the parts in order, and stops them in order |
//! | `stop_signal` | the signals that stop the program |

mod allowed_hosts;
pub mod api;
pub mod auth;
mod capped_log;
mod client_stream;
pub mod config;
mod connections;
mod metrics;
pub mod probe;
mod run;
mod stop_signal;

pub use allowed_hosts::{AllowedHosts, HostError};
pub use capped_log::CappedLog;
pub use metrics::Metrics;
pub use run::{ServeError, serve};
pub use stop_signal::stop_signal;
