//! The life of a lease, as a caller sees it: reserve, hold, extend or renew, complete. Each call is repeated with the same ids
//! until its outcome is known.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::{LeaseId, RenewId};
use ledger_limiter::protocol::{
    CompleteOutcome, Extend, ExtendOutcome, Renew, RenewOutcome, Requirement, Reserve, ReserveOutcome, Wait,
};
use tokio::time::sleep;

use crate::callers::Service;
use crate::cluster::STARTED_UNIX_MS;
use crate::fixtures::{amount, complete, extend_id, key, lease};
use crate::holds::Hold;
use crate::limits::{DELEGATED_SECONDS, Planned, Role};
use crate::linearizability::{Change, Operation};
use crate::random::Random;

/// One caller, which has one lease at a time.
pub(crate) struct Caller {
    service: Arc<Service>,
    random: Random,
    /// The replica that it calls first.
    home: usize,
}

/// What one lease is to reserve.
struct Wanted {
    lease: LeaseId,
    parts: Vec<Part>,
    wait: Wait,
    /// Whether every call goes to the caller's own replica.
    stays: bool,
}

/// How a lease was completed.
struct Completed {
    called_ms: u64,
    actuals: Vec<(String, u64)>,
}

/// What it is to reserve of one limit.
struct Part {
    key: String,
    units: u64,
    role: Role,
}

impl Wanted {
    fn reserve(&self) -> Reserve {
        let requirement = |part: &Part| Requirement { key: key(&part.key), amount: amount(part.units) };
        let requirements = self.parts.iter().map(requirement).collect();
        Reserve::new(self.lease, String::new(), requirements).expect("a valid reserve").with_wait(self.wait)
    }

    fn is_strict(&self) -> bool {
        self.parts.iter().any(|part| part.role == Role::Strict)
    }

    fn waits(&self) -> Duration {
        Duration::from_millis(self.wait.max_ms())
    }
}

impl Caller {
    pub(crate) fn new(service: Arc<Service>, random: Random, number: usize) -> Self {
        let home = number % service.swarm.replicas;
        Self { service, random, home }
    }

    pub(crate) async fn run(mut self) {
        while self.service.goes_on() {
            sleep(Duration::from_millis(self.random.below(self.service.swarm.mix.pause_ms))).await;
            let wanted = self.want();
            if !wanted.is_strict() && self.random.chance(self.service.swarm.mix.looks) {
                self.look(&wanted).await;
            } else if !wanted.is_strict() && self.random.chance(self.service.swarm.mix.forces) {
                self.live(&wanted, true).await;
            } else {
                self.live(&wanted, false).await;
            }
        }
    }

    fn want(&mut self) -> Wanted {
        let service = Arc::clone(&self.service);
        let mut planned: Vec<&Planned> = service.swarm.limits.iter().collect();
        self.random.shuffle(&mut planned);
        planned.truncate(self.random.between(1, 3) as usize);
        let stays = planned.iter().any(|planned| planned.role == Role::Delegated);
        if stays {
            planned.retain(|planned| planned.role != Role::Strict);
        }
        let parts: Vec<Part> = planned.iter().map(|planned| self.part(planned)).collect();
        let mut wanted = Wanted { lease: lease(), parts, wait: Wait::default(), stays };
        if !wanted.is_strict() && self.random.chance(service.swarm.mix.waits) {
            let (ms, priority) = (self.random.between(1, 2_500), self.random.below(10));
            wanted.wait = Wait::new(ms, priority).expect("a valid wait");
        }
        wanted
    }

    fn part(&mut self, planned: &Planned) -> Part {
        let capacity = planned.definition.capacity.get();
        let most = match self.random.below(20) {
            0 => capacity + 1,
            1..5 => capacity.div_ceil(2),
            _ => capacity.div_ceil(5),
        };
        Part { key: planned.key(&mut self.random), units: self.random.between(1, most), role: planned.role }
    }

    fn replica(&mut self, stays: bool) -> usize {
        if stays || !self.random.chance(self.service.swarm.mix.strays) {
            return self.home;
        }
        self.random.below(self.service.swarm.replicas as u64) as usize
    }

    async fn look(&mut self, wanted: &Wanted) {
        let (replica, command) = (self.replica(wanted.stays), wanted.reserve());
        let question = ("look", command.clone());
        let look = self.service.ask(replica, &question, Duration::ZERO, move |engine| async move {
            engine.limiter().look(&command).await
        });
        if look.await.is_some() {
            self.service.history.count("looks");
        }
    }

