/// How a limiter stands, as a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitStatistics {
    /// How many permits are free now, in the ledger, for anybody.
    pub available: u128,
    /// For how many permits callers of this limiter wait.
    pub queued_permits: u64,
    /// How many leases were acquired by callers of this limiter.
    pub granted: u64,
    /// How many of their leases failed. Who was cancelled, or told an error, is not counted.
    pub failed: u64,
}
