//! The limits that have no room for now, and the jobs that wait for them. Pure: `waiting` drives it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::job::JobNumber;
use crate::limit::LimitKey;

/// The limits that denied a job, each until the hint of its denial has passed.
///
/// All jobs that need such a limit wait for that, instead of being denied one by one.
#[derive(Default)]
pub(super) struct Backoff {
    limits: BTreeMap<LimitKey, LimitBackoff>,
    ends: BTreeSet<(Instant, LimitKey)>,
}

struct LimitBackoff {
    until: Instant,
    jobs: BTreeSet<JobNumber>,
}

impl Backoff {
    /// Begins the backoff of a limit, or prolongs it. It is never shortened.
    pub(super) fn begin(&mut self, key: &LimitKey, until: Instant) {
        let limit =
            self.limits.entry(key.clone()).or_insert_with(|| LimitBackoff { until, jobs: BTreeSet::new() });
        self.ends.remove(&(limit.until, key.clone()));
        limit.until = limit.until.max(until);
        self.ends.insert((limit.until, key.clone()));
    }

    /// The first of these limits that is in backoff.
    pub(super) fn find<'a>(&self, keys: &'a [LimitKey]) -> Option<&'a LimitKey> {
        keys.iter().find(|key| self.limits.contains_key(*key))
    }

    /// Lets a job wait for the end of a limit's backoff.
    pub(super) fn add_job(&mut self, key: &LimitKey, job: JobNumber) {
        if let Some(limit) = self.limits.get_mut(key) {
            limit.jobs.insert(job);
        }
    }

    pub(super) fn remove_job(&mut self, key: &LimitKey, job: JobNumber) {
        if let Some(limit) = self.limits.get_mut(key) {
            limit.jobs.remove(&job);
        }
    }

    /// Ends every backoff whose time has passed. Returns the jobs that waited for them.
    pub(super) fn end_due(&mut self, now: Instant) -> BTreeSet<JobNumber> {
        let mut jobs = BTreeSet::new();
        while let Some((until, key)) = self.ends.pop_first() {
            if until > now {
                self.ends.insert((until, key));
                break;
            }
            jobs.extend(self.limits.remove(&key).into_iter().flat_map(|limit| limit.jobs));
        }
        jobs
    }

    /// When the next backoff ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }
}