    async fn live(&mut self, wanted: &Wanted, forces: bool) {
        let called_ms = self.service.now_ms();
        let outcome = self.reserve(wanted, forces).await;
        let answered_ms = self.service.now_ms();
        self.note_operations(wanted, &outcome, called_ms, answered_ms);
        if matches!(outcome, ReserveOutcome::LeaseExpired) {
            // It was granted, and the rest of it is to be released.
            self.complete(wanted).await;
            return;
        }
        let ReserveOutcome::Granted { reserved_at_unix_ms, .. } = outcome else { return };
        let mix = self.service.swarm.mix;
        sleep(Duration::from_millis(self.random.below(mix.hold_ms))).await;
        if !wanted.is_strict() && self.random.chance(mix.extends) {
            self.extend(wanted).await;
        }
        if !wanted.is_strict() && self.random.chance(mix.renews) {
            self.renew(wanted).await;
        }
        if self.random.chance(mix.abandons) {
            self.service.history.count("leases abandoned");
            let nothing = Completed { called_ms: u64::MAX, actuals: Vec::new() };
            return self.note_holds(wanted, forces, reserved_at_unix_ms, answered_ms, &nothing);
        }
        let completed = self.complete(wanted).await;
        self.note_holds(wanted, forces, reserved_at_unix_ms, answered_ms, &completed);
        if self.random.chance(100) {
            // A late duplicate must not start a second call.
            self.reserve(wanted, forces).await;
        }
    }

    /// Reserves, and repeats the same call until its outcome is known.
    async fn reserve(&mut self, wanted: &Wanted, forces: bool) -> ReserveOutcome {
        loop {
            let first = self.replica(wanted.stays);
            let doubles = !wanted.stays && self.random.chance(self.service.swarm.mix.doubles);
            let outcome = match doubles {
                true => {
                    let second = self.random.below(self.service.swarm.replicas as u64) as usize;
                    let both = tokio::join!(
                        self.reserve_once(first, wanted, forces),
                        self.reserve_once(second, wanted, forces)
                    );
                    both.0.or(both.1)
                }
                false => self.reserve_once(first, wanted, forces).await,
            };
            match outcome {
                Some(outcome) => return outcome,
                None => self.service.pause(&mut self.random).await,
            }
        }
    }

    async fn reserve_once(&self, replica: usize, wanted: &Wanted, forces: bool) -> Option<ReserveOutcome> {
        let (sent_ms, command) = (self.service.now_ms(), wanted.reserve());
        let question = ("reserve", command.clone(), forces);
        let asked = self.service.ask(replica, &question, wanted.waits(), move |engine| async move {
            match forces {
                true => engine.limiter().force(&command).await,
                false => engine.limiter().reserve(&command).await,
            }
        });
        let outcome = asked.await?;
        match wanted.stays {
            // Its replica forgets it in a crash, and may grant it again.
            true => self.service.history.count("answers for limits with allotments"),
            false => self.service.history.note_reserve(wanted.lease, sent_ms, &outcome),
        }
        Some(outcome)
    }

    fn note_operations(&self, wanted: &Wanted, outcome: &ReserveOutcome, called_ms: u64, answered_ms: u64) {
        for part in wanted.parts.iter().filter(|part| part.role == Role::Strict) {
            let change = match outcome {
                ReserveOutcome::Granted { .. } | ReserveOutcome::LeaseExpired => Change::Took(part.units),
                ReserveOutcome::NoRoom { key, .. } if key.as_str() == part.key => Change::Refused(part.units),
                ReserveOutcome::NoRoom { .. }
                | ReserveOutcome::Decreasing { .. }
                | ReserveOutcome::ExceedsCapacity { .. }
                | ReserveOutcome::UnknownKey { .. }
                | ReserveOutcome::TooManyInstances { .. }
                | ReserveOutcome::LeaseConflict
                | ReserveOutcome::LeaseSettled => continue,
            };
            self.service.history.note_operation(&part.key, Operation { called_ms, answered_ms, change });
        }
    }

    async fn extend(&mut self, wanted: &Wanted) {
        let part = self.random.pick(&wanted.parts);
        let requirement = Requirement { key: key(&part.key), amount: amount(self.random.between(1, 3)) };
        let command = Extend { lease: wanted.lease, extend_id: extend_id(), requirement };
        let outcome = loop {
            let (replica, asked) = (self.replica(wanted.stays), command.clone());
            let extend =
                self.service.ask(replica, ("extend", &command), Duration::ZERO, move |engine| async move {
                    engine.limiter().extend(&asked).await
                });
            match extend.await {
                Some(outcome) => break outcome,
                None => self.service.pause(&mut self.random).await,
            }
        };
        match outcome {
            ExtendOutcome::Answered(ReserveOutcome::Granted { .. }) => {
                self.service.history.count("extends granted");
            }
            ExtendOutcome::Answered(_) | ExtendOutcome::TooMany => {
                self.service.history.count("extends denied");
            }
            ExtendOutcome::NotInLease => {
                self.must_not(wanted, "an extend did not find its limit in the lease");
            }
        }
    }

