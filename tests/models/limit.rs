//! The model of one limit: its reservations, and when they expire or are refilled.

use ledger_limiter::limit::{Definition, KindFields, KindName, Overage};

use super::bucket::{Bucket, Part};
use super::windows::{leaves_ms, next_boundary_ms, next_calendar_day_ms, next_segment_ms};

/// One leg of a granted lease.
#[derive(Clone, Copy, PartialEq)]
pub struct LegId {
    pub lease: u8,
    /// The index among the legs of the lease.
    pub leg: usize,
}

pub struct Limit {
    pub definition: Definition,
    pub capacity: u64,
    pub status: Status,
    pub debt: u64,
    /// The reservations, except on a bucket.
    holds: Vec<Hold>,
    bucket: Option<Bucket>,
    /// The schedules before this one. For each, the moment until which a complete can release what it spent into the
    /// next one.
    replaced: Vec<Option<u64>>,
    /// How many accounts the limit had before this one: a deleted rolling or concurrency limit that is defined again as another
    /// kind gets a new one.
    accounts_replaced: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Status {
    Active,
    Decreasing(u64),
    Deleted,
}

struct Hold {
    /// `None` if it was spent by replaced schedules, or is kept for leases on a replaced account.
    leg: Option<LegId>,
    amount: u64,
    available_again_ms: u64,
    of_window: bool,
}

/// One reservation of a lease.
#[derive(Clone, Copy)]
pub struct Leg {
    pub key: usize,
    pub amount: u64,
    pub ends_ms: u64,
    /// The time from its reservation to its end.
    lasts_ms: u64,
    pub overage: Overage,
    /// A complete releases all of it.
    pub is_slot: bool,
    /// The number of the schedule that refills it, if there is one.
    schedule: Option<usize>,
    /// The number of the account that it is on.
    account: usize,
}

impl Leg {
    /// A schedule refills it, so it does not expire.
    pub fn is_scheduled(&self) -> bool {
        self.schedule.is_some()
    }
}

impl Limit {
    pub fn new(definition: Definition, now_ms: u64) -> Self {
        let capacity = definition.capacity.get();
        let bucket = bucket_of(&definition, 0, now_ms, None);
        let (status, holds) = (Status::Active, Vec::new());
        Self {
            definition,
            capacity,
            status,
            debt: 0,
            holds,
            bucket,
            replaced: Vec::new(),
            accounts_replaced: 0,
        }
    }

    pub fn pass_to(&mut self, now_ms: u64) {
        self.holds.retain(|hold| hold.available_again_ms > now_ms);
        self.bucket.iter_mut().for_each(|bucket| bucket.pass_to(now_ms));
    }

    /// A command is about to take from the limit.
    pub fn look(&mut self, now_ns: u64) {
        self.bucket
            .iter_mut()
            .filter(|_| self.status != Status::Deleted)
            .for_each(|bucket| bucket.look(now_ns));
    }

    /// Something was given back, the definition has changed, or this is another process.
    pub fn look_now(&mut self) {
        self.bucket.iter_mut().for_each(Bucket::look_now);
    }

    pub fn reserved(&self) -> u64 {
        let held: u64 = self.holds.iter().map(|hold| hold.amount).sum();
        held + self.bucket.as_ref().map_or(0, |bucket| bucket.missing)
    }

    pub fn available(&self) -> u64 {
        self.capacity - self.reserved()
    }

    pub fn has_room(&self, amount: u64) -> bool {
        self.status == Status::Active && self.available() >= amount
    }

    pub fn is_deleted(&self) -> bool {
        self.status == Status::Deleted
    }

    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Lowers a bucket, which keeps its tokens up to the new capacity. Returns false if the limit is not a bucket, or
    /// if reservations of an earlier kind hold too much.
    pub fn lower_bucket(&mut self, to: u64) -> bool {
        let (by, available) = (self.capacity - to, self.available());
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| by <= available + bucket.missing) else {
            return false;
        };
        bucket.missing -= by.min(bucket.missing);
        self.capacity = to;
        true
    }

    /// Reserves an amount for which there is room.
    pub fn reserve(&mut self, leg_id: LegId, key: usize, amount: u64, now_ms: u64) -> Leg {
        let ends_ms = self.available_again_ms(now_ms);
        let leg = Leg {
            key,
            amount,
            ends_ms,
            lasts_ms: ends_ms - now_ms,
            overage: self.definition.overage,
            is_slot: self.definition.kind.name() == KindName::Concurrency,
            schedule: is_scheduled(&self.definition).then_some(self.replaced.len()),
            account: self.accounts_replaced,
        };
        self.hold(leg_id, amount, ends_ms);
        leg
    }

    /// Whether the account of a leg is open, or closed only until a decrease is applied.
    pub fn has_account_of(&self, leg: &Leg) -> bool {
        !self.is_deleted() && leg.account == self.accounts_replaced
    }

