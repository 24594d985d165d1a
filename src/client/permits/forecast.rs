//! When the permits that a limiter granted are free again. Pure: the caller passes the time in.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::client::LeaseId;

/// The most leases that are tracked one by one. Later ones are added to the last, at the later of both times.
const LEASES_MAX: usize = 4_096;

/// The times at which granted permits are free again without a release. It does not know the grants of other limiters.
#[derive(Debug)]
pub(super) struct Forecast {
    /// Sorted by time.
    upcoming: VecDeque<FreedLease>,
    /// The last moment at which permits were taken, as far as this limiter knows.
    taken_at: Instant,
}

#[derive(Debug)]
struct FreedLease {
    at: Instant,
    permits: u128,
    lease: LeaseId,
}

impl Forecast {
    pub(super) fn new(now: Instant) -> Self {
        Self { upcoming: VecDeque::new(), taken_at: now }
    }

    /// Adds a granted lease. `at` is when its permits are free again, if that is known.
    pub(super) fn add(&mut self, lease: LeaseId, permits: u64, at: Option<Instant>, now: Instant) {
        self.note_taken(now);
        let (Some(at), permits) = (at, u128::from(permits)) else { return };
        if self.upcoming.len() >= LEASES_MAX
            && let Some(last) = self.upcoming.back_mut()
        {
            last.at = last.at.max(at);
            last.permits += permits;
            return;
        }
        // Usually 0, because most leases are free again after all earlier ones.
        let later = self.upcoming.iter().rev().take_while(|other| other.at > at).count();
        self.upcoming.insert(self.upcoming.len() - later, FreedLease { at, permits, lease });
    }

    /// Removes a lease that is released now. Returns its permits, 0 if they were free already.
    pub(super) fn release(&mut self, lease: LeaseId, now: Instant) -> u128 {
        self.drop_past(now);
        // Newer leases are nearer to the end.
        let index = self.upcoming.iter().rposition(|upcoming| upcoming.lease == lease);
        let Some(released) = index.and_then(|index| self.upcoming.remove(index)) else { return 0 };
        self.note_taken(now);
        released.permits
    }

    /// Notes that permits are taken now, through any limiter.
    pub(super) fn note_taken(&mut self, now: Instant) {
        self.taken_at = self.taken_at.max(now);
    }

    /// When this many more permits are free than now; `None` if that is unknown.
    pub(super) fn free_at(&mut self, permits: u128, now: Instant) -> Option<Instant> {
        self.drop_past(now);
        let mut sum = 0;
        let enough = self.upcoming.iter().find(|upcoming| {
            sum += upcoming.permits;
            sum >= permits
        });
        enough.map(|upcoming| upcoming.at)
    }

    /// Since when all permits are free, if they are now.
    pub(super) fn full_since(&mut self, now: Instant) -> Instant {
        self.drop_past(now);
        self.taken_at
    }

    fn drop_past(&mut self, now: Instant) {
        while let Some(FreedLease { at, .. }) = self.upcoming.front()
            && *at <= now
        {
            self.taken_at = self.taken_at.max(*at);
            self.upcoming.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct World {
        start: Instant,
        forecast: Forecast,
        leases: Vec<LeaseId>,
    }

    impl World {
        /// Leases of these permits that are free again at these seconds.
        fn new(leases: &[(u64, u64)]) -> Self {
            let start = Instant::now();
            let mut world = Self { start, forecast: Forecast::new(start), leases: Vec::new() };
            for &(permits, second) in leases {
                let (lease, at) = (LeaseId::generate(), world.at(second));
                world.leases.push(lease);
                world.forecast.add(lease, permits, Some(at), start);
            }
            world
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn free_at(&mut self, permits: u128, now: u64) -> Option<u64> {
            let at = self.forecast.free_at(permits, self.at(now))?;
            Some((at - self.start).as_secs())
        }

        fn full_since(&mut self, now: u64) -> u64 {
            (self.forecast.full_since(self.at(now)) - self.start).as_secs()
        }
    }

    #[test]
    fn permits_are_free_in_the_order_of_their_times() {
        let mut world = World::new(&[(3, 10), (2, 30), (4, 20)]);
        let free_at: Vec<_> = [1, 3, 4, 7, 8, 9, 10].map(|permits| world.free_at(permits, 0)).into();
        assert_eq!(free_at, [Some(10), Some(10), Some(20), Some(20), Some(30), Some(30), None]);
        let later: Vec<_> = [1, 4, 5, 6, 7].map(|permits| world.free_at(permits, 10)).into();
        assert_eq!(later, [Some(20), Some(20), Some(30), Some(30), None]);
    }

    #[test]
    fn a_released_lease_is_counted_once() {
        let mut world = World::new(&[(3, 10), (2, 30)]);
        assert_eq!(world.forecast.release(world.leases[0], world.at(5)), 3);
        assert_eq!(world.free_at(1, 5), Some(30));
        assert_eq!(world.forecast.release(world.leases[0], world.at(6)), 0);
        assert_eq!(world.free_at(3, 6), None);
        world.forecast.release(world.leases[1], world.at(7));
        assert_eq!(world.full_since(9), 7);
    }

    #[test]
    fn it_is_full_since_the_last_lease_was_free_again() {
        let mut world = World::new(&[(1, 10), (1, 20)]);
        assert_eq!(world.full_since(0), 0);
        assert_eq!(world.full_since(15), 10);
        assert_eq!(world.full_since(25), 20);
        // Released after its permits were free.
        world.forecast.release(world.leases[1], world.at(30));
        assert_eq!(world.full_since(35), 20);
        world.forecast.note_taken(world.at(40));
        assert_eq!(world.full_since(45), 40);
    }

    #[test]
    fn leases_above_the_maximum_count_as_one() {
        let mut world = World::new(&vec![(1, 10); LEASES_MAX - 1]);
        for second in [20, 30, 25] {
            let at = world.at(second);
            world.forecast.add(LeaseId::generate(), 1, Some(at), world.start);
        }
        let tracked = LEASES_MAX as u128 - 1;
        assert_eq!(world.free_at(tracked, 0), Some(10));
        assert_eq!(world.free_at(tracked + 1, 0), Some(30));
        assert_eq!(world.free_at(tracked + 3, 0), Some(30));
        assert_eq!(world.forecast.upcoming.len(), LEASES_MAX);
    }
}
