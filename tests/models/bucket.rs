//! The model of a token bucket.

/// The tokens that a bucket lacks, and when its next refill happens.
pub struct Bucket {
    pub missing: u64,
    pub refill_amount: u64,
    /// `None` if only manual refills fill it.
    refill_interval_ms: Option<u64>,
    next_refill_ms: u64,
}

/// How long a lease on a manually refilled bucket runs: when the bucket will be full is unknown.
const MANUAL_LEASE_MS: u64 = 3_600_000;

impl Bucket {
    /// A bucket that is defined now and lacks `missing` tokens.
    pub fn new(refill_amount: u64, refill_interval_ms: Option<u64>, missing: u64, now_ms: u64) -> Self {
        let next_refill_ms = now_ms + refill_interval_ms.unwrap_or(0);
        Self { missing, refill_amount, refill_interval_ms, next_refill_ms }
    }

    /// Makes every refill up to a moment.
    pub fn pass_to(&mut self, now_ms: u64) {
        let Some(refill_interval_ms) = self.refill_interval_ms else { return };
        while self.next_refill_ms <= now_ms {
            self.refill(self.refill_amount);
            self.next_refill_ms += refill_interval_ms;
        }
    }

    /// Adds tokens; those beyond the capacity are lost.
    pub fn refill(&mut self, amount: u64) {
        self.missing = self.missing.saturating_sub(amount);
    }

    pub fn is_manual(&self) -> bool {
        self.refill_interval_ms.is_none()
    }

    /// `None` if only manual refills fill it.
    pub fn next_refill_ms(&self) -> Option<u64> {
        self.refill_interval_ms.map(|_| self.next_refill_ms)
    }

    /// When a lease that spends tokens now ends: by then refills alone have filled the bucket.
    pub fn lease_ends_ms(&self, capacity: u64, now_ms: u64) -> u64 {
        let full_after_ms =
            |refill_interval_ms| (capacity.div_ceil(self.refill_amount) + 1) * refill_interval_ms;
        now_ms + self.refill_interval_ms.map_or(MANUAL_LEASE_MS, full_after_ms)
    }
}
