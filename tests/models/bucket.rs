//! A token bucket, from its definition.

/// How much is missing from a bucket that starts full, and when more is put in.
pub struct Bucket {
    pub missing: u64,
    pub refill_amount: u64,
    /// `None` of one that is refilled by hand.
    refill_interval_ms: Option<u64>,
    next_tick_ms: u64,
}

/// For how long what was taken of a bucket that is refilled by hand can be given back.
const BY_HAND_MS: u64 = 3_600_000;

impl Bucket {
    /// A bucket that comes into force now, with something missing already.
    pub fn new(refill_amount: u64, refill_interval_ms: Option<u64>, missing: u64, now_ms: u64) -> Self {
        let next_tick_ms = now_ms + refill_interval_ms.unwrap_or(0);
        Self { missing, refill_amount, refill_interval_ms, next_tick_ms }
    }

    /// Each tick puts something in, as long as there is room.
    pub fn pass_to(&mut self, now_ms: u64) {
        let Some(refill_interval_ms) = self.refill_interval_ms else { return };
        while self.next_tick_ms <= now_ms {
            self.put_in(self.refill_amount);
            self.next_tick_ms += refill_interval_ms;
        }
    }

    pub fn put_in(&mut self, amount: u64) {
        self.missing = self.missing.saturating_sub(amount);
    }

    pub fn is_by_hand(&self) -> bool {
        self.refill_interval_ms.is_none()
    }

    /// `None` if it is refilled by hand.
    pub fn next_tick_ms(&self) -> Option<u64> {
        self.refill_interval_ms.map(|_| self.next_tick_ms)
    }

    /// When a lease on it is over: by then the bucket is full, whatever was taken out before.
    pub fn over_ms(&self, capacity: u64, now_ms: u64) -> u64 {
        let full_after_ms =
            |refill_interval_ms| (capacity.div_ceil(self.refill_amount) + 1) * refill_interval_ms;
        now_ms + self.refill_interval_ms.map_or(BY_HAND_MS, full_after_ms)
    }
}
