//! What durable answers cost, against what many use today.

use std::time::Duration;

use super::Pace;
use crate::client::{Carry, Session, transfers_per_second};
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{CpuTime, Service, TigerBeetle};
use crate::redis::Gcra;
use crate::report::{Goal, Row, number};
use crate::rounds::{Pair, Spread};

pub(super) const NOTE: &str = "one requirement, 1,000 limits, a window of 2 s, each round 10 s after 3 s of warm-up, so \
    that every measured second pays for its expiries; three rounds of each side in turn, on one data file that grows. \
    Redis runs GCRA as a script with `appendonly yes`, `appendfsync always`, over 1,000 keys, loaded by \
    `redis-benchmark`. This favours Redis: its load generator is in C, sends no HTTP and no JSON and takes far less of \
    the machine than the one of the service, and its GCRA forgets who asked, where a lease can be settled and asked for \
    again. Both answer only what is on disk. Directly: requests of as many pending transfers as there are connections, one \
    after another without a pause, each with its timeout: what callers who all waited for their answers would reach if \
    nothing stood between them and TigerBeetle.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let session = Session::connect(&tigerbeetle.address)?;
    let limits = Load::on(&service.address).limits;
    Load::on(&service.address).prepare()?;
    session.make_limits(limits)?;
    let rows = |connections| rows(&tigerbeetle, &service, &session, connections, pace);
    let rows: Vec<[Row; 3]> = [64, 256].into_iter().map(rows).collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// The service against Redis, and the most that anything in front of TigerBeetle could reach.
fn rows(
    tigerbeetle: &TigerBeetle,
    service: &Service,
    session: &Session,
    connections: usize,
    pace: Pace,
) -> Result<[Row; 3], Failure> {
    let load = Load {
        connections,
        seconds: pace.pick(10, 2),
        warmup_seconds: pace.pick(3, 1),
        ..Load::on(&service.address)
    };
    let gcra = Gcra::start(connections)?;
    let redis = || gcra.requests_per_second(connections, load.limits, load.seconds as f64);
    let cpu = || -> Result<[CpuTime; 3], Failure> {
        Ok([CpuTime::of_ended_programs()?, service.cpu()?, tigerbeetle.cpu()?])
    };
    let mut cpu_us_per_call = [0.0; 3];
    let reserve = || {
        let before = cpu()?;
        let per_second = load.run(Limits::Keep)?.granted_per_second()?;
        // What is before and behind the calls is small beside them.
        let calls = per_second * (load.warmup_seconds + load.seconds) as f64;
        for ((us, before), after) in cpu_us_per_call.iter_mut().zip(before).zip(cpu()?) {
            *us = after.us_since(before) / calls;
        }
        Ok(per_second)
    };
    let pair = Pair::of_rounds(pace.pick(3, 1), reserve, redis)?;
    let timeout_seconds = u32::try_from(load.window_seconds).unwrap_or(u32::MAX);
    let (warmup, time) = (Duration::from_secs(load.warmup_seconds), Duration::from_secs(load.seconds));
    let directly = || {
        let session = std::slice::from_ref(session);
        transfers_per_second(
            session,
            (connections, Carry::Nothing),
            load.limits,
            timeout_seconds,
            warmup,
            time,
        )
    };
    let bound = Pair::of_rounds(pace.pick(3, 1), directly, redis)?;
    let row = |what, goal, pair: &Pair| Row {
        what,
        goal,
        unit: "",
        measured: pair.ratio,
        detail: format!("{}/s; Redis {}/s", number(pair.ours.median), number(pair.theirs.median)),
    };
    let reserves = format!("reserve over HTTP, TigerBeetle, {connections} connections");
    let transfers = format!("client crate directly, {connections} transfers in each request");
    let [generator, service, tigerbeetle] = cpu_us_per_call.map(number);
    Ok([
        Row {
            what: format!("{reserves}: processor time of a call"),
            goal: Goal::Told,
            unit: " us",
            measured: Spread::of(vec![cpu_us_per_call.iter().sum()])?,
            detail: format!(
                "{generator} us for the load generator, {service} us for the service, {tigerbeetle} us for TigerBeetle"
            ),
        },
        row(format!("{reserves} / Redis GCRA, AOF always"), Goal::AtLeast(1.0), &pair),
        row(format!("{transfers} / Redis GCRA, AOF always"), Goal::Told, &bound),
    ])
}
