//! Faults that happen at a moment, and their ends.

use std::sync::atomic::Ordering;

use crate::network::Event;
use crate::process::ClockSkew;
use crate::swarm::{EventKind, Losses};
use crate::world::World;

impl World {
    pub(crate) fn schedule_faults(&mut self) {
        for (kind, mean_ms) in self.swarm.events.clone() {
            let at_ms = self.random.between(1, 2 * mean_ms);
            self.network.schedule(at_ms, Event::Fault { kind, mean_ms });
        }
        self.network.schedule(self.swarm.heals_at_ms, Event::Heal);
    }

    pub(crate) fn handle_fault(&mut self, event: &Event) {
        match *event {
            Event::Fault { kind, mean_ms } if !self.healed.load(Ordering::SeqCst) => {
                let replica = self.random.below(self.replicas.len() as u64) as usize;
                self.trace.add(self.now_ms, format_args!("{kind:?} {replica}"));
                self.begin(kind, replica);
                let next_ms = self.now_ms + self.random.between(1, 2 * mean_ms);
                self.network.schedule(next_ms, Event::Fault { kind, mean_ms });
            }
            Event::End(incarnation) if incarnation == self.incarnation(incarnation.replica) => {
                self.crash(incarnation.replica);
            }
            Event::Start(replica) if self.replicas[replica].is_none() => self.restart(replica),
            Event::Resume(incarnation) if incarnation == self.incarnation(incarnation.replica) => {
                self.resume(incarnation.replica);
            }
            Event::Joined(replica) => self.reaches[replica] = true,
            Event::Served => self.serves = true,
            Event::Heal => self.heal(),
            // The fault was overtaken by another one, or all have ended.
            Event::Fault { .. } | Event::End(_) | Event::Start(_) | Event::Resume(_) => {}
            Event::Request { .. }
            | Event::Answer { .. }
            | Event::Call(_)
            | Event::Reply(_)
            | Event::Heartbeat => {}
        }
    }

    fn begin(&mut self, kind: EventKind, replica: usize) {
        let later = |world: &mut Self, from, to| world.now_ms + world.random.between(from, to);
        match kind {
            EventKind::Crash => self.crash(replica),
            EventKind::Stop => self.stop(replica),
            EventKind::Stall => self.stall(replica),
            EventKind::Evict => {
                self.network.count_fault("evictions");
                self.replicas[replica].iter().for_each(crate::replica::Replica::evict);
            }
            EventKind::Cut => {
                self.network.count_fault("cuts");
                self.reaches[replica] = false;
                let ends_ms = later(self, 50, 3_000);
                self.network.schedule(ends_ms, Event::Joined(replica));
            }
            EventKind::Outage => {
                self.network.count_fault("outages");
                self.serves = false;
                let ends_ms = later(self, 50, 3_000);
                self.network.schedule(ends_ms, Event::Served);
            }
            EventKind::ClockJump => {
                self.network.count_fault("clock jumps");
                let most_ms = *self.random.pick(&[100, 5_000, 3_600_000]);
                let ahead_ms = self.random.around_zero(most_ms);
                self.replicas[replica].iter_mut().for_each(|running| running.set_wall_clock(ahead_ms));
            }
        }
    }

    /// The process ends where it is. Its requests under way may still arrive.
    fn crash(&mut self, replica: usize) {
        let Some(ended) = self.replicas[replica].take() else { return };
        self.history.count_all(ended.counts());
        self.network.count_fault("crashes");
        let starts_ms = self.now_ms + self.random.between(1, 1_500);
        self.network.schedule(starts_ms, Event::Start(replica));
    }

    fn stop(&mut self, replica: usize) {
        let Some(running) = &self.replicas[replica] else { return };
        running.stop();
        running.step_to(self.now_ms);
        self.network.count_fault("stops");
        // It has some time to stop, and may be ended before it is done.
        let ends_ms = self.now_ms + self.random.between(1, 400);
        self.network.schedule(ends_ms, Event::End(self.incarnation(replica)));
    }

    fn stall(&mut self, replica: usize) {
        let Some(running) = &mut self.replicas[replica] else { return };
        running.stall();
        self.network.count_fault("stalls");
        let longest_ms = *self.random.pick(&[50, 1_000, 5_000]);
        let resumes_ms = self.now_ms + self.random.between(1, longest_ms);
        self.network.schedule(resumes_ms, Event::Resume(self.incarnation(replica)));
    }

    fn resume(&mut self, replica: usize) {
        let now_ms = self.now_ms;
        self.replicas[replica].iter_mut().for_each(|running| running.resume(now_ms));
    }

    fn restart(&mut self, replica: usize) {
        let skew =
            ClockSkew { fast_ppm: self.random.around_zero(400), ahead_ms: self.random.around_zero(2_000) };
        self.start(replica, skew);
    }

    fn heal(&mut self) {
        self.trace.add(self.now_ms, format_args!("heal"));
        self.healed.store(true, Ordering::SeqCst);
        self.serves = true;
        self.network.losses = Losses::NONE;
        for replica in 0..self.replicas.len() {
            self.reaches[replica] = true;
            match self.replicas[replica].is_some() {
                true => self.resume(replica),
                false => self.restart(replica),
            }
        }
    }
}
