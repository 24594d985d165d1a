//! The cost of a four-limit call in the ledger if its limits hand out allotments, and what the service gains by that.

use super::Pace;
use crate::failure::Failure;
use crate::load::{Calls, Delegate, Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, number};
use crate::rounds::{Pair, Spread};

/// The calls per second of which the cost is measured.
const RATE: u64 = 2_000;
/// The groups of four limits among which the callers of a service choose.
const GROUPS: usize = 10;

pub(super) const NOTE: &str = "calls reserve a request, tokens, a slot and daily tokens, and complete below their \
    estimate, on 64 connections. Transfers and bytes: all four limits are delegated, one group of four, 2,000 calls/s; \
    the file grows in steps, so its growth over the whole run is divided by the calls of the run. The rate: ten \
    groups, the daily tokens are not delegated, on two services with a TigerBeetle each, in turn.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::from(all_delegated(pace)?);
    rows.push(three_of_four(pace)?);
    Ok(rows)
}

fn calls(service: &Service) -> Load {
    Load { calls: Calls::FourCompletedBelow, ..Load::on(service) }
}

fn all_delegated(pace: Pace) -> Result<[Row; 2], Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let load = Load {
        delegate: Delegate::All,
        rate: Some(RATE),
        limits: 1,
        // A warm-up would add to the file, but its calls are not counted.
        warmup_seconds: 0,
        seconds: pace.pick(25, 4),
        ..calls(&service)
    };
    load.prepare()?;
    let bytes_before = tigerbeetle.data_file_bytes()?;
    let loaded = load.run(Limits::Keep)?;
    let grown = tigerbeetle.data_file_bytes()?.saturating_sub(bytes_before) as f64;
    let calls = loaded.granted as f64;
    let transfers = loaded.server()?.ledger_transfers as f64;
    let detail = format!(
        "{} calls at {}/s, {} transfers, {} MB",
        number(calls),
        number(calls / loaded.seconds),
        number(transfers),
        number(grown / 1e6)
    );
    let row = |what: &str, most, unit, value| {
        let what = format!("{what} of a four-limit call, settled below, all delegated, {RATE} calls/s");
        let measured = Spread::of(vec![value])?;
        Ok::<_, Failure>(Row { what, goal: Goal::AtMost(most), unit, measured, detail: detail.clone() })
    };
    Ok([row("transfers", 0.05, "", transfers / calls)?, row("data file", 100.0, " B", grown / calls)?])
}

fn three_of_four(pace: Pace) -> Result<Row, Failure> {
    let replicas = [TigerBeetle::start()?, TigerBeetle::start()?];
    let services = [Service::over_tigerbeetle(&replicas[0])?, Service::over_tigerbeetle(&replicas[1])?];
    let load = |service, delegate| Load {
        delegate,
        limits: GROUPS,
        seconds: pace.pick(8, 1),
        warmup_seconds: pace.pick(3, 1),
        ..calls(service)
    };
    let (shared, plain) = (load(&services[0], Delegate::Shared), load(&services[1], Delegate::None));
    shared.prepare()?;
    plain.prepare()?;
    let pair = Pair::of_rounds(
        pace.pick(3, 1),
        || shared.run(Limits::Keep)?.granted_per_second(),
        || plain.run(Limits::Keep)?.granted_per_second(),
    )?;
    Ok(Row {
        what: "four-limit calls over HTTP, TigerBeetle, three of four limits delegated / none".to_owned(),
        goal: Goal::AtLeast(2.0),
        unit: "",
        measured: pair.ratio,
        detail: format!("{}/s; none {}/s", number(pair.ours.median), number(pair.theirs.median)),
    })
}
