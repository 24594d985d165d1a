//! The model of a token bucket.

const NS_PER_MS: u64 = 1_000_000;

/// The tokens that a bucket lacks, and when its next refill happens.
pub struct Bucket {
    pub missing: u64,
    pub refill_amount: u64,
    /// `None` if only manual refills fill it.
    refill_interval_ms: Option<u64>,
    /// The moment from which its refills count, and the number of refills made.
    since_ns: u64,
    refills: u64,
    /// The moment from which a reserve looks whether it is full.
    looks_at_ns: u64,
}

/// How long a lease on a manually refilled bucket runs: when the bucket will be full is unknown.
const MANUAL_LEASE_MS: u64 = 3_600_000;

/// A bucket that was found full counts as full for this part of an interval.
const LOOKS_PER_STEP: u64 = 10;

/// A fraction of a token that a bucket earned: the numerator, and the denominator.
#[derive(Clone, Copy)]
pub struct Part(u128, u128);

impl Bucket {
    /// A bucket that is defined now, lacks `missing` tokens, and earned a part of a token before.
    pub fn new(
        refill_amount: u64,
        refill_interval_ms: Option<u64>,
        missing: u64,
        now_ms: u64,
        earned: Option<Part>,
    ) -> Self {
        let interval_ns = u128::from(refill_interval_ms.unwrap_or(0) * NS_PER_MS);
        // Rounded up to the next nanosecond, but never to a whole token.
        let token_ns = interval_ns.div_ceil(u128::from(refill_amount));
        let earlier_ns =
            earned.map_or(0, |Part(some, of)| (some * interval_ns).div_ceil(of * u128::from(refill_amount)));
        let since_ns = now_ms * NS_PER_MS - earlier_ns.min(token_ns.saturating_sub(1)) as u64;
        Self { missing, refill_amount, refill_interval_ms, since_ns, refills: 0, looks_at_ns: 0 }
    }

    /// Makes every refill up to a moment.
    pub fn pass_to(&mut self, now_ms: u64) {
        while self.next_refill_ms().is_some_and(|refill_ms| refill_ms <= now_ms) {
            self.refill(self.refill_amount);
            self.refills += 1;
        }
    }

    /// A reserve looks whether the bucket is full. If it is, its refills count from this moment, rounded up to a millisecond.
    pub fn look(&mut self, now_ns: u64) {
        let Some(interval_ms) = self.refill_interval_ms.filter(|_| now_ns >= self.looks_at_ns) else {
            return;
        };
        if self.missing > 0 {
            let refills = self.refills + self.missing.div_ceil(self.refill_amount);
            self.looks_at_ns = whole_ms(self.since_ns + refills * interval_ms * NS_PER_MS);
            return;
        }
        if whole_ms(now_ns) > self.since_ns {
            (self.since_ns, self.refills) = (whole_ms(now_ns), 0);
        }
        self.looks_at_ns = now_ns + interval_ms * NS_PER_MS / LOOKS_PER_STEP;
    }

    /// A reserve takes tokens, so before the next refill the bucket is not full.
    pub fn take(&mut self, amount: u64) {
        self.missing += amount;
        let next_refill_ms = self.next_refill_ms().unwrap_or(0);
        self.looks_at_ns = self.looks_at_ns.max(next_refill_ms * NS_PER_MS);
    }

    /// The next reserve looks whether it is full: something was given back, or this is another process.
    pub fn look_now(&mut self) {
        self.looks_at_ns = 0;
    }

    /// Adds what was earned since the last refill; returns the part of a token that is left. `None` if only manual refills
    /// fill it.
    pub fn settle(&mut self, now_ms: u64) -> Option<Part> {
        let interval_ns = u128::from(self.refill_interval_ms? * NS_PER_MS);
        let passed_ns =
            u128::from(now_ms * NS_PER_MS - self.since_ns) - u128::from(self.refills) * interval_ns;
        let earned = passed_ns * u128::from(self.refill_amount);
        self.refill((earned / interval_ns) as u64);
        if self.missing == 0 {
            return Some(Part(0, interval_ns));
        }
        Some(Part(earned % interval_ns, interval_ns))
    }

    /// The moment up to which a new rate replaces the bucket's: now, or the next millisecond if its refills count only from there.
    pub fn settled_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.since_ns.div_ceil(NS_PER_MS))
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
        let interval_ns = self.refill_interval_ms? * NS_PER_MS;
        Some((self.since_ns + (self.refills + 1) * interval_ns).div_ceil(NS_PER_MS))
    }

    /// When a lease that spends tokens now ends: by then refills alone have filled the bucket.
    pub fn lease_ends_ms(&self, capacity: u64, now_ms: u64) -> u64 {
        let full_after_ms =
            |refill_interval_ms| (capacity.div_ceil(self.refill_amount) + 1) * refill_interval_ms;
        now_ms + self.refill_interval_ms.map_or(MANUAL_LEASE_MS, full_after_ms)
    }
}

/// Rounded up to a whole millisecond.
fn whole_ms(moment_ns: u64) -> u64 {
    moment_ns.next_multiple_of(NS_PER_MS)
}
