use std::collections::VecDeque;

use tokio::time::Instant;

use crate::client::LeaseId;

/// How many returns are told apart at the most; later ones count as one, at the time of the last.
const RETURNS_MAX: usize = 4_096;

/// When the permits come back by themselves that were granted here. Of those granted elsewhere nothing is known.
#[derive(Debug)]
pub(super) struct Returns {
    /// In the order in which they come back.
    coming: VecDeque<Return>,
    /// As far as is known here, the limiter was not full before this.
    not_full_before: Instant,
}

#[derive(Debug)]
struct Return {
    at: Instant,
    permits: u128,
    lease: LeaseId,
}

impl Returns {
    pub(super) fn new(now: Instant) -> Self {
        Self { coming: VecDeque::new(), not_full_before: now }
    }

    /// A lease was granted; its permits come back at this time, if that is known.
    pub(super) fn granted(&mut self, lease: LeaseId, permits: u64, at: Option<Instant>, now: Instant) {
        self.seen_taken(now);
        let (Some(at), permits) = (at, u128::from(permits)) else { return };
        if self.coming.len() >= RETURNS_MAX
            && let Some(last) = self.coming.back_mut()
        {
            last.at = last.at.max(at);
            last.permits += permits;
            return;
        }
        // Nearly always the last.
        let behind = self.coming.iter().rev().take_while(|other| other.at > at).count();
        self.coming.insert(self.coming.len() - behind, Return { at, permits, lease });
    }

    /// The permits of a lease are given back now; answers how many had not come back before.
    pub(super) fn given_back(&mut self, lease: LeaseId, now: Instant) -> u128 {
        self.collect(now);
        // Newer leases are nearer to the end.
        let place = self.coming.iter().rposition(|coming| coming.lease == lease);
        let Some(coming) = place.and_then(|place| self.coming.remove(place)) else { return 0 };
        self.seen_taken(now);
        coming.permits
    }

    /// Something was seen to be taken.
    pub(super) fn seen_taken(&mut self, now: Instant) {
        self.not_full_before = self.not_full_before.max(now);
    }

    /// When so many permits more than now have come back.
    pub(super) fn back_at(&mut self, permits: u128, now: Instant) -> Option<Instant> {
        self.collect(now);
        let mut sum = 0;
        let enough = self.coming.iter().find(|coming| {
            sum += coming.permits;
            sum >= permits
        });
        enough.map(|coming| coming.at)
    }

    /// Since when a limiter that is full now has been so, as far as is known here.
    pub(super) fn full_since(&mut self, now: Instant) -> Instant {
        self.collect(now);
        self.not_full_before
    }

    fn collect(&mut self, now: Instant) {
        while let Some(Return { at, .. }) = self.coming.front()
            && *at <= now
        {
            self.not_full_before = self.not_full_before.max(*at);
            self.coming.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct World {
        start: Instant,
        returns: Returns,
        leases: Vec<LeaseId>,
    }

    impl World {
        /// With leases of so many permits that come back at this second, named by their order.
        fn with(leases: &[(u64, u64)]) -> Self {
            let start = Instant::now();
            let mut world = Self { start, returns: Returns::new(start), leases: Vec::new() };
            for &(permits, second) in leases {
                let (lease, at) = (LeaseId::generate(), world.at(second));
                world.leases.push(lease);
                world.returns.granted(lease, permits, Some(at), start);
            }
            world
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn back_at(&mut self, permits: u128, now: u64) -> Option<u64> {
            let at = self.returns.back_at(permits, self.at(now))?;
            Some((at - self.start).as_secs())
        }

        fn full_since(&mut self, now: u64) -> u64 {
            (self.returns.full_since(self.at(now)) - self.start).as_secs()
        }
    }

    #[test]
    fn permits_come_back_in_the_order_of_their_times() {
        let mut world = World::with(&[(3, 10), (2, 30), (4, 20)]);
        let back: Vec<_> = [1, 3, 4, 7, 8, 9, 10].map(|permits| world.back_at(permits, 0)).into();
        assert_eq!(back, [Some(10), Some(10), Some(20), Some(20), Some(30), Some(30), None]);
        let later: Vec<_> = [1, 4, 5, 6, 7].map(|permits| world.back_at(permits, 10)).into();
        assert_eq!(later, [Some(20), Some(20), Some(30), Some(30), None]);
    }

    #[test]
    fn what_is_given_back_does_not_come_back_again() {
        let mut world = World::with(&[(3, 10), (2, 30)]);
        assert_eq!(world.returns.given_back(world.leases[0], world.at(5)), 3);
        assert_eq!(world.back_at(1, 5), Some(30));
        assert_eq!(world.returns.given_back(world.leases[0], world.at(6)), 0);
        assert_eq!(world.back_at(3, 6), None);
        world.returns.given_back(world.leases[1], world.at(7));
        assert_eq!(world.full_since(9), 7);
    }

    #[test]
    fn it_is_full_since_the_last_return() {
        let mut world = World::with(&[(1, 10), (1, 20)]);
        assert_eq!(world.full_since(0), 0);
        assert_eq!(world.full_since(15), 10);
        assert_eq!(world.full_since(25), 20);
        // Given back when it had come back by itself already.
        world.returns.given_back(world.leases[1], world.at(30));
        assert_eq!(world.full_since(35), 20);
        world.returns.seen_taken(world.at(40));
        assert_eq!(world.full_since(45), 40);
    }

    #[test]
    fn of_too_many_the_last_count_as_one() {
        let mut world = World::with(&vec![(1, 10); RETURNS_MAX - 1]);
        for second in [20, 30, 25] {
            let at = world.at(second);
            world.returns.granted(LeaseId::generate(), 1, Some(at), world.start);
        }
        let few = RETURNS_MAX as u128 - 1;
        assert_eq!(world.back_at(few, 0), Some(10));
        assert_eq!(world.back_at(few + 1, 0), Some(30));
        assert_eq!(world.back_at(few + 3, 0), Some(30));
        assert_eq!(world.returns.coming.len(), RETURNS_MAX);
    }
}
