//! The callers: a process of their own, which reaches the replicas through the network.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::history::History;
use crate::lives::Caller;
use crate::operator::Operator;
use crate::process::{ClockSkew, Process};
use crate::random::Random;
use crate::replica::{Call, Front, SimulatedEngine};
use crate::session::{Outbox, Response};
use crate::swarm::Swarm;

/// How long a replica works on a call that does not wait for room.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(2_000);
/// How much longer a caller waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long callers go on with new leases when all faults have ended.
const WORKS_ON: Duration = Duration::from_millis(1_500);

/// The callers of a run.
pub(crate) struct Callers {
    process: Process,
    calls: Outbox<Call>,
    running: Arc<AtomicUsize>,
}

/// The service as callers see it.
pub(crate) struct Service {
    pub(crate) swarm: Arc<Swarm>,
    pub(crate) history: Arc<History>,
    calls: Outbox<Call>,
    healed: Arc<AtomicBool>,
    started: Instant,
}

impl Callers {
    pub(crate) fn start(
        swarm: &Arc<Swarm>,
        mut random: Random,
        history: &Arc<History>,
        healed: &Arc<AtomicBool>,
    ) -> Self {
        let process = Process::start(0, ClockSkew::default());
        let (calls, running) = (Outbox::new(), Arc::new(AtomicUsize::new(1)));
        process.step_to(0);
        let (swarm, history, healed) = (Arc::clone(swarm), Arc::clone(history), Arc::clone(healed));
        let (sent, alive) = (calls.clone(), Arc::clone(&running));
        process.spawn(async move {
            let service = Arc::new(Service { swarm, history, calls: sent, healed, started: Instant::now() });
            let mut operator = Operator::new(Arc::clone(&service), random.fork());
            operator.make_limits().await;
            for number in 0..service.swarm.callers {
                let caller = Caller::new(Arc::clone(&service), random.fork(), number);
                alive.fetch_add(1, Ordering::SeqCst);
                let alive = Arc::clone(&alive);
                tokio::spawn(async move {
                    caller.run().await;
                    alive.fetch_sub(1, Ordering::SeqCst);
                });
            }
            operator.run().await;
            alive.fetch_sub(1, Ordering::SeqCst);
        });
        Self { process, calls, running }
    }

    pub(crate) fn step_to(&self, now_ms: u64) {
        self.process.step_to(now_ms);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    /// Whether every lease has its outcome.
    pub(crate) fn are_done(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
    }
}

impl Service {
    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Whether callers begin something new.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_healed() || self.now_ms() < self.swarm.heals_at_ms + WORKS_ON.as_millis() as u64
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    /// Calls a replica once. `waits` is how long the call may wait there for room. `None` if the outcome is unknown.
    pub(crate) async fn ask<T, E, F>(
        &self,
        to: usize,
        question: impl Debug,
        waits: Duration,
        run: impl FnOnce(Arc<SimulatedEngine>) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Debug + Send + 'static,
        E: Error + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let within = REQUEST_TIMEOUT + waits;
        let carry_out = move |mut front: Front| {
            let carried_out = async move {
                let answer = async move {
                    front.until_ready().await;
                    run(front.engine).await
                };
                let outcome = match timeout(within, answer).await {
                    Ok(outcome) => outcome.map_err(|error| format!("{error:?}")),
                    Err(_) => Err("the time is up".to_owned()),
                };
                let hash = crate::trace::hash_of(&outcome);
                // The caller may have given up.
                Response { hash, deliver: Box::new(move || drop(sender.send(outcome))) }
            };
            carried_out.boxed()
        };
        self.calls.send(Call { to, hash: crate::trace::hash_of(&question), run: Box::new(carry_out) });
        match timeout(within + PATIENCE, answer).await.ok()?.ok()? {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.history.note_failure(&error);
                None
            }
        }
    }

    /// The pause before a call is repeated.
    pub(crate) async fn pause(&self, random: &mut Random) {
        sleep(Duration::from_millis(random.between(10, 200))).await;
    }
}
