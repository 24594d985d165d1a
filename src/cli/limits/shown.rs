//! How limits are shown: a row of a table, and JSON as the API writes it.

use ledger_limiter::client::{Capacity, Definition, Kind, LimitInfo};
use ledger_limiter::limit::json::{DefinitionJson, StatusJson};
use ledger_limiter::protocol::{self, UsageBody};

use super::paint::{Style, printable};
use super::table::{Align, Cell};

/// A limit with less than this part of its capacity available is shown in yellow.
const SCARCE_PERCENT: u128 = 10;

/// The columns of a table of limits.
pub(super) const COLUMNS: &[(&str, Align)] = &[
    ("KEY", Align::Left),
    ("KIND", Align::Left),
    ("CAPACITY", Align::Right),
    ("UNIT", Align::Left),
    ("TIME", Align::Left),
    ("AVAILABLE", Align::Right),
    ("RESERVED", Align::Right),
    ("DEBT", Align::Right),
    ("STATUS", Align::Left),
];

/// The row of a limit.
pub(super) fn row(limit: &LimitInfo) -> Vec<Cell> {
    let definition = &limit.definition;
    let usage = limit.usage;
    let is_template = definition.instances_max.is_some();
    let (status_style, status) = status(limit);
    let (available, reserved, debt) = if is_template {
        (Cell::new(""), Cell::new(""), Cell::new(""))
    } else {
        let debt_style = if usage.debt > 0 { Style::Red } else { Style::Plain };
        (
            Cell::styled(available_style(limit), usage.available.to_string()),
            Cell::new(usage.reserved.to_string()),
            Cell::styled(debt_style, usage.debt.to_string()),
        )
    };
    vec![
        Cell::new(definition.key.as_str()),
        Cell::new(definition.kind.name().as_str()),
        Cell::new(definition.capacity.get().to_string()),
        Cell::new(printable(&unit(definition))),
        Cell::new(time(&definition.kind)),
        available,
        reserved,
        debt,
        Cell::styled(status_style, status),
    ]
}

/// What one unit is: its name, or its worth such as `0.000001 USD`.
fn unit(definition: &Definition) -> String {
    let name = definition.texts.unit();
    definition.unit_micros.map_or_else(|| name.to_owned(), |micros| format!("{} {name}", micros.worth(1)))
}

/// The limit as the API writes it.
pub(super) fn json(limit: &LimitInfo) -> protocol::LimitInfo {
    let decreases_to = limit.status.decreases_to();
    protocol::LimitInfo {
        definition: DefinitionJson::from(&limit.definition),
        status: if decreases_to.is_some() { StatusJson::Decreasing } else { StatusJson::Active },
        pending_decrease_to: decreases_to.map_or(0, Capacity::get),
        usage: UsageBody {
            available: limit.usage.available,
            reserved: limit.usage.reserved,
            debt: limit.usage.debt,
            waiting: limit.waiting,
            allotted: 0,
        },
        version: limit.version,
    }
}

/// The status for people.
pub(super) fn status(limit: &LimitInfo) -> (Style, String) {
    if let Some(instances_max) = limit.definition.instances_max {
        let text = format!("template, {} of {} instances", limit.usage.reserved, instances_max.get());
        let style = if limit.usage.available == 0 { Style::Red } else { Style::Dim };
        return (style, text);
    }
    match limit.status.decreases_to() {
        Some(to) => (Style::Yellow, format!("decreasing to {}", to.get())),
        None if !limit.definition.enforce => (Style::Yellow, "shadow mode".to_owned()),
        None => (Style::Plain, "active".to_owned()),
    }
}

fn available_style(limit: &LimitInfo) -> Style {
    let (available, capacity) = (limit.usage.available, u128::from(limit.definition.capacity.get()));
    if available == 0 {
        Style::Red
    } else if available.saturating_mul(100) < capacity.saturating_mul(SCARCE_PERCENT) {
        Style::Yellow
    } else {
        Style::Plain
    }
}

/// When capacity becomes available again.
fn time(kind: &Kind) -> String {
    let fields = kind.fields();
    match kind {
        Kind::Rolling(_) => format!("{} s", fields.window_seconds),
        Kind::Concurrency(_) => format!("at most {} s", fields.timeout_seconds),
        Kind::FixedWindow(window) if window.auto_replenish() => length(window.window_ms()),
        Kind::FixedWindow(window) => format!("{} by hand", length(window.window_ms())),
        Kind::Calendar(window) => format!("{} in {}", window.period().as_str(), window.time_zone().as_str()),
        Kind::SlidingWindow(window) => {
            let by_hand = if window.auto_replenish() { "" } else { " by hand" };
            format!("{} in {}{by_hand}", length(window.window_ms()), window.segments())
        }
        Kind::TokenBucket(_) if fields.auto_replenish == Some(false) => {
            format!("+{} by hand", fields.refill_amount)
        }
        Kind::TokenBucket(_) => {
            let refills = fields.refills_per_interval.max(1);
            let amount = u128::from(fields.refill_amount) * u128::from(refills);
            format!("+{amount} in {} ms", fields.refill_interval_ms)
        }
    }
}

/// In seconds if they are whole, else in milliseconds.
fn length(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}
