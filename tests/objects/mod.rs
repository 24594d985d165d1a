//! Buckets as objects, on paused time: what users of Go's `x/time/rate` and of governor rely on.
//!
//! A test is a table of steps: when, which call, and its answer. `docs/coverage` says which test of those libraries each
//! stands for.

mod allow;
mod cancel;
mod change;
mod hints;
mod keyed;
mod reserve;
mod unlimited;
mod wait;
mod world;
