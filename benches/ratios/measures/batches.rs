//! The rate of transfers in batches through the service, compared with the client crate used directly.

use std::time::Duration;

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;
use crate::tigerbeetle_client::{FULL_BATCH_TRANSFERS, Session, transfers_per_second};

/// The service's default.
const SESSIONS: usize = 2;
const LIMITS: usize = 1_000;
const WINDOW_SECONDS: u32 = 2;

pub(super) const NOTE: &str = "256 reserves of one requirement in each request, on 64 connections, against the client \
    crate with requests of 8,189 pending transfers on 2 sessions (as many as the service has), both on 1,000 limits \
    with a timeout of 2 s, in turn on the same replica; 10 s after 3 s of warm-up. The load generator runs on the same \
    machine, which favours the direct side. Both become slower as the data file grows, and their rounds spread widely.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let load = Load {
        batch: 256,
        limits: LIMITS,
        window_seconds: WINDOW_SECONDS.into(),
        seconds: pace.pick(10, 2),
        warmup_seconds: pace.pick(3, 1),
        ..Load::on(&service)
    };
    load.prepare()?;
    let sessions: Vec<Session> =
        (0..SESSIONS).map(|_| Session::connect(&tigerbeetle.address)).collect::<Result<_, _>>()?;
    sessions.first().ok_or(Failure::Nothing)?.make_limits(LIMITS)?;
    let (warmup, time) = (Duration::from_secs(load.warmup_seconds), Duration::from_secs(load.seconds));
    let directly =
        || transfers_per_second(&sessions, FULL_BATCH_TRANSFERS, LIMITS, WINDOW_SECONDS, warmup, time);
    let service = || load.run(Limits::Keep)?.granted_per_second();
    let pair = Pair::of_rounds(pace.pick(5, 1), service, directly)?;
    Ok(vec![Row {
        what: "batches of 256 over HTTP, transfers / client crate directly, full batches".to_owned(),
        goal: Goal::AtLeast(0.80),
        unit: "",
        measured: pair.ratio,
        detail: format!(
            "{} transfers/s; directly {}/s",
            number(pair.ours.median),
            number(pair.theirs.median)
        ),
    }])
}