    /// Holds a leg for as long as it was held at first, from now on.
    pub fn renew(&mut self, leg_id: LegId, leg: &mut Leg, now_ms: u64) {
        leg.ends_ms = now_ms + leg.lasts_ms;
        let held = self.holds.iter_mut().find(|hold| hold.leg == Some(leg_id));
        held.expect("it has not ended").available_again_ms = leg.ends_ms;
    }

    fn hold(&mut self, leg_id: LegId, amount: u64, available_again_ms: u64) {
        let of_window = is_scheduled(&self.definition);
        match &mut self.bucket {
            Some(bucket) => bucket.take(amount),
            None => self.holds.push(Hold { leg: Some(leg_id), amount, available_again_ms, of_window }),
        }
    }

    /// Distributes the used amount over the legs that a lease has of this limit, in their order. Returns the overage without
    /// room.
    pub fn settle(&mut self, lease: u8, legs: &[(usize, &Leg)], actual: Option<u64>, now_ms: u64) -> u64 {
        let mut left = actual.unwrap_or(u64::MAX);
        for &(index, leg) in legs {
            let kept = if leg.is_slot { 0 } else { left.min(leg.amount) };
            left -= left.min(leg.amount);
            self.keep(LegId { lease, leg: index }, leg, kept, now_ms);
        }
        let &(index, last) = legs.last().expect("it was reserved");
        if left == 0 || actual.is_none() || last.is_slot {
            return 0;
        }
        left -= self.reserve_overage(LegId { lease, leg: index }, last, left, now_ms);
        self.debt += match last.overage {
            Overage::Debt => left,
            Overage::Deny => 0,
        };
        left
    }

    /// Whether the schedule of a leg was replaced since.
    fn is_replaced(&self, leg: &Leg) -> bool {
        leg.schedule.is_some_and(|schedule| schedule < self.replaced.len())
    }

    /// Whether a complete still finds what a leg spent, through all schedules since.
    fn is_there(&self, leg: &Leg, now_ms: u64) -> bool {
        let since = &self.replaced[leg.schedule.unwrap_or(self.replaced.len())..];
        since.iter().all(|until_ms| until_ms.is_some_and(|until_ms| now_ms < until_ms))
    }

    /// What replaced schedules had spent of a window.
    fn carried_over(&mut self) -> &mut Hold {
        self.holds
            .iter_mut()
            .find(|hold| hold.leg.is_none() && hold.of_window)
            .expect("it is not refilled yet")
    }

    /// Releases what a lease did not use, unless it has expired or was refilled.
    fn keep(&mut self, leg_id: LegId, leg: &Leg, kept: u64, now_ms: u64) {
        if leg.ends_ms <= now_ms || !self.is_there(leg, now_ms) {
            return;
        }
        let is_replaced = self.is_replaced(leg);
        match (&mut self.bucket, leg.schedule) {
            (Some(bucket), Some(_)) if kept < leg.amount => {
                bucket.refill(leg.amount - kept);
                bucket.look_now();
            }
            (Some(_), Some(_)) => {}
            (None, Some(_)) if is_replaced => self.carried_over().amount -= leg.amount - kept,
            _ => self
                .holds
                .iter_mut()
                .filter(|hold| hold.leg == Some(leg_id))
                .for_each(|hold| hold.amount = kept),
        }
    }

    /// Reserves the overage that fits, until the leg ends. Returns how much that is.
    fn reserve_overage(&mut self, leg_id: LegId, leg: &Leg, overage: u64, now_ms: u64) -> u64 {
        let amount = overage.min(self.available());
        let is_over = leg.ends_ms <= now_ms
            || !self.is_there(leg, now_ms)
            // A closed account has no room.
            || leg.account < self.accounts_replaced;
        if is_over || amount == 0 || !self.has_room(amount) {
            return 0;
        }
        match leg.schedule {
            Some(_) if self.bucket.is_none() && self.is_replaced(leg) => self.carried_over().amount += amount,
            Some(_) => self.hold(leg_id, amount, leg.ends_ms),
            None => self.holds.push(Hold {
                leg: Some(leg_id),
                amount,
                available_again_ms: leg.ends_ms,
                of_window: false,
            }),
        }
        amount
    }

