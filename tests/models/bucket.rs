//! A token bucket, from its definition.

const NS_PER_MS: u64 = 1_000_000;

/// How much is missing from a bucket that starts full, and when more is put in.
pub struct Bucket {
    pub missing: u64,
    pub refill_amount: u64,
    /// `None` of one that is refilled by hand.
    refill_interval_ms: Option<u64>,
    /// From when its ticks count, and how many there were.
    since_ns: u64,
    ticks: u64,
}

/// For how long what was taken of a bucket that is refilled by hand can be given back.
const BY_HAND_MS: u64 = 3_600_000;

/// A part of a token that a bucket earned: this many of so many parts.
#[derive(Clone, Copy)]
pub struct Part(u128, u128);

impl Bucket {
    /// A bucket that comes into force now, with something missing already and a part of a token earned before.
    pub fn new(
        refill_amount: u64,
        refill_interval_ms: Option<u64>,
        missing: u64,
        now_ms: u64,
        earned: Option<Part>,
    ) -> Self {
        let interval_ns = u128::from(refill_interval_ms.unwrap_or(0) * NS_PER_MS);
        // To the nanosecond, rounded up, but not to a whole token.
        let token_ns = interval_ns.div_ceil(u128::from(refill_amount));
        let earlier_ns =
            earned.map_or(0, |Part(some, of)| (some * interval_ns).div_ceil(of * u128::from(refill_amount)));
        let since_ns = now_ms * NS_PER_MS - earlier_ns.min(token_ns.saturating_sub(1)) as u64;
        Self { missing, refill_amount, refill_interval_ms, since_ns, ticks: 0 }
    }

    /// Each tick puts something in, as long as there is room.
    pub fn pass_to(&mut self, now_ms: u64) {
        while self.next_tick_ms().is_some_and(|tick_ms| tick_ms <= now_ms) {
            self.put_in(self.refill_amount);
            self.ticks += 1;
        }
    }

    /// Puts in what was earned since the last tick; answers the part of a token that is left. `None` if it is refilled by
    /// hand.
    pub fn settle(&mut self, now_ms: u64) -> Option<Part> {
        let interval_ns = u128::from(self.refill_interval_ms? * NS_PER_MS);
        let passed_ns = u128::from(now_ms * NS_PER_MS - self.since_ns) - u128::from(self.ticks) * interval_ns;
        let earned = passed_ns * u128::from(self.refill_amount);
        self.put_in((earned / interval_ns) as u64);
        Some(Part(earned % interval_ns, interval_ns))
    }

    pub fn put_in(&mut self, amount: u64) {
        self.missing = self.missing.saturating_sub(amount);
    }

    pub fn is_by_hand(&self) -> bool {
        self.refill_interval_ms.is_none()
    }

    /// `None` if it is refilled by hand.
    pub fn next_tick_ms(&self) -> Option<u64> {
        let interval_ns = self.refill_interval_ms? * NS_PER_MS;
        Some((self.since_ns + (self.ticks + 1) * interval_ns).div_ceil(NS_PER_MS))
    }

    /// When a lease on it is over: by then the bucket is full, whatever was taken out before.
    pub fn over_ms(&self, capacity: u64, now_ms: u64) -> u64 {
        let full_after_ms =
            |refill_interval_ms| (capacity.div_ceil(self.refill_amount) + 1) * refill_interval_ms;
        now_ms + self.refill_interval_ms.map_or(BY_HAND_MS, full_after_ms)
    }
}
