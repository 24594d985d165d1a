//! How much of a limit is granted when far more callers ask than it holds, and the transfers that their denials cost.

use super::Pace;
use crate::failure::Failure;
use crate::load::{Limits, Load};
use crate::processes::{Service, TigerBeetle};
use crate::report::{Goal, Row, number};
use crate::rounds::Spread;

const CAPACITY: u64 = 1_000;
const WINDOW_SECONDS: u64 = 2;
const CLIENTS: usize = 1_000;

pub(super) const NOTE: &str = "one rolling limit of 1,000 in 2 s over TigerBeetle, and 1,000 clients. A client \
    reserves again with a new lease after the hint of a denial, and at once after a grant. Without hints that would be \
    far more than ten times the capacity. Grants come in bursts, one in each window, each a little later than the one \
    before. So warm-up and measured time are whole windows, and 30 of them, in which a burst more or less at the end \
    changes little. Transfers are those that the service counted as sent, those of denied reserves included.";

pub(super) fn run(pace: Pace) -> Result<Vec<Row>, Failure> {
    let tigerbeetle = TigerBeetle::start()?;
    let service = Service::over_tigerbeetle(&tigerbeetle)?;
    let load = Load {
        connections: CLIENTS,
        limits: 1,
        capacity: CAPACITY,
        window_seconds: WINDOW_SECONDS,
        is_retrying: true,
        warmup_seconds: 3 * WINDOW_SECONDS,
        seconds: pace.pick(30, 2) * WINDOW_SECONDS,
        ..Load::on(&service)
    };
    let loaded = load.run(Limits::Make)?;
    let capacity = CAPACITY as f64 * loaded.seconds / WINDOW_SECONDS as f64;
    let granted = loaded.granted as f64;
    let share = Spread::of(vec![granted / capacity])?;
    let transfers = loaded.server()?.ledger_transfers as f64;
    Ok(vec![
        Row {
            what: "1,000 clients at one limit: granted / capacity".to_owned(),
            goal: Goal::AtLeast(0.98),
            unit: "",
            measured: share,
            detail: format!("{} granted, {} denied", number(granted), number(loaded.denied as f64)),
        },
        Row {
            what: "1,000 clients at one limit: transfers sent / grant".to_owned(),
            goal: Goal::AtMost(1.5),
            unit: "",
            measured: Spread::of(vec![transfers / granted])?,
            detail: format!("{} transfers", number(transfers)),
        },
    ])
}
