//! One limit: what of it is taken, and when that comes back.

use ledger_limiter::limit::{Definition, KindFields, KindName, Overage};

use super::bucket::{Bucket, Part};
use super::windows::{leaves_ms, next_boundary_ms, next_segment_ms};

/// A requirement that was granted: the lease, and its place among the legs of it.
pub type Owner = (u8, usize);

pub struct Limit {
    pub definition: Definition,
    pub capacity: u64,
    pub standing: Standing,
    pub debt: u64,
    /// What is taken of anything but a bucket.
    holds: Vec<Hold>,
    bucket: Option<Bucket>,
    /// The schedules before this one: until when what was taken by each of them can be given back by the next.
    replaced: Vec<Option<u64>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Standing {
    Active,
    Decreasing(u64),
    Deleted,
}

struct Hold {
    /// `None` if it was taken by earlier schedules.
    owner: Option<Owner>,
    amount: u64,
    returns_ms: u64,
    of_window: bool,
}

/// What a lease has of a limit.
#[derive(Clone, Copy)]
pub struct Leg {
    pub key: usize,
    pub amount: u64,
    pub over_ms: u64,
    pub overage: Overage,
    /// It comes back on complete.
    pub is_slot: bool,
    /// The schedule by which it comes back, if there is one.
    schedule: Option<usize>,
}

impl Limit {
    pub fn new(definition: Definition, now_ms: u64) -> Self {
        let capacity = definition.capacity.get();
        let bucket = bucket_of(&definition, 0, now_ms, None);
        let (standing, holds) = (Standing::Active, Vec::new());
        Self { definition, capacity, standing, debt: 0, holds, bucket, replaced: Vec::new() }
    }

    pub fn pass_to(&mut self, now_ms: u64) {
        self.holds.retain(|hold| hold.returns_ms > now_ms);
        self.bucket.iter_mut().for_each(|bucket| bucket.pass_to(now_ms));
    }

    pub fn reserved(&self) -> u64 {
        let held: u64 = self.holds.iter().map(|hold| hold.amount).sum();
        held + self.bucket.as_ref().map_or(0, |bucket| bucket.missing)
    }

    pub fn available(&self) -> u64 {
        self.capacity - self.reserved()
    }

    pub fn has_room(&self, amount: u64) -> bool {
        self.standing == Standing::Active && self.available() >= amount
    }

    pub fn is_deleted(&self) -> bool {
        self.standing == Standing::Deleted
    }

    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Lowers a bucket, which keeps its tokens up to the new capacity; false if it is none, or holds too much of an earlier
    /// kind.
    pub fn lower_bucket(&mut self, to: u64) -> bool {
        let (by, available) = (self.capacity - to, self.available());
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| by <= available + bucket.missing) else {
            return false;
        };
        bucket.missing -= by.min(bucket.missing);
        self.capacity = to;
        true
    }

    /// Takes what there is room for.
    pub fn take(&mut self, owner: Owner, key: usize, amount: u64, now_ms: u64) -> Leg {
        let over_ms = self.returns_ms(now_ms);
        let leg = Leg {
            key,
            amount,
            over_ms,
            overage: self.definition.overage,
            is_slot: self.definition.kind.name() == KindName::Concurrency,
            schedule: is_scheduled(&self.definition).then_some(self.replaced.len()),
        };
        self.hold(owner, amount, over_ms);
        leg
    }

    fn hold(&mut self, owner: Owner, amount: u64, returns_ms: u64) {
        let of_window = is_scheduled(&self.definition);
        match &mut self.bucket {
            Some(bucket) => bucket.missing += amount,
            None => self.holds.push(Hold { owner: Some(owner), amount, returns_ms, of_window }),
        }
    }

    /// Fills the legs that a lease has of it with what was used, in their order; answers what was used beyond them and
    /// does not fit.
    pub fn settle(&mut self, lease: u8, legs: &[(usize, &Leg)], actual: Option<u64>, now_ms: u64) -> u64 {
        let mut left = actual.unwrap_or(u64::MAX);
        for &(place, leg) in legs {
            let kept = if leg.is_slot { 0 } else { left.min(leg.amount) };
            left -= left.min(leg.amount);
            self.keep((lease, place), leg, kept, now_ms);
        }
        let &(place, last) = legs.last().expect("it was reserved");
        if left == 0 || actual.is_none() || last.is_slot || self.take_more((lease, place), last, left, now_ms)
        {
            return 0;
        }
        self.debt += match last.overage {
            Overage::Debt => left,
            Overage::Deny => 0,
        };
        left
    }

    /// Whether its schedule was replaced since.
    fn is_replaced(&self, leg: &Leg) -> bool {
        leg.schedule.is_some_and(|schedule| schedule < self.replaced.len())
    }