    async fn renew(&mut self, wanted: &Wanted) {
        let command = Renew { lease: wanted.lease, renew_id: RenewId::generate() };
        let outcome = loop {
            let (replica, asked) = (self.replica(wanted.stays), command);
            let renew =
                self.service.ask(replica, ("renew", &command), Duration::ZERO, move |engine| async move {
                    engine.limiter().renew(&asked).await
                });
            match renew.await {
                Some(outcome) => break outcome,
                None => self.service.pause(&mut self.random).await,
            }
        };
        match outcome {
            RenewOutcome::Answered(ReserveOutcome::Granted { .. }) => {
                self.service.history.count("renewals granted");
            }
            RenewOutcome::Answered(_) | RenewOutcome::NoSlots | RenewOutcome::TooMany => {
                self.service.history.count("renewals denied");
            }
        }
    }

    /// Completes, and repeats the same call until it is answered.
    async fn complete(&mut self, wanted: &Wanted) -> Completed {
        let actuals = self.actuals(wanted);
        let named: Vec<(&str, u64)> = actuals.iter().map(|(key, units)| (key.as_str(), *units)).collect();
        let command = complete(wanted.lease, &named);
        let called_ms = self.service.now_ms();
        let outcome = loop {
            let (replica, asked) = (self.replica(wanted.stays), command.clone());
            let complete =
                self.service.ask(replica, ("complete", &command), Duration::ZERO, move |engine| async move {
                    engine.limiter().complete(&asked).await
                });
            match complete.await {
                Some(outcome) => break outcome,
                None => self.service.pause(&mut self.random).await,
            }
        };
        let answered_ms = self.service.now_ms();
        self.service.history.note_settled(wanted.lease, answered_ms);
        match outcome {
            CompleteOutcome::Settled { .. } => self.service.history.count("completes"),
            CompleteOutcome::NothingToDo => self.service.history.count("completes of leases that are over"),
            CompleteOutcome::NotInLease { .. } => {
                self.must_not(wanted, "a complete did not find its limit in the lease");
            }
        }
        for part in wanted.parts.iter().filter(|part| part.role == Role::Strict) {
            let actual = actuals.iter().find(|(key, _)| *key == part.key).map(|(_, units)| *units);
            let kept = if part.key == "strict:slots" { 0 } else { actual.unwrap_or(part.units) };
            let change = Change::Freed(part.units - kept);
            self.service.history.note_operation(&part.key, Operation { called_ms, answered_ms, change });
        }
        Completed { called_ms, actuals }
    }

    /// What the lease held of limits with allotments, for certain: from the answer until the hold ended in the ledger's time.
    fn note_holds(
        &self,
        wanted: &Wanted,
        forces: bool,
        reserved_at_unix_ms: u64,
        from_ms: u64,
        completed: &Completed,
    ) {
        let ends_ms = reserved_at_unix_ms + 1_000 * DELEGATED_SECONDS - STARTED_UNIX_MS;
        let settled_ms = completed.called_ms.min(ends_ms);
        // A forced reserve takes what there is, and the rest is debt.
        for part in wanted.parts.iter().filter(|part| part.role == Role::Delegated && !forces) {
            let actual = completed.actuals.iter().find(|(key, _)| *key == part.key).map(|(_, units)| *units);
            let kept = if part.key == "delegated:slots" { 0 } else { actual.unwrap_or(part.units) };
            let before = Hold { from_ms, until_ms: settled_ms, units: part.units };
            let after =
                Hold { from_ms: settled_ms.max(from_ms), until_ms: ends_ms, units: kept.min(part.units) };
            [before, after].into_iter().for_each(|hold| self.service.history.note_hold(&part.key, hold));
        }
    }

    /// What was used of most of the limits. Of strict limits never more than was reserved.
    fn actuals(&mut self, wanted: &Wanted) -> Vec<(String, u64)> {
        let overspends = self.service.swarm.mix.overspends;
        let mut actuals = Vec::new();
        for part in &wanted.parts {
            if self.random.chance(150) {
                continue;
            }
            let more = part.role != Role::Strict && self.random.chance(overspends);
            let most = if more { 2 * part.units } else { part.units };
            actuals.push((part.key.clone(), self.random.below(most + 1)));
        }
        actuals
    }

    fn must_not(&self, wanted: &Wanted, what: &str) {
        // A replica that hands out allotments may have forgotten the lease, or a part of it.
        if !wanted.stays {
            self.service.history.violated(format!("lease {}: {what}", wanted.lease));
        }
    }
}
