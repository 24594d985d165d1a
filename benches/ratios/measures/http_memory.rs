//! The rate of reserves over HTTP with the memory ledger, compared with an echo: the cost of the limiter beside HTTP
//! and JSON.

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Echo, Service};
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;

pub(super) const NOTE: &str = "the memory ledger against an axum server of the same version that parses the same body \
    and always answers with a grant. 64 connections, one requirement, 1,000 limits, a window of 2 s, leases forgotten \
    1 s after their end. Load generator and server share the machine, so its cost is on both sides, which moves the \
    ratio towards 1.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let service = Service::over_memory(1)?;
    let echo = Echo::start()?;
    let on = |address| Load {
        seconds: pace.pick(4, 1),
        // After a warm-up longer than the window, as many reservations expire as are made.
        warmup_seconds: pace.pick(4, 1),
        ..Load::on(address)
    };
    let (ours, theirs) = (on(&service.address), Load { warmup_seconds: 1, ..on(&echo.address) });
    ours.prepare()?;
    let pair = Pair::of_rounds(
        pace.pick(5, 2),
        || ours.run(Limits::Keep)?.granted_per_second(),
        || theirs.run(Limits::Keep)?.granted_per_second(),
    )?;
    let detail = format!("{}/s; the echo {}/s", number(pair.ours.median), number(pair.theirs.median));
    Ok(vec![Row {
        what: "reserve over HTTP, memory ledger / bare axum echo".to_owned(),
        goal: Goal::AtLeast(0.85),
        unit: "",
        measured: pair.ratio,
        detail,
    }])
}
