//! The program: configuration, HTTP API, start and stop.
//!
//! | file | what it is |
//! | --- | --- |
//! | `run.rs` | builds everything, starts it and stops it, in order |
//! | `config/` | settings from a file, flags and environment variables, checked |
//! | `api/` | the HTTP API, a file for each endpoint |
//! | `metrics.rs` | what the service counts, and what `GET /metrics` shows |
//! | `probe.rs` | asks a running service whether it is ready |

pub mod api;
pub mod config;
pub mod metrics;
pub mod probe;
mod run;

pub use run::{AppError, serve};
