//! The name of every metric. The Prometheus text format appends `_total` to the name of a counter, and `_bucket`,
//! `_sum` and `_count` to that of a histogram.

/// The version of the program, as a label. The text format appends `_info`.
pub const BUILD: &str = "ratelimiterd_build";
/// Reserves by `outcome`, each item of a batch.
pub const RESERVES: &str = "ratelimiterd_reserves";
/// Grants for which a limit in shadow mode, or of a forced reserve, had too little room.
pub const RESERVES_WOULD_DENY: &str = "ratelimiterd_reserves_would_deny";
/// Completes by `outcome`, each item of a batch.
pub const COMPLETES: &str = "ratelimiterd_completes";
/// HTTP requests that have no response yet.
pub const REQUESTS_IN_FLIGHT: &str = "ratelimiterd_requests_in_flight";
/// 1 while requests are refused at once, because the ledger does not answer.
pub const CIRCUIT_OPEN: &str = "ratelimiterd_circuit_open";
/// Requests that were refused at once, because the ledger does not answer.
pub const REFUSED_EARLY: &str = "ratelimiterd_refused_early";
/// Leases granted without the ledger.
pub const EMERGENCY_GRANTS: &str = "ratelimiterd_emergency_grants";
/// Of these, the leases recorded as debt.
pub const EMERGENCY_SETTLED: &str = "ratelimiterd_emergency_settled";
/// Of these, the leases that are not recorded yet.
pub const EMERGENCY_LEASES: &str = "ratelimiterd_emergency_leases";
/// Allotments that were taken.
pub const ALLOTMENTS_TAKEN: &str = "ratelimiterd_allotments_taken";
/// Steps that replaced allotments by what was needed of them.
pub const ALLOTMENTS_SETTLED: &str = "ratelimiterd_allotments_settled";
/// Allotments that the ledger released.
pub const ALLOTMENTS_EXPIRED: &str = "ratelimiterd_allotments_expired";
/// Leases that were served from allotments, without the ledger.
pub const ALLOTMENT_GRANTS: &str = "ratelimiterd_allotment_grants";
/// Transfers of allotments that were sent.
pub const ALLOTMENT_TRANSFERS: &str = "ratelimiterd_allotment_transfers";
/// Allotments that are held.
pub const ALLOTMENTS: &str = "ratelimiterd_allotments";
/// The units in them.
pub const ALLOTMENT_UNITS: &str = "ratelimiterd_allotment_units";
/// Thresholds of limits that were crossed, by `threshold_percent`.
pub const ALERTS: &str = "ratelimiterd_alerts";
/// Alerts that wait for the webhook.
pub const ALERTS_QUEUED: &str = "ratelimiterd_alerts_queued";
/// Alerts for the webhook by `outcome`.
pub const ALERT_EVENTS: &str = "ratelimiterd_alert_events";
/// Attempts to post an alert behind its first one.
pub const ALERT_RETRIES: &str = "ratelimiterd_alert_retries";
/// Descriptors of gateways by `outcome`.
pub const GATEWAY_DESCRIPTORS: &str = "ratelimiterd_gateway_descriptors";
/// The time from the whole request body to the response, by `route`.
pub const REQUEST_SECONDS: &str = "ratelimiterd_request_seconds";
/// Requests that wait for room, or whose first attempt is under way.
pub const WAITING_REQUESTS: &str = "ratelimiterd_waiting_requests";
/// Leases that had to wait for room.
pub const WAITS: &str = "ratelimiterd_waits";
/// Of these, the leases that were granted.
pub const WAITS_GRANTED: &str = "ratelimiterd_waits_granted";
/// Of these, the leases whose callers all left.
pub const WAITS_LEFT: &str = "ratelimiterd_waits_left";
/// Open connections of clients.
pub const CONNECTIONS: &str = "ratelimiterd_connections";
/// How often each `bound` on what clients hold was struck.
pub const BOUNDS_STRUCK: &str = "ratelimiterd_bounds_struck";
/// Writes of the registry file by `outcome`.
pub const REGISTRY_WRITES: &str = "ratelimiterd_registry_writes";
/// The capacity of a limit in `metrics.limits`, by `key`. For a template: the most instances.
pub const LIMIT_CAPACITY: &str = "ratelimiterd_limit_capacity";
/// What can be reserved of it now.
pub const LIMIT_AVAILABLE: &str = "ratelimiterd_limit_available";
/// What is reserved of it.
pub const LIMIT_RESERVED: &str = "ratelimiterd_limit_reserved";
/// The units of it that callers wait for in this process.
pub const LIMIT_WAITING: &str = "ratelimiterd_limit_waiting";
/// Its debt.
pub const LIMIT_DEBT: &str = "ratelimiterd_limit_debt";
/// Transfers that wait in the queue for a session.
pub const LEDGER_QUEUE_TRANSFERS: &str = "ratelimiterd_ledger_queue_transfers";
/// Transfers in each request to the ledger.
pub const LEDGER_REQUEST_TRANSFERS: &str = "ratelimiterd_ledger_request_transfers";
/// Transfers in the largest request to the ledger.
pub const LEDGER_REQUEST_TRANSFERS_MAX: &str = "ratelimiterd_ledger_request_transfers_max";
/// The time that each request to the ledger was in flight.
pub const LEDGER_REQUEST_SECONDS: &str = "ratelimiterd_ledger_request_seconds";
/// Messages that were not sent because their caller had given up.
pub const LEDGER_ABANDONED_MESSAGES: &str = "ratelimiterd_ledger_abandoned_messages";
/// Requests to the ledger that were lost with their session.
pub const LEDGER_LOST_REQUESTS: &str = "ratelimiterd_ledger_lost_requests";
/// Requests that were larger than the ledger takes.
pub const LEDGER_REFUSED_REQUESTS: &str = "ratelimiterd_ledger_refused_requests";
