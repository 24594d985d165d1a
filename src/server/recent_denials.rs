//! How often each limit denied reserves in the last minutes, as this process saw it. Counting must cost a denial next to
//! nothing, and the memory is bounded: a limit that has not denied for longest is forgotten for one that denies now.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::limit::LimitKey;
use crate::time::unix_ms_of;

/// The minutes that are kept.
pub(super) const MINUTES_MAX: u64 = 180;
/// The most limits that are kept.
pub(super) const LIMITS_MAX: usize = SHARDS * SHARD_LIMITS_MAX;

/// Calls on different limits rarely wait for each other.
const SHARDS: usize = 16;
const SHARD_LIMITS_MAX: usize = 128;
const MINUTE_MS: u64 = 60_000;

/// Denials by limit and minute.
#[derive(Debug, Default)]
pub(crate) struct RecentDenials {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
}

/// The denials of each limit of a shard.
type Shard = HashMap<LimitKey, Minutes>;

/// The minutes since the Unix epoch in which a limit denied, and how often, oldest first.
#[derive(Debug, Default)]
struct Minutes(VecDeque<(u64, u32)>);

/// The denials of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) key: LimitKey,
    /// How often it denied in each minute, oldest first. The last minute is not over.
    pub(super) per_minute: Vec<u32>,
}

/// The minutes since the Unix epoch.
pub(super) fn minute_now() -> u64 {
    unix_ms_of(SystemTime::now()) / MINUTE_MS
}

/// When a minute began, in milliseconds since the Unix epoch.
pub(super) fn unix_ms_of_minute(minute: u64) -> u64 {
    minute.saturating_mul(MINUTE_MS)
}

impl RecentDenials {
    /// Counts a denial by this limit now.
    pub(super) fn count(&self, key: &LimitKey) {
        self.count_in(key, minute_now());
    }

    fn count_in(&self, key: &LimitKey, minute: u64) {
        let mut shard = self.shard(key);
        if let Some(minutes) = shard.get_mut(key) {
            return minutes.count(minute);
        }
        if shard.len() >= SHARD_LIMITS_MAX {
            forget_oldest(&mut shard);
        }
        shard.entry(key.clone()).or_default().count(minute);
    }

    /// The denials in the `count` minutes up to and with `minute` of the limits for which `allows` holds and which denied in
    /// these minutes, those that denied most first.
    pub(super) fn read(&self, minute: u64, count: u64, allows: impl Fn(&LimitKey) -> bool) -> Vec<Denied> {
        let mut denied = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let allowed = shard.iter().filter(|(key, _)| allows(key));
            let read = allowed.filter_map(|(key, minutes)| {
                let per_minute = minutes.read(minute, count)?;
                Some(Denied { key: key.clone(), per_minute })
            });
            denied.extend(read);
        }
        denied.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.key.cmp(&b.key)));
        denied
    }

    fn shard(&self, key: &LimitKey) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let [first, ..] = &self.shards;
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        lock(self.shards.get(index).unwrap_or(first))
    }
}

impl Denied {
    /// The denials in all of its minutes.
    pub(super) fn total(&self) -> u64 {
        self.per_minute.iter().map(|count| u64::from(*count)).sum()
    }
}

impl Minutes {
    fn count(&mut self, minute: u64) {
        match self.0.back_mut() {
            // Of a clock that was set back, the newest minute counts.
            Some((newest, count)) if *newest >= minute => *count = count.saturating_add(1),
            Some(_) | None => self.0.push_back((minute, 1)),
        }
        while self.0.front().is_some_and(|(oldest, _)| oldest + MINUTES_MAX <= minute) {
            self.0.pop_front();
        }
    }

    /// The counts of the `count` minutes up to `last`; `None` if all are 0.
    fn read(&self, last: u64, count: u64) -> Option<Vec<u32>> {
        let first = (last + 1).saturating_sub(count);
        let mut seen = self.0.iter().filter(|(minute, _)| (first..=last).contains(minute)).peekable();
        seen.peek()?;
        let mut next = |minute| seen.next_if(|(seen, _)| *seen == minute).map_or(0, |(_, count)| *count);
        Some((first..=last).map(&mut next).collect())
    }
}

/// Forgets the limit whose last denial is oldest.
fn forget_oldest(shard: &mut Shard) {
    let last = |minutes: &Minutes| minutes.0.back().map(|(minute, _)| *minute);
    let oldest = shard.iter().min_by_key(|(_, minutes)| last(minutes)).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        shard.remove(&key);
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A count holds whatever the thread that panicked was about to add.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> LimitKey {
        LimitKey::parse(text).expect("a key")
    }

    fn denied(text: &str, per_minute: &[u32]) -> Denied {
        Denied { key: key(text), per_minute: per_minute.to_vec() }
    }

    #[test]
    fn denials_are_counted_by_minute_and_the_limit_that_denied_most_comes_first() {
        let denials = RecentDenials::default();
        for (text, minute) in [("a", 100), ("b", 100), ("a", 102), ("b", 102), ("b", 102)] {
            denials.count_in(&key(text), minute);
        }
        let read = |minute, count| denials.read(minute, count, |_| true);
        assert_eq!(read(102, 4), [denied("b", &[0, 1, 0, 2]), denied("a", &[0, 1, 0, 1])]);
        assert_eq!(read(102, 1), [denied("b", &[2]), denied("a", &[1])]);
        assert_eq!(read(101, 1), []);
        assert_eq!(denials.read(102, 1, |allowed| *allowed == key("a")), [denied("a", &[1])]);
    }

    #[test]
    fn minutes_beyond_the_bound_are_forgotten() {
        let denials = RecentDenials::default();
        for minute in 1..=MINUTES_MAX + 20 {
            denials.count_in(&key("a"), minute);
        }
        let read = denials.read(MINUTES_MAX + 20, MINUTES_MAX + 20, |_| true);
        assert_eq!(read.iter().map(Denied::total).sum::<u64>(), MINUTES_MAX);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_no_denial() {
        let denials = RecentDenials::default();
        for minute in [10, 9, 10] {
            denials.count_in(&key("a"), minute);
        }
        assert_eq!(denials.read(10, 2, |_| true), [denied("a", &[0, 3])]);
    }

    #[test]
    fn the_limits_that_have_not_denied_for_longest_make_room() {
        let denials = RecentDenials::default();
        let last = 10 * LIMITS_MAX as u64;
        for number in 1..=last {
            denials.count_in(&key(&format!("limit:{number}")), number / 1_000);
            denials.count_in(&key("busy"), number / 1_000);
        }
        let kept = denials.read(last / 1_000, MINUTES_MAX, |_| true);
        assert!(kept.len() <= LIMITS_MAX, "{}", kept.len());
        assert!(kept.len() > LIMITS_MAX / 2, "{}", kept.len());
        assert!(kept.iter().any(|denied| denied.key == key("busy")));
        assert!(kept.iter().any(|denied| denied.key == key(&format!("limit:{last}"))));
    }
}
