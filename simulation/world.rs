//! One run: processes and cluster, driven event by event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::callers::Callers;
use crate::cluster::Cluster;
use crate::history::History;
use crate::network::{Event, Fate, Incarnation, Network};
use crate::process::ClockSkew;
use crate::random::Random;
use crate::replica::{Arrival, Replica};
use crate::session::{Request, Response};
use crate::swarm::Swarm;
use crate::trace::Trace;

/// The time between two looks at the timers of all processes, while callers work and afterwards.
const HEARTBEAT_MS: u64 = 10;
const HEARTBEAT_AFTERWARDS_MS: u64 = 250;
/// How long callers may take after all faults have ended.
const FINISH_MS: u64 = 30_000;
/// How long the service has to come to rest when all callers are done. An allotment that outlives its replica, two looks at idle
/// instances, and a late message each take less.
const REST_MS: u64 = 12_000;

/// What a run was, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) hash: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) answers: BTreeMap<&'static str, u64>,
    pub(crate) transfers: usize,
    pub(crate) simulated_ms: u64,
}

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) swarm: Arc<Swarm>,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) cluster: Cluster,
    /// Whether the cluster serves.
    pub(crate) serves: bool,
    /// `None` while a replica is down.
    pub(crate) replicas: Vec<Option<Replica>>,
    pub(crate) incarnations: Vec<u64>,
    /// Whether a replica and the cluster reach each other.
    pub(crate) reaches: Vec<bool>,
    pub(crate) callers: Callers,
    pub(crate) history: Arc<History>,
    /// Whether all faults have ended.
    pub(crate) healed: Arc<AtomicBool>,
}

/// The processes that an event concerns.
#[derive(Default)]
struct Touched {
    replicas: BTreeSet<usize>,
    callers: bool,
}

impl World {
    pub(crate) fn new(seed: u64, prints: bool) -> Self {
        let mut random = Random::new(seed);
        let swarm = Arc::new(Swarm::draw(&mut random));
        let mut trace = Trace::new(prints);
        trace.add(0, format_args!("{swarm:?}"));
        let (history, healed) = (Arc::new(History::new(swarm.caches)), Arc::new(AtomicBool::new(false)));
        let callers = Callers::start(&swarm, random.fork(), &history, &healed);
        let network = Network::new(swarm.network, random.fork());
        let count = swarm.replicas;
        let mut world = Self {
            now_ms: 0,
            swarm,
            random,
            network,
            trace,
            cluster: Cluster::new(),
            serves: true,
            replicas: (0..count).map(|_| None).collect(),
            incarnations: vec![0; count],
            reaches: vec![true; count],
            callers,
            history,
            healed,
        };
        for replica in 0..count {
            world.start(replica, world.swarm.skews[replica]);
        }
        world.schedule_faults();
        world.network.schedule(HEARTBEAT_MS, Event::Heartbeat);
        world
    }

    /// Runs until all callers are done and the service is at rest.
    pub(crate) fn run(&mut self) {
        let gives_up_ms = self.swarm.heals_at_ms + FINISH_MS;
        let mut ends_ms = gives_up_ms + REST_MS;
        while let Some((at_ms, events)) = self.network.next()
            && at_ms <= ends_ms
        {
            self.now_ms = at_ms;
            self.cluster.set_clock(at_ms);
            let mut touched = Touched::default();
            events.into_iter().for_each(|event| self.handle(event, &mut touched));
            self.settle(&touched);
            if self.callers.are_done() || at_ms > gives_up_ms {
                ends_ms = ends_ms.min(at_ms + REST_MS);
            }
        }
    }

    pub(crate) fn incarnation(&self, replica: usize) -> Incarnation {
        Incarnation { replica, number: self.incarnations[replica] }
    }

    pub(crate) fn start(&mut self, replica: usize, skew: ClockSkew) {
        self.incarnations[replica] += 1;
        let random = self.random.fork();
        self.replicas[replica] = Some(Replica::start(self.now_ms, skew, &self.swarm, random));
    }

    /// The replica of an incarnation, if it still runs.
    fn living(&mut self, Incarnation { replica, number }: Incarnation) -> Option<&mut Replica> {
        if self.incarnations[replica] != number {
            return None;
        }
        self.replicas[replica].as_mut()
    }

