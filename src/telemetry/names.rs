//! The name of every metric. The text form of a counter adds `_total` to it, that of a histogram `_bucket`, `_sum` and
//! `_count`.

/// Items of reserves, by `outcome`.
pub const RESERVES: &str = "ratelimiterd_reserves";
/// Items of completes, by `outcome`.
pub const COMPLETES: &str = "ratelimiterd_completes";
/// Requests that are being answered.
pub const REQUESTS_IN_FLIGHT: &str = "ratelimiterd_requests_in_flight";
/// How long answers took, by `route`.
pub const REQUEST_SECONDS: &str = "ratelimiterd_request_seconds";
/// Transfers that wait for a session.
pub const LEDGER_QUEUE_TRANSFERS: &str = "ratelimiterd_ledger_queue_transfers";
/// Transfers in each request to the ledger.
pub const LEDGER_REQUEST_TRANSFERS: &str = "ratelimiterd_ledger_request_transfers";
/// Transfers in the largest of them.
pub const LEDGER_REQUEST_TRANSFERS_MAX: &str = "ratelimiterd_ledger_request_transfers_max";
/// How long each request to the ledger was under way.
pub const LEDGER_REQUEST_SECONDS: &str = "ratelimiterd_ledger_request_seconds";
/// Messages that were not sent because nobody waited for them any more.
pub const LEDGER_ABANDONED_MESSAGES: &str = "ratelimiterd_ledger_abandoned_messages";
/// Requests that were lost with their session.
pub const LEDGER_LOST_REQUESTS: &str = "ratelimiterd_ledger_lost_requests";
/// Requests that were larger than the ledger takes.
pub const LEDGER_REFUSED_REQUESTS: &str = "ratelimiterd_ledger_refused_requests";
