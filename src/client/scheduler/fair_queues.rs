//! The queues of waiting jobs, served in turn. Pure: `waiting` drives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::job::{JobNumber, QueueKey};

/// The queues that have a waiting job. Those with a ready job take turns, one job each.
pub(super) struct FairQueues {
    queues: BTreeMap<QueueKey, Queue>,
    /// The queues with a ready job, each once, in the order of their turns.
    turns: VecDeque<QueueKey>,
    /// All waiting jobs, ready or not.
    jobs: usize,
    jobs_max: usize,
    queue_jobs_max: usize,
}

#[derive(Default)]
struct Queue {
    /// Sorted by age. A job that is ready again takes its old position.
    ready: BTreeSet<JobNumber>,
    /// The waiting jobs of this queue, ready or not.
    jobs: usize,
}

impl FairQueues {
    pub(super) fn new(jobs_max: usize, queue_jobs_max: usize) -> Self {
        Self { queues: BTreeMap::new(), turns: VecDeque::new(), jobs: 0, jobs_max, queue_jobs_max }
    }

    /// Counts a new waiting job in its queue. Returns false if there is no room for it.
    pub(super) fn add_job(&mut self, key: &QueueKey) -> bool {
        let queued = self.queues.get(key).map_or(0, |queue| queue.jobs);
        if self.jobs >= self.jobs_max || queued >= self.queue_jobs_max {
            return false;
        }
        self.jobs += 1;
        self.queues.entry(key.clone()).or_default().jobs += 1;
        true
    }

    /// Removes a job that waits no more.
    pub(super) fn remove_job(&mut self, key: &QueueKey, job: JobNumber) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        if queue.ready.remove(&job) && queue.ready.is_empty() {
            self.turns.retain(|turn| turn != key);
        }
        self.jobs -= 1;
        queue.jobs -= 1;
        if queue.jobs == 0 {
            self.queues.remove(key);
        }
    }

    /// Marks a waiting job as ready for an attempt.
    pub(super) fn make_ready(&mut self, key: &QueueKey, job: JobNumber) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        if queue.ready.is_empty() {
            self.turns.push_back(key.clone());
        }
        queue.ready.insert(job);
    }

    /// Takes the oldest ready job of the queue whose turn it is.
    ///
    /// Jobs for which `must_wait` answers true are skipped. They are not ready any more, and cost their queue no turn.
    pub(super) fn take_next(&mut self, mut must_wait: impl FnMut(JobNumber) -> bool) -> Option<JobNumber> {
        while let Some(key) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            while let Some(job) = queue.ready.pop_first() {
                if must_wait(job) {
                    continue;
                }
                if !queue.ready.is_empty() {
                    self.turns.push_back(key);
                }
                return Some(job);
            }
        }
        None
    }
}
