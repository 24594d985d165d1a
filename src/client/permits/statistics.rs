/// The permits and the counters of a limiter at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitStatistics {
    /// The permits that are free now in the ledger, for any caller.
    pub available: u128,
    /// The permits that callers of this limiter wait for.
    pub queued_permits: u64,
    /// The leases that callers of this limiter acquired.
    pub granted: u64,
    /// The leases of this limiter's callers that failed. Cancelled calls and errors are not counted.
    pub failed: u64,
}
