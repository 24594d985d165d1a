//! The tower layer around axum routers: what users of `tower_governor` rely on.
//!
//! Tests of time go through the router without a socket, on paused time. `served.rs` serves it.

mod answers;
mod keys;
mod rates;
mod served;
mod world;
