//! The body of an event.

use serde::Serialize;

use crate::limiter::Alert;

/// An event as JSON. Fields may be added; `docs/alerts.md` lists them.
#[derive(Serialize)]
struct EventJson<'a> {
    event: &'static str,
    id: &'a str,
    key: &'a str,
    threshold_percent: u64,
    capacity: u64,
    used: u128,
    available: u128,
    unit: &'a str,
    enforce: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ends_at_unix_ms: Option<u64>,
    seen_at_unix_ms: u64,
}

/// The body of the event that a threshold was crossed.
pub(super) fn body(alert: &Alert) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&EventJson {
        event: "threshold_crossed",
        id: &alert.id,
        key: alert.key.as_str(),
        threshold_percent: alert.threshold_percent,
        capacity: alert.capacity,
        used: alert.used,
        available: alert.available,
        unit: &alert.unit,
        enforce: alert.enforce,
        window_ends_at_unix_ms: alert.window_ends_at_unix_ms,
        seen_at_unix_ms: alert.seen_at_unix_ms,
    })
}
