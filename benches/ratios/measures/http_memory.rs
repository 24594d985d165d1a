//! The rate of reserves over HTTP with the memory ledger, compared with an echo: the cost of the limiter beside HTTP
//! and JSON, without and with a token, and over TLS.

use super::Pace;
use crate::access::Access;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Echo, Service};
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;

pub(super) const NOTE: &str = "the memory ledger against an axum server of the same version that parses the same body \
    and always answers with a grant, without a token and without TLS. 64 connections that stay open, one requirement, \
    1,000 limits, a window of 2 s, leases forgotten 1 s after their end. Load generator and server share the machine, \
    so its cost is on both sides, which moves the ratio towards 1; over TLS both of them encrypt.";

/// What the callers show, and the goal of the row.
const ROWS: [(&str, Access, Goal); 4] = [
    ("", Access { token: false, tls: false }, Goal::AtLeast(0.85)),
    (", with a token", Access { token: true, tls: false }, Goal::AtLeast(0.85)),
    (", over TLS", Access { token: false, tls: true }, Goal::None),
    (", with a token, over TLS", Access { token: true, tls: true }, Goal::None),
];

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let echo = Echo::start()?;
    ROWS.into_iter().map(|(name, access, goal)| row(name, access, goal, &echo, pace)).collect()
}

fn row(name: &str, access: Access, goal: Goal, echo: &Echo, pace: Pace) -> Result<Row, Failure> {
    let service = Service::over_memory(1, access)?;
    let seconds = pace.pick(4, 1);
    // After a warm-up longer than the window, as many reservations expire as are made.
    let ours = Load { seconds, warmup_seconds: pace.pick(4, 1), ..Load::on(&service) };
    let theirs = Load { seconds, ..Load::on_echo(echo) };
    ours.prepare()?;
    let pair = Pair::of_rounds(
        pace.pick(5, 2),
        || ours.run(Limits::Keep)?.granted_per_second(),
        || theirs.run(Limits::Keep)?.granted_per_second(),
    )?;
    let detail = format!("{}/s; the echo {}/s", number(pair.ours.median), number(pair.theirs.median));
    let what = format!("reserve over HTTP, memory ledger{name} / bare axum echo");
    Ok(Row { what, goal, unit: "", measured: pair.ratio, detail })
}
