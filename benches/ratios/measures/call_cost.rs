//! The cost of a four-limit call in the ledger: its transfers, and its bytes, which the data file keeps forever.

use super::Pace;
use crate::failure::Failure;
use crate::load::{Calls, Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, number};
use crate::rounds::Spread;

pub(super) const NOTE: &str = "calls reserve a request, tokens, a slot and daily tokens, and complete below their \
    estimate, on 64 connections, one call and 64 calls in a request, each on a data file of its own. Transfers are \
    those that the service counted as sent. The file grows in steps and is written out of order, so its growth over \
    the whole run is divided by the calls of the run.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (batch, what) in [(1, "one by one"), (64, "in batches of 64")] {
        rows.extend(rows_of(batch, what, pace)?);
    }
    Ok(rows)
}

fn rows_of(batch: usize, what: &str, pace: Pace) -> Result<[Row; 2], Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let load = Load {
        calls: Calls::FourCompletedBelow,
        batch,
        limits: 100,
        // A warm-up would add to the file, but its calls are not counted.
        warmup_seconds: 0,
        seconds: pace.pick(25, 4),
        ..Load::on(&service)
    };
    load.prepare()?;
    let bytes_before = tigerbeetle.data_file_bytes()?;
    let loaded = load.run(Limits::Keep)?;
    let grown = tigerbeetle.data_file_bytes()?.saturating_sub(bytes_before) as f64;
    let calls = loaded.granted as f64;
    let server = loaded.server()?;
    let per_request = server.ledger_transfers as f64 / server.ledger_requests as f64;
    Ok([
        Row {
            what: format!("transfers of a four-limit call, settled below, {what}"),
            goal: Goal::AtMost(9.0),
            unit: "",
            measured: Spread::of(vec![server.ledger_transfers as f64 / calls])?,
            detail: format!(
                "{} calls at {}/s, {} transfers in a request",
                number(calls),
                number(calls / loaded.seconds),
                number(per_request)
            ),
        },
        Row {
            what: format!("data file of a four-limit call, settled below, {what}"),
            goal: Goal::None,
            unit: " B",
            measured: Spread::of(vec![grown / calls])?,
            detail: format!("{} MB", number(grown / 1e6)),
        },
    ])
}