    /// Replaces the definition. The kind may change only on a deleted limit. The caller sets capacity and status.
    pub fn redefine(&mut self, definition: Definition, now_ms: u64) {
        if definition.kind != self.definition.kind {
            let keeps_kind = definition.kind.name() == self.definition.kind.name();
            let was_scheduled = is_scheduled(&self.definition);
            let spent_max = self.capacity.max(definition.capacity.get());
            let at_ms = self.bucket.as_ref().map_or(now_ms, |bucket| bucket.settled_ms(now_ms));
            let earned = self.bucket.as_mut().and_then(|bucket| bucket.settle(at_ms));
            let of_windows: u64 =
                self.holds.iter().filter(|hold| hold.of_window).map(|hold| hold.amount).sum();
            let spent = of_windows + self.bucket.as_ref().map_or(0, |bucket| bucket.missing);
            self.holds.retain(|hold| !hold.of_window);
            self.bucket = bucket_of(&definition, spent, at_ms, earned);
            self.definition = definition;
            if was_scheduled {
                let until_ms = self.bucket.as_ref().map(|bucket| bucket.lease_ends_ms(spent_max, at_ms));
                let until_ms = until_ms.unwrap_or_else(|| self.available_again_ms(now_ms));
                self.replaced.push(keeps_kind.then_some(until_ms));
            }
            if self.bucket.is_none() && is_scheduled(&self.definition) {
                let available_again_ms = self.available_again_ms(now_ms);
                self.holds.push(Hold { leg: None, amount: spent, available_again_ms, of_window: true });
            }
        } else {
            self.definition = definition;
        }
    }

    /// Whether this definition gives the limit a new account.
    pub fn replaces_account(&self, definition: &Definition) -> bool {
        self.is_deleted()
            && !is_scheduled(&self.definition)
            && definition.kind.name() != self.definition.kind.name()
    }

    /// Defines a deleted limit as another kind, on a new account. It keeps reserved what leases hold on the old one. The only such
    /// limit here has a window of a year, which no test sees the end of.
    pub fn redefine_on_new_account(&mut self, definition: Definition, now_ms: u64) {
        let amount = self.reserved().min(definition.capacity.get());
        let available_again_ms = self.available_again_ms(now_ms);
        let replaced = std::mem::replace(self, Self::new(definition, now_ms));
        self.debt = replaced.debt;
        self.replaced = replaced.replaced;
        self.accounts_replaced = replaced.accounts_replaced + 1;
        self.holds.push(Hold { leg: None, amount, available_again_ms, of_window: false });
    }

    /// Makes a manual refill. Returns false if the limit takes none.
    pub fn refill_manually(&mut self, repeated: bool) -> bool {
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| bucket.is_manual()) else { return false };
        bucket.refill(if repeated { 0 } else { bucket.refill_amount });
        true
    }

    /// The length of its window; 0 if it has none.
    fn window_ms(&self) -> u64 {
        let fields = self.definition.kind.fields();
        fields.window_seconds * 1_000 + fields.window_ms
    }

    /// When a reservation made now has expired or is refilled, at the latest.
    fn available_again_ms(&self, now_ms: u64) -> u64 {
        let KindFields { timeout_seconds, align, segments, .. } = self.definition.kind.fields();
        let window_ms = self.window_ms();
        match (&self.bucket, self.definition.kind.name()) {
            (Some(bucket), _) => bucket.lease_ends_ms(self.capacity, now_ms),
            (None, KindName::FixedWindow) => next_boundary_ms(window_ms, align * 1_000, now_ms),
            (None, KindName::Calendar) => next_calendar_day_ms(&self.definition.kind.fields(), now_ms),
            (None, KindName::SlidingWindow) => leaves_ms(window_ms, segments, now_ms),
            (None, _) => now_ms + window_ms + timeout_seconds * 1_000,
        }
    }

    /// When the next step of its schedule begins, if it has one.
    pub fn next_step_ms(&self, now_ms: u64) -> Option<u64> {
        let KindFields { align, segments, .. } = self.definition.kind.fields();
        let window_ms = self.window_ms();
        match self.definition.kind.name() {
            KindName::TokenBucket => self.bucket.as_ref().and_then(Bucket::next_refill_ms),
            KindName::FixedWindow => Some(next_boundary_ms(window_ms, align * 1_000, now_ms)),
            KindName::Calendar => Some(next_calendar_day_ms(&self.definition.kind.fields(), now_ms)),
            KindName::SlidingWindow => Some(next_segment_ms(window_ms, segments, now_ms)),
            KindName::Rolling | KindName::Concurrency => None,
        }
    }
}

fn is_scheduled(definition: &Definition) -> bool {
    !matches!(definition.kind.name(), KindName::Rolling | KindName::Concurrency)
}

fn bucket_of(definition: &Definition, missing: u64, now_ms: u64, earned: Option<Part>) -> Option<Bucket> {
    let KindFields { refill_amount, refill_interval_ms, auto_replenish, .. } = definition.kind.fields();
    let interval_ms = (auto_replenish != Some(false)).then_some(refill_interval_ms);
    let is_bucket = definition.kind.name() == KindName::TokenBucket;
    is_bucket.then(|| Bucket::new(refill_amount, interval_ms, missing, now_ms, earned))
}
