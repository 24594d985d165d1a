use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::state::JobNumber;

/// The queue of a job: calls to one model of one provider wait in one queue, and never behind those to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    provider: Arc<str>,
    model: Arc<str>,
}

impl QueueKey {
    /// The queue of this model.
    pub fn new(provider: &str, model: &str) -> Self {
        Self { provider: provider.into(), model: model.into() }
    }

    /// Who serves the model.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }
}

/// The jobs that wait, in their queues, and whose turn it is. A queue exists while a job of it waits.
pub(super) struct Queues {
    queues: BTreeMap<QueueKey, Queue>,
    /// The queues with a job that is ready, each once.
    turns: VecDeque<QueueKey>,
    jobs: usize,
    jobs_max: usize,
    queue_jobs_max: usize,
}

#[derive(Default)]
struct Queue {
    /// Numbers count up, so the first is the oldest: a job that comes back takes its old place.
    ready: BTreeSet<JobNumber>,
    /// All jobs that wait, ready or not.
    jobs: usize,
}

impl Queues {
    pub(super) fn new(jobs_max: usize, queue_jobs_max: usize) -> Self {
        Self { queues: BTreeMap::new(), turns: VecDeque::new(), jobs: 0, jobs_max, queue_jobs_max }
    }

    /// Takes a place in the queue for a job, if there is one.
    pub(super) fn enter(&mut self, key: &QueueKey) -> bool {
        let queued = self.queues.get(key).map_or(0, |queue| queue.jobs);
        if self.jobs >= self.jobs_max || queued >= self.queue_jobs_max {
            return false;
        }
        self.jobs += 1;
        self.queues.entry(key.clone()).or_default().jobs += 1;
        true
    }

    /// Gives back the place of a job that waits no more.
    pub(super) fn leave(&mut self, key: &QueueKey, job: JobNumber) {
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

    /// A job that has its place is ready for an attempt.
    pub(super) fn ready(&mut self, key: &QueueKey, job: JobNumber) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        if queue.ready.is_empty() {
            self.turns.push_back(key.clone());
        }
        queue.ready.insert(job);
    }

    /// The oldest ready job of the queue whose turn it is. Those that `holds_back` keeps are ready no more, and cost
    /// their queue no turn.
    pub(super) fn next(&mut self, mut holds_back: impl FnMut(JobNumber) -> bool) -> Option<JobNumber> {
        while let Some(key) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            while let Some(job) = queue.ready.pop_first() {
                if holds_back(job) {
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
