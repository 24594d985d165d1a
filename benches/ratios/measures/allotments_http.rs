//! Reserves over HTTP on limits that hand out allotments, compared with an echo, with Redis, and with the memory ledger.

use super::Pace;
use crate::access::Access;
use crate::failure::Failure;
use crate::load::{Delegate, Limits, Load, Loaded};
use crate::processes::{Echo, Service, TigerBeetle};
use crate::redis::Gcra;
use crate::report::{Goal, Row, number};
use crate::rounds::Pair;

pub(super) const NOTE: &str = "64 connections, one requirement, 1,000 limits with a window of 2 s and allotments of \
    1 s, against the echo of http-memory and the Redis of http-tigerbeetle, in turn. Unloaded: one connection, which \
    waits for each answer, on one limit; the memory ledger without allotments is the other side.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let echo = Echo::start()?;
    let memory = Service::over_memory(1, Access::default())?;
    let tigerbeetle = TigerBeetle::start()?;
    let durable = Service::over_tigerbeetle(&tigerbeetle)?;
    let mut rows = vec![
        to_echo("the memory ledger", Goal::None, &memory, &echo, pace)?,
        to_echo("TigerBeetle", Goal::AtLeast(0.80), &durable, &echo, pace)?,
    ];
    rows.extend(unloaded(&durable, pace)?);
    rows.push(to_redis(&durable, pace)?);
    Ok(rows)
}

fn delegated(service: &Service, pace: Pace) -> Load {
    let (seconds, warmup_seconds) = (pace.pick(5, 1), pace.pick(3, 1));
    Load { delegate: Delegate::All, seconds, warmup_seconds, ..Load::on(service) }
}

fn to_echo(ledger: &str, goal: Goal, service: &Service, echo: &Echo, pace: Pace) -> Result<Row, Failure> {
    let ours = delegated(service, pace);
    let theirs = Load { seconds: ours.seconds, ..Load::on_echo(echo) };
    ours.prepare()?;
    let pair = Pair::of_rounds(
        pace.pick(5, 2),
        || ours.run(Limits::Keep)?.granted_per_second(),
        || theirs.run(Limits::Keep)?.granted_per_second(),
    )?;
    let detail = format!("{}/s; the echo {}/s", number(pair.ours.median), number(pair.theirs.median));
    let what = format!("reserve over HTTP, 1,000 delegated limits, {ledger} / bare axum echo");
    Ok(Row { what, goal, unit: "", measured: pair.ratio, detail })
}

fn to_redis(service: &Service, pace: Pace) -> Result<Row, Failure> {
    let ours = delegated(service, pace);
    let gcra = Gcra::start(ours.connections)?;
    let pair = Pair::of_rounds(
        pace.pick(3, 1),
        || ours.run(Limits::Keep)?.granted_per_second(),
        || gcra.requests_per_second(ours.connections, ours.limits, ours.seconds as f64),
    )?;
    let detail = format!("{}/s; Redis {}/s", number(pair.ours.median), number(pair.theirs.median));
    Ok(Row {
        what: "reserve over HTTP, 1,000 delegated limits, TigerBeetle / Redis GCRA, AOF always".to_owned(),
        goal: Goal::AtLeast(1.5),
        unit: "",
        measured: pair.ratio,
        detail,
    })
}

/// The times of one reserve without load, against those of the memory ledger.
fn unloaded(durable: &Service, pace: Pace) -> Result<[Row; 2], Failure> {
    let memory = Service::over_memory(1, Access::default())?;
    let alone = |service, delegate| Load { connections: 1, limits: 1, delegate, ..delegated(service, pace) };
    let (ours, theirs) = (alone(durable, Delegate::All), alone(&memory, Delegate::None));
    ours.prepare()?;
    theirs.prepare()?;
    let round = || Ok((ours.run(Limits::Keep)?, theirs.run(Limits::Keep)?));
    let rounds: Vec<(Loaded, Loaded)> =
        (0..pace.pick(5, 2)).map(|_| round()).collect::<Result<_, Failure>>()?;
    let row = |name: &str, quantile: fn(&Loaded) -> f64| {
        let both = rounds.iter().map(|(ours, theirs)| (quantile(ours), quantile(theirs)));
        let pair = Pair::of(both.collect())?;
        let detail = format!("{} us; memory {} us", number(pair.ours.median), number(pair.theirs.median));
        let what = format!("one reserve over HTTP, unloaded, {name}, delegated, TigerBeetle / memory ledger");
        Ok::<_, Failure>(Row { what, goal: Goal::AtMost(1.2), unit: "", measured: pair.ratio, detail })
    };
    Ok([row("p50", Loaded::reserve_p50_us)?, row("p99", Loaded::reserve_p99_us)?])
}
