//! What durable answers cost, against what many use today.

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::redis::Gcra;
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;

pub(super) const NOTE: &str = "one requirement, 1,000 limits, a window of 2 s, each round 10 s after 3 s of warm-up, so \
    that every measured second pays for its expiries; three rounds of each side in turn, on one data file that grows. \
    Redis runs GCRA as a script with `appendonly yes`, `appendfsync always`, over 1,000 keys, loaded by \
    `redis-benchmark`. This favours Redis: its load generator is in C, sends no HTTP and no JSON and takes far less of \
    the machine than the one of the service, and its GCRA forgets who asked, where a lease can be settled and asked for \
    again. Both answer only what is on disk.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    Load::on(&service.address).prepare()?;
    [64, 256].into_iter().map(|connections| row(&service, connections, pace)).collect()
}

fn row(service: &Service, connections: usize, pace: Pace) -> Result<Row, Failure> {
    let load = Load {
        connections,
        seconds: pace.pick(10, 2),
        warmup_seconds: pace.pick(3, 1),
        ..Load::on(&service.address)
    };
    let gcra = Gcra::start(connections)?;
    let pair = Pair::of_rounds(
        pace.pick(3, 1),
        || load.run(Limits::Keep)?.granted_per_second(),
        || gcra.requests_per_second(connections, load.limits, load.seconds as f64),
    )?;
    Ok(Row {
        what: format!("reserve over HTTP, TigerBeetle, {connections} connections / Redis GCRA, AOF always"),
        goal: Goal::AtLeast(1.0),
        unit: "",
        measured: pair.ratio,
        detail: format!("{}/s; Redis {}/s", number(pair.ours.median), number(pair.theirs.median)),
    })
}
