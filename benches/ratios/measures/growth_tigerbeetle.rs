//! Whether a reserve over HTTP and TigerBeetle takes longer among many limits than among few.

use super::Pace;
use crate::failure::Failure;
use crate::load::{self, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, count, number};
use crate::rounds::Pair;

const FEW: usize = 10;
const MANY: usize = 10_000;

pub(super) const NOTE: &str = "over HTTP on 64 connections, one requirement, a window of 2 s, on two services with a \
    TigerBeetle each, in turn. The time of a reserve is one over the rate of the service. 10,000 limits stand for \
    many, because a million would take longer to create than to measure.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let replicas = [TigerBeetle::start()?, TigerBeetle::start()?];
    let services = [Service::over_tigerbeetle(&replicas[0])?, Service::over_tigerbeetle(&replicas[1])?];
    let load = |service, limits| Load {
        limits,
        seconds: pace.pick(5, 1),
        warmup_seconds: pace.pick(3, 1),
        ..Load::on(service)
    };
    let (few, many) = (load(&services[0], FEW), load(&services[1], MANY));
    few.prepare()?;
    many.prepare()?;
    let pair = Pair::of_rounds(
        pace.pick(3, 1),
        || few.run(load::Limits::Keep)?.granted_per_second(),
        || many.run(load::Limits::Keep)?.granted_per_second(),
    )?;
    Ok(vec![Row {
        what: format!("{FEW} to {} limits over TigerBeetle: time", count(MANY)),
        goal: Goal::AtMost(1.5),
        unit: "",
        // The time at many over the time at few is the rate at few over the rate at many.
        measured: pair.ratio,
        detail: format!("{}/s; with many {}/s", number(pair.ours.median), number(pair.theirs.median)),
    }])
}