    fn handle(&mut self, event: Event, touched: &mut Touched) {
        match event {
            Event::Request { from, request } => self.serve(from, request),
            Event::Answer { to, answer } => {
                self.trace.add(self.now_ms, format_args!("answer {to:?} {:x}", answer.hash));
                touched.replicas.insert(to.replica);
                self.deliver(to, Arrival::Answer(answer));
            }
            Event::Call(call) => {
                self.trace.add(self.now_ms, format_args!("call {} {:x}", call.to, call.hash));
                touched.replicas.insert(call.to);
                self.deliver(self.incarnation(call.to), Arrival::Call(call));
            }
            Event::Reply(reply) => {
                self.trace.add(self.now_ms, format_args!("reply {:x}", reply.hash));
                touched.callers = true;
                (reply.deliver)();
            }
            Event::Heartbeat => {
                touched.callers = true;
                touched.replicas.extend(0..self.replicas.len());
                let is_over = self.callers.are_done() && self.healed.load(Ordering::SeqCst);
                let pause_ms = if is_over { HEARTBEAT_AFTERWARDS_MS } else { HEARTBEAT_MS };
                self.network.schedule(self.now_ms + pause_ms, Event::Heartbeat);
            }
            Event::Fault { .. }
            | Event::End(_)
            | Event::Start(_)
            | Event::Resume(_)
            | Event::Joined(_)
            | Event::Served
            | Event::Heal => {
                touched.replicas.extend(0..self.replicas.len());
                self.handle_fault(&event);
            }
        }
    }

    /// The cluster carries a request out.
    fn serve(&mut self, from: Incarnation, request: Request) {
        if !self.serves || !self.reaches[from.replica] {
            self.network.count_fault("requests lost");
            return;
        }
        let Request { session, hash, run } = request;
        let answer = run(&self.cluster.ledger);
        self.trace.add(self.now_ms, format_args!("request {from:?} {session} {hash:x} {:x}", answer.hash));
        if let Fate::Arrives { at_ms } = self.network.fate_in_session(self.now_ms, from, session, false) {
            self.network.schedule(at_ms, Event::Answer { to: from, answer });
        }
    }

    /// Timers that are due before a message arrives fire before it.
    fn deliver(&mut self, to: Incarnation, arrival: Arrival) {
        let now_ms = self.now_ms;
        if let Some(replica) = self.living(to) {
            replica.step_to(now_ms);
            replica.deliver(arrival);
        }
    }

    /// Runs the processes that an event concerned, and takes up what they have sent.
    fn settle(&mut self, touched: &Touched) {
        if touched.callers {
            self.callers.step_to(self.now_ms);
        }
        let mut order: Vec<usize> = touched.replicas.iter().copied().collect();
        self.random.shuffle(&mut order);
        for replica in order {
            if let Some(running) = &self.replicas[replica] {
                running.step_to(self.now_ms);
            }
        }
        self.collect();
    }

    /// Takes up everything that processes have sent.
    pub(crate) fn collect(&mut self) {
        for call in self.callers.calls() {
            if let Fate::Arrives { at_ms } = self.network.fate_of_call(self.now_ms, false) {
                self.network.schedule(at_ms, Event::Call(call));
            }
        }
        for replica in 0..self.replicas.len() {
            let Some(running) = &self.replicas[replica] else { continue };
            let (requests, replies) = (running.requests.take(), running.replies.take());
            let from = self.incarnation(replica);
            requests.into_iter().for_each(|request| self.send_request(from, request));
            replies.into_iter().for_each(|reply| self.send_reply(reply));
        }
    }

    fn send_request(&mut self, from: Incarnation, request: Request) {
        if let Fate::Arrives { at_ms } =
            self.network.fate_in_session(self.now_ms, from, request.session, true)
        {
            self.network.schedule(at_ms, Event::Request { from, request });
        }
    }

    fn send_reply(&mut self, reply: Response) {
        if let Fate::Arrives { at_ms } = self.network.fate_of_call(self.now_ms, true) {
            self.network.schedule(at_ms, Event::Reply(reply));
        }
    }

    /// What is wrong with the run that has ended.
    pub(crate) fn report(mut self) -> Report {
        let violations = crate::checks::violations(&mut self);
        self.replicas.iter().flatten().for_each(|replica| self.history.count_all(replica.counts()));
        Report {
            hash: self.trace.hash(),
            violations,
            faults: self.network.faults,
            answers: self.history.counts(),
            transfers: self.cluster.ledger.transfers(),
            simulated_ms: self.now_ms,
        }
    }
}
