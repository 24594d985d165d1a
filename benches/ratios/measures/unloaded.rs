//! The time that the service adds to one round trip to TigerBeetle, without load.

use std::time::Duration;

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;
use crate::tigerbeetle_client::{Session, round_trip_us};

const LIMITS: usize = 1_000;
const WINDOW_SECONDS: u32 = 2;

pub(super) const NOTE: &str = "one connection that waits for each answer, against one session of the client crate on a \
    thread that only waits for its reply, in turn on the same replica. The direct side needs neither HTTP nor JSON nor \
    a second process.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let load = Load {
        connections: 1,
        limits: LIMITS,
        window_seconds: WINDOW_SECONDS.into(),
        seconds: pace.pick(3, 1),
        warmup_seconds: 1,
        ..Load::on(&service)
    };
    load.prepare()?;
    let session = Session::connect(&tigerbeetle.address)?;
    session.make_limits(LIMITS)?;
    let time = Duration::from_secs(load.seconds);
    let pair = Pair::of_rounds(
        pace.pick(5, 2),
        || Ok(load.run(Limits::Keep)?.reserve_p50_us()),
        || round_trip_us(&session, LIMITS, WINDOW_SECONDS, time),
    )?;
    Ok(vec![Row {
        what: "one reserve over HTTP, unloaded, p50 / one transfer directly, p50".to_owned(),
        goal: Goal::AtMost(1.25),
        unit: "",
        measured: pair.ratio,
        detail: format!("{} us; directly {} us", number(pair.ours.median), number(pair.theirs.median)),
    }])
}