    /// Whether what it took is where a lease can give it back, over all schedules since.
    fn is_there(&self, leg: &Leg, now_ms: u64) -> bool {
        let since = &self.replaced[leg.schedule.unwrap_or(self.replaced.len())..];
        since.iter().all(|until_ms| until_ms.is_some_and(|until_ms| now_ms < until_ms))
    }

    /// Gives back what a lease did not need, unless it has come back.
    fn keep(&mut self, owner: Owner, leg: &Leg, kept: u64, now_ms: u64) {
        if leg.over_ms <= now_ms || !self.is_there(leg, now_ms) {
            return;
        }
        let is_replaced = self.is_replaced(leg);
        match (&mut self.bucket, leg.schedule) {
            (Some(bucket), Some(_)) => bucket.put_in(leg.amount - kept),
            (None, Some(_)) if is_replaced => {
                let carried = self.holds.iter_mut().find(|hold| hold.owner.is_none());
                carried.expect("it has not come back").amount -= leg.amount - kept;
            }
            _ => self
                .holds
                .iter_mut()
                .filter(|hold| hold.owner == Some(owner))
                .for_each(|hold| hold.amount = kept),
        }
    }

    /// Takes what a lease needed beyond what it had, for as long as it has that; false if there is no room.
    fn take_more(&mut self, owner: Owner, leg: &Leg, amount: u64, now_ms: u64) -> bool {
        if leg.over_ms <= now_ms || !self.is_there(leg, now_ms) || !self.has_room(amount) {
            return false;
        }
        match leg.schedule {
            Some(_) if self.bucket.is_none() && self.is_replaced(leg) => {
                let carried = self.holds.iter_mut().find(|hold| hold.owner.is_none());
                carried.expect("it has not come back").amount += amount;
            }
            Some(_) => self.hold(owner, amount, leg.over_ms),
            None => self.holds.push(Hold {
                owner: Some(owner),
                amount,
                returns_ms: leg.over_ms,
                of_window: false,
            }),
        }
        true
    }

    /// Another definition of the same or, of a deleted limit, any kind; its capacity is told apart.
    pub fn redefine(&mut self, definition: Definition, now_ms: u64) {
        if definition.kind != self.definition.kind {
            let keeps_kind = definition.kind.name() == self.definition.kind.name();
            let was_scheduled = is_scheduled(&self.definition);
            let spent_max = self.capacity.max(definition.capacity.get());
            let earned = self.bucket.as_mut().and_then(|bucket| bucket.settle(now_ms));
            let of_windows: u64 =
                self.holds.iter().filter(|hold| hold.of_window).map(|hold| hold.amount).sum();
            let spent = of_windows + self.bucket.as_ref().map_or(0, |bucket| bucket.missing);
            self.holds.retain(|hold| !hold.of_window);
            self.bucket = bucket_of(&definition, spent, now_ms, earned);
            self.definition = definition;
            if was_scheduled {
                let until_ms = self.bucket.as_ref().map(|bucket| bucket.over_ms(spent_max, now_ms));
                let until_ms = until_ms.unwrap_or_else(|| self.returns_ms(now_ms));
                self.replaced.push(keeps_kind.then_some(until_ms));
            }
            if self.bucket.is_none() && is_scheduled(&self.definition) {
                let returns_ms = self.returns_ms(now_ms);
                self.holds.push(Hold { owner: None, amount: spent, returns_ms, of_window: true });
            }
        } else {
            self.definition = definition;
        }
    }

    /// Refills by hand; false if it is no bucket that is refilled so.
    pub fn refill(&mut self, repeated: bool) -> bool {
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| bucket.is_by_hand()) else { return false };
        bucket.put_in(if repeated { 0 } else { bucket.refill_amount });
        true
    }

    /// When what is taken now comes back at the latest.
    fn returns_ms(&self, now_ms: u64) -> u64 {
        let KindFields { window_seconds, timeout_seconds, align, segments, .. } =
            self.definition.kind.fields();
        match (&self.bucket, self.definition.kind.name()) {
            (Some(bucket), _) => bucket.over_ms(self.capacity, now_ms),
            (None, KindName::FixedWindow) => next_boundary_ms(window_seconds * 1_000, align * 1_000, now_ms),
            (None, KindName::SlidingWindow) => leaves_ms(window_seconds * 1_000, segments, now_ms),
            (None, _) => now_ms + (window_seconds + timeout_seconds) * 1_000,
        }
    }

    /// When its next step begins, if it has steps.
    pub fn next_step_ms(&self, now_ms: u64) -> Option<u64> {
        let KindFields { window_seconds, align, segments, .. } = self.definition.kind.fields();
        match self.definition.kind.name() {
            KindName::TokenBucket => self.bucket.as_ref().and_then(Bucket::next_tick_ms),
            KindName::FixedWindow => Some(next_boundary_ms(window_seconds * 1_000, align * 1_000, now_ms)),
            KindName::SlidingWindow => Some(next_segment_ms(window_seconds * 1_000, segments, now_ms)),
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
