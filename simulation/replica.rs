//! A replica of the service, from its start to its crash.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ledger_limiter::engine::{Engine, EngineOptions, LoopOptions};
use ledger_limiter::limiter::LimiterOptions;
use tokio::sync::watch;

use crate::process::{ClockSkew, Process};
use crate::random::Random;
use crate::session::{Outbox, Request, Response, Sessions};
use crate::swarm::Swarm;

/// Short, so that instances are retired during a run.
const LOOPS: (Duration, Duration, Duration) =
    (Duration::from_millis(300), Duration::from_millis(200), Duration::from_millis(1_500));

/// How long a replica with caches denies calls without asking the ledger.
const DENY_ALONE: Duration = Duration::from_millis(300);

pub(crate) type SimulatedEngine = Engine<Sessions>;

/// What calls of callers reach. It lets them wait until the replica has read the definitions, as the HTTP API does.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) engine: Arc<SimulatedEngine>,
    ready: watch::Receiver<bool>,
}

impl Front {
    pub(crate) async fn until_ready(&mut self) {
        // The sender lives as long as the replica.
        let _ready = self.ready.wait_for(|ready| *ready).await;
    }
}

/// A call to a replica.
pub(crate) struct Call {
    pub(crate) to: usize,
    /// The hash of what it asks.
    pub(crate) hash: u64,
    pub(crate) run: Box<dyn FnOnce(Front) -> BoxFuture<'static, Response> + Send>,
}

/// A message that has arrived at a replica.
pub(crate) enum Arrival {
    Answer(Response),
    Call(Call),
}

/// A running replica.
pub(crate) struct Replica {
    process: Process,
    front: Front,
    pub(crate) requests: Outbox<Request>,
    pub(crate) replies: Outbox<Response>,
    evicts: watch::Sender<()>,
    /// What arrived while the replica was stalled; `None` while it runs.
    stalled: Option<Vec<Arrival>>,
}

impl Replica {
    pub(crate) fn start(now_ms: u64, skew: ClockSkew, swarm: &Swarm, random: Random) -> Self {
        let process = Process::start(now_ms, skew);
        let (requests, (evicts, evicted)) = (Outbox::new(), watch::channel(()));
        process.step_to(now_ms);
        let ledger = Arc::new(Sessions::new(requests.clone(), swarm.sessions, random, evicted));
        let (poll_interval, decrease_interval, instance_idle) = LOOPS;
        let loops = LoopOptions { poll_interval, decrease_interval, instance_idle, ..LoopOptions::default() };
        let caches =
            LimiterOptions { leases_max: 1_000, deny_alone_max: DENY_ALONE, ..LimiterOptions::default() };
        let limiter = if swarm.caches { caches } else { LimiterOptions::default() };
        let options = EngineOptions::default().with_limiter(limiter).with_loops(loops);
        let engine = Arc::new(Engine::new(ledger, options));
        let (sets_ready, ready) = watch::channel(false);
        let front = Front { engine: Arc::clone(&engine), ready };
        process.spawn(async move {
            engine.bootstrap_until_ready(&[]).await;
            sets_ready.send_replace(true);
            engine.run_loops().await;
        });
        Self { process, front, requests, replies: Outbox::new(), evicts, stalled: None }
    }

    /// Runs the replica until this time, unless it is stalled.
    pub(crate) fn step_to(&self, now_ms: u64) {
        if self.stalled.is_none() {
            self.process.step_to(now_ms);
        }
    }

    /// Hands a message over. A stalled replica finds it when it runs again.
    pub(crate) fn deliver(&mut self, arrival: Arrival) {
        match &mut self.stalled {
            Some(waiting) => waiting.push(arrival),
            None => self.receive(arrival),
        }
    }

    fn receive(&self, arrival: Arrival) {
        match arrival {
            Arrival::Answer(answer) => (answer.deliver)(),
            Arrival::Call(call) => {
                let (carried_out, replies) = ((call.run)(self.front.clone()), self.replies.clone());
                self.process.spawn(async move { replies.send(carried_out.await) });
            }
        }
    }

    pub(crate) fn stall(&mut self) {
        self.stalled.get_or_insert_default();
    }

    /// Lets a stalled replica run again. Its timers fire, and what has arrived meanwhile is read.
    pub(crate) fn resume(&mut self, now_ms: u64) {
        let Some(waiting) = self.stalled.take() else { return };
        self.process.resume(now_ms);
        waiting.into_iter().for_each(|arrival| self.receive(arrival));
        self.process.step_to(now_ms);
    }

    /// The cluster evicts its sessions: it learns at once that there will be no answers.
    pub(crate) fn evict(&self) {
        self.evicts.send_replace(());
    }

    /// Begins to stop, as the service does when it is told to.
    pub(crate) fn stop(&self) {
        let engine = Arc::clone(&self.front.engine);
        self.process.spawn(async move {
            engine.limiter().stop_waiting().await;
            let _returned = engine.limiter().return_allotments().await;
        });
    }

    /// What it has done since its start.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 4] {
        let limiter = self.front.engine.limiter();
        let waiting = limiter.waiting_counts();
        [
            ("leases served from allotments", limiter.allotment_counts().served()),
            ("leases that had to wait", waiting.queued()),
            ("leases granted after a wait", waiting.granted()),
            ("calls denied without the ledger", limiter.denied_alone()),
        ]
    }

    /// The requests that wait there.
    pub(crate) fn waiters(&self) -> usize {
        self.front.engine.limiter().waiting_counts().callers()
    }

    pub(crate) fn set_wall_clock(&mut self, ahead_ms: i64) {
        self.process.skew.ahead_ms = ahead_ms;
    }
}
